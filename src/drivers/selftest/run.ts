// Runs payloads in a sandbox and finds their verdicts.
import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import type { EgressRule } from "../../abi/isolation.ts";
import type { Door, Egress } from "../../ports/egress.ts";
import type { DriverState, Sandbox, SandboxSpec, Verdict } from "../../ports/sandbox.ts";
import { layBait, type Bait } from "./bait.ts";
import { isProbe, isScript, layKit, type Kit } from "./kit.ts";
import { endOf, silent, type Found, type Payload, type ProgramPayload, type Run } from "./payload.ts";
import { ROOMY } from "./programs.ts";
import type { Architecture } from "../../lib/system-calls.ts";

/** Starts at once: payloads that compute must not take the time of others. */
const LANES = 2;
/** What a start may take until its program runs, and the time that it has to itself begins. */
const START_MS = 10_000;
/** What a program may take on top of its own wall time, until it is ended and has given no verdict. */
const GRACE_MS = 4_000;
/** How much more wall time a payload has that came to no verdict at first. */
const PATIENCE = 4;

/** What payloads are run with. */
export type Means = {
  readonly architecture: Architecture;
  /** Makes the doors of payloads that have one. */
  readonly egress?: Egress | undefined;
  /** Where what the sandbox is shown lies; found by all if absent. */
  readonly lies?: keyof Bait["places"];
};

type Scene = {
  readonly sandbox: Sandbox;
  readonly bait: Bait;
  readonly kit: Kit;
  readonly egress: Egress | undefined;
  /** How many times the usual wall time a program has that is to be ended by another limit. */
  readonly patience: number;
};

export type TriedPayload = { readonly payload: Payload; readonly found: Found };

/**
 * The verdicts of `payloads`, in their order. Those that came to none, as on a machine that is too busy, are tried once more with more
 * time. One that got out has its verdict, and has no second try.
 */
export async function tryPayloads(
  sandbox: Sandbox,
  payloads: readonly Payload[],
  means: Means,
): Promise<readonly TriedPayload[]> {
  const first = await tryOnce(sandbox, payloads, { ...means, patience: 1 });
  const open = first.filter(({ found }) => found.verdict === "no_verdict").map(({ payload }) => payload);
  if (open.length === 0) return first;
  const second = await tryOnce(sandbox, open, { ...means, patience: PATIENCE });
  return first.map((tried) => second.find(({ payload }) => payload === tried.payload) ?? tried);
}

async function tryOnce(
  sandbox: Sandbox,
  payloads: readonly Payload[],
  { architecture, egress, patience, lies = "found" }: Means & Pick<Scene, "patience">,
): Promise<readonly TriedPayload[]> {
  const bait = await layBait(architecture);
  try {
    const scene = { sandbox, bait, egress, patience, kit: await layKit(bait, payloads, { architecture, lies }) };
    const found = new Map<string, Found>();
    const note = (all: ReadonlyMap<string, Found>): void => all.forEach((one, name) => found.set(name, one));
    const probes = payloads.filter(isProbe);
    const scripts = payloads.filter(isScript);
    // The process that is signalled holds the secret that is looked for: it is signalled last.
    const jobs = payloads
      .filter((payload) => payload.kind === "program")
      .map((payload) => async () => {
        note(new Map([[payload.name, await tryProgram(scene, payload).catch(failed)]]));
      });
    const behind = scripts.filter(({ door }) => door === true);
    const alone = scripts.filter(({ door }) => door !== true);
    if (behind.length > 0) jobs.push(async () => note(await tryBehindDoor(scene, behind)));
    if (alone.length > 0) jobs.unshift(async () => note(await tryScripts(scene, alone)));
    await inLanes(jobs);
    if (probes.length > 0) note(await tryProbes(scene, probes));
    for (const payload of [...probes, ...scripts]) {
      const seen = await payload.outside?.(bait);
      if (seen !== undefined) found.set(payload.name, seen);
    }
    return payloads.map((payload) => ({ payload, found: found.get(payload.name) ?? silent("it said nothing") }));
  } finally {
    await bait.dispose();
  }
}

