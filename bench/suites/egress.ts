// What a door costs, and whether it holds: requests of many kinds through the proxy to servers on loopback, a share of them past the rules.
//
// The proxy runs as in the product, in the process of a whole system; each request is written into the journal of a process, durably,
// before it leaves. Far side and programs are processes of their own. What got past the rules is counted in the far side's own log, by the plain
// meaning of the rules. Latency is that of one request at a time over kept connections, through the forwarder that stands in every sandbox;
// what it is for many at once stands beside it.
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { forwardFile } from "../../src/drivers/egress-proxy/door/door.ts";
import { createEgress } from "../../src/drivers/egress-proxy/egress.ts";
import type { Door } from "../../src/ports/egress.ts";
import type { CallOptions } from "../../src/ports/tools.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import type { Done, Polite, Road, Work } from "../egress-client.ts";
import type { Arrived, FarPorts } from "../egress-far.ts";
import { ATTACKS, attackOf, isWithinRules, politeJob, rudeJob, rulesOf, SECRET, secretsOf } from "../egress-jobs.ts";
import { bootNative, BY, done } from "../native-system.ts";
import { chance, draw, quantile } from "../statistics.ts";
import { figure } from "../table.ts";

const RUDE_SHARE = 0.4;
const ROUNDS = 4;
const FORWARD_PORT = 42_129;

const program = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url));