const failed = (error: unknown): Found => silent(error instanceof Error ? error.message : String(error));

async function inLanes(jobs: readonly (() => Promise<void>)[]): Promise<void> {
  const waiting = [...jobs];
  const lane = async (): Promise<void> => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) await job();
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function tryProbes(
  scene: Scene,
  probes: readonly Extract<Payload, { kind: "probe" }>[],
): Promise<Map<string, Found>> {
  const { kit, bait } = scene;
  const begun = await start(scene, { command: kit.probeCommand }).catch(failed);
  if ("verdict" in begun) return new Map(probes.map(({ name }) => [name, begun]));
  const results = kit.read(begun.output);
  // A call without an answer tells of a process that was killed for it only where the prober itself came to its end.
  const isWhole = begun.output.length > 0 && begun.exit.kind === "exited";
  return new Map(
    probes.map((payload) => {
      const calls = payload.calls(bait);
      const answers = results.get(payload.name) ?? [];
      const isCutOff = !isWhole && calls.some((_, at) => answers[at] === undefined);
      return [payload.name, isCutOff ? silent(`the prober did not say: ${begun.said}`) : payload.judge(answers, calls)];
    }),
  );
}

type Scripts = readonly { readonly name: string }[];

async function tryScripts(scene: Scene, scripts: Scripts, door?: Door): Promise<Map<string, Found>> {
  const command = scene.kit.scriptCommand(scripts.map(({ name }) => name));
  const begun = await start(scene, { command, door }).catch(failed);
  if ("verdict" in begun) return new Map(scripts.map(({ name }) => [name, begun]));
  const told = new Map<string, Found>();
  for (const line of begun.stdout.split("\n").filter((text) => text.startsWith("{"))) {
    const { payload, verdict, detail } = JSON.parse(line) as Found & { readonly payload: string };
    told.set(payload, { verdict, detail });
  }
  return new Map(scripts.map(({ name }) => [name, told.get(name) ?? silent(begun.said)]));
}

/** Behind a door; what was asked must be in its record, and nobody may have been reached. */
async function tryBehindDoor(scene: Scene, scripts: Scripts): Promise<Map<string, Found>> {
  const { bait, egress } = scene;
  const rule = (host: string, port: number): EgressRule => ({
    host,
    port,
    scheme: "http",
    tunnel: false,
    allowPrivate: false,
  });
  let asked = 0;
  const touches = bait.touched();
  const door = await egress?.open({
    ...{ owner: "selftest", secrets: [], rules: [rule("127.0.0.1", bait.port), rule("169.254.169.254", 80)] },
    notes: { requested: async () => void (asked += 1), ended: async () => {} },
  });
  try {
    const found = await tryScripts(scene, scripts, door);
    const all = (one: Found): Map<string, Found> => new Map(scripts.map(({ name }) => [name, one]));
    if (bait.touched() > touches) return all({ verdict: "escaped", detail: "a server of the machine was reached" });
    return asked === 0 ? all(silent("the door has no record of what was asked of it")) : found;
  } finally {
    await door?.close();
  }
}

async function tryProgram(scene: Scene, payload: ProgramPayload): Promise<Found> {
  const { program, limits, workspace, kill } = payload;
  const mark = `reeve-mark-${randomBytes(8).toString("hex")}`;
  const command = typeof program === "function" ? program(scene.bait) : program;
  const marked = command.map((word) => word.replaceAll("MARK", mark)) as [string, ...string[]];
  const run = await start(scene, {
    command: marked,
    limits,
    ...(workspace === true ? { workspace: { folder: scene.kit.workspace } } : {}),
    kill: kill === true,
    mark,
  });
  return payload.judge(run);
}

type Start = Pick<SandboxSpec, "command" | "workspace"> & {
  /** In the place of those that are roomy. */
  readonly limits?: ProgramPayload["limits"];
  readonly door?: Door | undefined;
  readonly kill?: boolean;
  readonly mark?: string;
};
type Began = Run & { readonly output: Buffer; readonly said: string };