/** A child that answers each message with one. */
class Peer {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when it has said its first. */
  static async start(context: Context, file: string): Promise<{ peer: Peer; first: unknown }> {
    const child = fork(program(file), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const peer = new Peer(child);
    context.scratch.defer(async () => {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    });
    return { peer, first: await peer.#next<unknown>() };
  }

  ask<Answer>(message: object): Promise<Answer> {
    const answer = this.#next<Answer>();
    this.#child.send(message);
    return answer;
  }

  async #next<Answer>(): Promise<Answer> {
    const heard = new AbortController();
    const { signal } = heard;
    const died = once(this.#child, "exit", { signal }).then(() =>
      Promise.reject(new Error("A process of the benchmark died.")),
    );
    try {
      const [message] = (await Promise.race([once(this.#child, "message", { signal }), died])) as [Answer];
      return message;
    } finally {
      heard.abort();
    }
  }
}

type Site = {
  readonly context: Context;
  readonly far: FarPorts;
  readonly farPeer: Peer;
  readonly client: Peer;
  readonly door: Door;
  readonly roads: { readonly socket: Road; readonly forwarder: Road; readonly direct: Road };
  readonly authorities: readonly string[];
};

type Held = {
  readonly requests: number;
  readonly pastRules: readonly string[];
  readonly refusedWrongly: number;
  readonly rude: number;
  readonly perSecond: number;
};

/** All kinds at once, in a random order. */
async function hold({ context, far, farPeer, client, roads, authorities }: Site): Promise<Held> {
  const requests = countOption(context, "requests");
  const random = chance(countOption(context, "seed", 0));
  const rude = Math.round(requests * RUDE_SHARE);
  const jobs = draw(
    [
      ...Array.from({ length: requests - rude }, (_, at) => politeJob(at, far)),
      ...Array.from({ length: rude }, (_, at) => rudeJob(at, far)),
    ],
    requests,
    random,
  );
  const work: Work = { road: roads.forwarder, authorities, concurrency: countOption(context, "concurrency"), jobs };
  const fromMs = performance.now();
  const answers = await client.ask<Done>(work);
  const perSecond = requests / ((performance.now() - fromMs) / 1000);
  const arrived = await farPeer.ask<Arrived[]>({ log: true });
  const rudeIds = new Set(jobs.flatMap(({ kind, id }) => (kind === "rude" ? [id] : [])));
  const past = arrived.filter((entry) => !isWithinRules(entry, far, rudeIds));
  const heard = new Set(arrived.map(({ id }) => id));
  const politeIds = new Set(jobs.flatMap(({ kind, id }) => (kind === "polite" ? [id] : [])));
  const served = new Set(answers.flatMap(({ id, status }) => (status === 200 && heard.has(id) ? [id] : [])));
  return {
    requests: answers.length,
    pastRules: past.map(
      ({ id, method, host, path }) => `${id.startsWith("no-") ? attackOf(id) : id || "?"}: ${method} ${host}${path}`,
    ),
    refusedWrongly: [...politeIds].filter((id) => !served.has(id)).length,
    rude,
    perSecond,
  };
}

type Samples = Map<string, number[]>;

const ROADS = ["direct", "socket", "forwarder"] as const;
const sampleKey = (scheme: string, road: string, concurrency: number): string => `${scheme} ${road} ${concurrency}`;

/** The same requests over each road in turn, so that what the machine does else falls on all of them. */
async function time(site: Site): Promise<Samples> {
  const { context, far, client, roads, authorities } = site;
  const timed = countOption(context, "timed");
  const samples: Samples = new Map();
  const ways = [1, 8].flatMap((concurrency) =>
    (["http", "https"] as const).flatMap((scheme) => ROADS.map((name) => ({ concurrency, scheme, name }))),
  );
  for (let round = 0; round <= ROUNDS; round += 1)
    for (const { concurrency, scheme, name } of ways) {
      const origin = { scheme, host: "a.test", port: scheme === "http" ? far.plain : far.tls };
      const jobs = Array.from({ length: Math.ceil(timed / ROUNDS) }, (_, at): Polite => ({
        kind: "polite",
        id: `t-${at}`,
        ...origin,
        method: "GET",
        path: "/ok/timed",
        headers: {},
      }));
      const work: Work = { road: roads[name], authorities, concurrency, jobs };
      const answers = await client.ask<Done>(work);
      const bad = answers.find(({ status }) => status !== 200);
      if (bad !== undefined) throw new Error(`A timed request over ${name} was answered with ${bad.status}.`);
      // The first round warms up, and the first requests of each open the connections.
      const kept = answers.slice(concurrency).map(({ tookMs }) => tookMs);
      const key = sampleKey(scheme, name, concurrency);
      if (round > 0) samples.set(key, [...(samples.get(key) ?? []), ...kept]);
    }
  return samples;
}

/** The forwarder as a sandbox has it, outside of one. */
async function startForwarder(context: Context, door: Door): Promise<void> {
  const child = spawn(
    process.execPath,
    [forwardFile, String(FORWARD_PORT), join(door.folder, "egress.sock"), "--", "sh", "-c", "echo up; exec sleep 3600"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  context.scratch.defer(async () => {
    child.kill("SIGTERM");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  });
  await once(child.stdout, "data");
}

async function measure(
  context: Context,
  far: { peer: Peer; first: FarPorts },
  call: CallOptions,
): Promise<{ held: Held; samples: Samples }> {
  const { peer: client } = await Peer.start(context, "egress-client.ts");
  const egress = createEgress({
    secrets: secretsOf(far.first),
    secretOf: () => SECRET.value,
    folder: context.scratch.path,
    resolve: async () => ["127.0.0.1"],
    authorities: [far.first.authority],
    forwardPort: FORWARD_PORT,
  });
  try {
    const door = await egress.open({
      owner: call.process.pid,
      rules: rulesOf(far.first),
      secrets: [SECRET.name],
      notes: {
        requested: ({ request, ...header }) =>
          call.notes({ kind: "egress.requested", call: call.call, ...header }, { request }),
        ended: (header) => call.notes({ kind: "egress.ended", call: call.call, ...header }),
      },
      bytesMax: 1024 ** 3,
    });
    await startForwarder(context, door);
    const authorities = [await readFile(join(door.folder, "ca.pem"), "utf8"), far.first.authority];
    const roads = {
      socket: { kind: "socket", path: join(door.folder, "egress.sock") },
      forwarder: { kind: "forwarder", port: FORWARD_PORT },
      direct: { kind: "direct" },
    } as const;
    const site: Site = { context, far: far.first, farPeer: far.peer, client, door, roads, authorities };
    context.progress("timing");
    const samples = await time(site);
    await far.peer.ask<Arrived[]>({ log: true });
    context.progress("all kinds at once");
    const held = await hold(site);
    await door.close();
    return { held, samples };
  } finally {
    await egress.close();
  }
}

async function run(context: Context): Promise<Result> {
  const { peer, first } = await Peer.start(context, "egress-far.ts");
  const far = { peer, first: first as FarPorts };
  const measured = Promise.withResolvers<{ held: Held; samples: Samples }>();
  const system = await bootNative({
    folder: await context.scratch.folder("system"),
    agents: [
      {
        manifest: { name: "holder", tools: ["bench.hold"] },
        run: async ({ issue }) => {
          await issue(0, "tool.call", { tool: "bench.hold", args: {} });
          return null;
        },
      },
    ],
    tools: {
      hold: {
        declared: { effect: "read", timeoutMs: 3600_000 },
        run: async (_args, call) => {
          await measure(context, far, call).then(measured.resolve, measured.reject);
          return done("measured");
        },
      },
    },
  });
  context.scratch.defer(() => system.close());
  await system.kernel.operate("process.spawn", { agent: "holder", task: null }, BY);
  return resultOf(await measured.promise);
}

function resultOf({ held, samples }: { held: Held; samples: Samples }): Result {
  const of = (scheme: string, road: string, concurrency: number, q: number): number =>
    quantile(samples.get(sampleKey(scheme, road, concurrency)) ?? [], q);
  const added = (scheme: string, concurrency: number, q: number): number =>
    of(scheme, "forwarder", concurrency, q) - of(scheme, "direct", concurrency, q);
  const named = { direct: "directly", socket: "by the door's socket", forwarder: "by forwarder and door" } as const;
  return {
    measures: {
      requests: held.requests,
      past_rules: held.pastRules.length,
      refused_wrongly: held.refusedWrongly,
      added_p50_ms: added("http", 1, 0.5),
      added_p99_ms: added("http", 1, 0.99),
      added_tls_p50_ms: added("https", 1, 0.5),
      added_tls_p99_ms: added("https", 1, 0.99),
      added_8_at_once_p50_ms: added("http", 8, 0.5),
      throughput_per_s: held.perSecond,
    },
    tables: [
      {
        title: "One request over a kept connection, milliseconds; https through the door is looked into",
        columns: ["scheme", "at once", "way", "p50", "p99", "max"],
        rows: ["http", "https"].flatMap((scheme) =>
          [1, 8].flatMap((concurrency) =>
            ROADS.map((road) => [
              scheme,
              String(concurrency),
              named[road],
              ...[0.5, 0.99, 1].map((q) => figure(of(scheme, road, concurrency, q))),
            ]),
          ),
        ),
      },
    ],
    notes: [
      `${held.rude.toLocaleString("en")} of the requests tried to get past the rules, in ${Object.keys(ATTACKS).length} ways; ${held.pastRules.length} did.`,
      ...[...new Set(held.pastRules)].slice(0, 20).map((line) => `Past the rules: ${line}`),
      `${held.refusedWrongly} of the others were refused or lost.`,
      "Each request through the door waits for two things beside its way: its event, written and synced by the store, and the rules.",
    ],
  };
}

export const egress: Benchmark = {
  name: "egress",
  doc: "whether a door lets anything past its rules, and what it adds to a request",
  options: {
    requests: { default: "10000", doc: "of all kinds, through the door" },
    concurrency: { default: "32", doc: "of them at once" },
    timed: { default: "1200", doc: "timed requests for each way" },
    seed: { default: "1", doc: "for the order of the requests" },
  },
  run,
};