async function start(
  scene: Scene,
  { command, limits: asked, workspace, kill = false, mark, door }: Start,
): Promise<Began> {
  const { sandbox, kit, bait, patience } = scene;
  const limits = { ...ROOMY, wallMs: ROOMY.wallMs * patience, ...asked };
  const begunMs = performance.now();
  const bound = boundOf(START_MS * patience);
  try {
    const spec = {
      owner: "selftest",
      level: sandbox.level,
      command,
      env: {},
      mounts: kit.mountsFor(command),
      limits,
      workspace,
      door,
    };
    const running = await bound.within(sandbox.start(spec, { signal: bound.signal }));
    // A start that took long must not look like a program that no limit of time has ended.
    bound.restart(limits.wallMs + GRACE_MS * patience);
    running.stdin.on("error", () => {}).end();
    const heard = bytesOf(running.stdout, () => kill && void running.kill());
    const complaints = bytesOf(running.stderr);
    const exit = await bound.within(running.exit);
    const left = mark === undefined ? [] : await processesMarked(mark);
    const said = `${endOf(exit)}. ${(await complaints).toString().trim().slice(-300)}`;
    const whole = await heard;
    const tookMs = performance.now() - begunMs;
    const stdout = whole.subarray(0, 1_000_000).toString();
    return { exit, output: whole, stdout, said, tookMs, bait, workspace: kit.workspace, left };
  } finally {
    bound.clear();
  }
}

/** A driver that neither starts nor ends what it was told to is no reason to wait for ever. */
function boundOf(startMs: number): {
  readonly signal: AbortSignal;
  readonly within: <T>(promise: Promise<T>) => Promise<T>;
  /** The time begins anew. */
  readonly restart: (ms: number) => void;
  readonly clear: () => void;
} {
  const controller = new AbortController();
  const { promise: passed, reject } = Promise.withResolvers<never>();
  passed.catch(() => {});
  let timers: readonly NodeJS.Timeout[] = [];
  const clear = (): void => timers.forEach(clearTimeout);
  const restart = (ms: number): void => {
    clear();
    const giveUp = (): void => reject(new Error(`it neither ended nor could be ended within ${ms + GRACE_MS} ms`));
    timers = [setTimeout(() => controller.abort(), ms), setTimeout(giveUp, ms + GRACE_MS)];
  };
  restart(startMs);
  return { signal: controller.signal, within: (promise) => Promise.race([promise, passed]), restart, clear };
}

/** All that a stream says until it ends or breaks off. */
function bytesOf(stream: NodeJS.ReadableStream, onData: () => void = () => {}): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  stream.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    onData();
  });
  for (const event of ["end", "close", "error"]) stream.once(event, () => resolve(Buffer.concat(chunks)));
  return promise;
}

async function processesMarked(mark: string): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    // A process that is gone meanwhile has no line.
    pids.map(async (pid) => ({ pid, line: await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "") })),
  );
  return lines.filter(({ line }) => line.includes(mark)).map(({ pid }) => Number(pid));
}

/** Whether a verdict is one that a sandbox must give. */
export function verdictOf({ payload, found }: TriedPayload): Verdict {
  const { name, tries, expected = "contained" } = payload;
  return { payload: name, tries, verdict: found.verdict, expected: found.verdict === expected, detail: found.detail };
}

/** The verdict on what tries a layer of which the driver itself says that it is not in force; undefined for all else. */
export function unheldVerdict(payload: Payload, { layers }: DriverState): Verdict | undefined {
  const layer = payload.kind === "program" ? layers.find(({ name }) => name === payload.layer) : undefined;
  if (layer?.inForce !== false) return undefined;
  const detail = `not tried, since nothing holds it: no ${layer.name}, as its posture says`;
  return { payload: payload.name, tries: payload.tries, verdict: "escaped", expected: true, detail };
}
