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
/** What a start may take on top of its own wall time, until it is ended and has given no verdict. */
const GRACE_MS = 4_000;

/** What payloads are run with. */
export type Means = {
  readonly architecture: Architecture;
  /** Makes the doors of payloads that have one. */
  readonly egress?: Egress | undefined;
};

type Scene = {
  readonly sandbox: Sandbox;
  readonly bait: Bait;
  readonly kit: Kit;
  readonly egress: Egress | undefined;
};

export type TriedPayload = { readonly payload: Payload; readonly found: Found };

/** The verdicts of `payloads`, in their order. */
export async function tryPayloads(
  sandbox: Sandbox,
  payloads: readonly Payload[],
  { architecture, egress }: Means,
): Promise<readonly TriedPayload[]> {
  const bait = await layBait(architecture);
  try {
    const scene = { sandbox, bait, egress, kit: await layKit(bait, payloads, architecture) };
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
  return new Map(
    probes.map((payload) => {
      const answers = results.get(payload.name) ?? [];
      const why = begun.output.length === 0 ? silent(`the prober said nothing: ${begun.said}`) : undefined;
      return [payload.name, why ?? payload.judge(answers, payload.calls(bait))];
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
    limits: { ...ROOMY, ...limits },
    ...(workspace === true ? { workspace: { folder: scene.bait.workspace } } : {}),
    kill: kill === true,
    mark,
  });
  return payload.judge(run);
}

type Start = Pick<SandboxSpec, "command" | "workspace"> & {
  readonly limits?: SandboxSpec["limits"];
  readonly door?: Door | undefined;
  readonly kill?: boolean;
  readonly mark?: string;
};
type Began = Run & { readonly output: Buffer; readonly said: string };

async function start(
  scene: Scene,
  { command, limits = ROOMY, workspace, kill = false, mark, door }: Start,
): Promise<Began> {
  const { sandbox, kit, bait } = scene;
  const begunMs = performance.now();
  const bound = boundOf(limits.wallMs + GRACE_MS);
  try {
    const spec = {
      owner: "selftest",
      level: sandbox.level,
      command,
      env: {},
      mounts: kit.mounts,
      limits,
      workspace,
      door,
    };
    const running = await bound.within(sandbox.start(spec, { signal: bound.signal }));
    running.stdin.on("error", () => {}).end();
    const heard = bytesOf(running.stdout, () => kill && void running.kill());
    const complaints = bytesOf(running.stderr);
    const exit = await bound.within(running.exit);
    const left = mark === undefined ? [] : await processesMarked(mark);
    const said = `${endOf(exit)}. ${(await complaints).toString().trim().slice(-300)}`;
    const whole = await heard;
    const tookMs = performance.now() - begunMs;
    return { exit, output: whole, stdout: whole.subarray(0, 1_000_000).toString(), said, tookMs, bait, left };
  } finally {
    bound.clear();
  }
}

/** A driver that neither starts nor ends what it was told to is no reason to wait for ever. */
function boundOf(ms: number): {
  readonly signal: AbortSignal;
  readonly within: <T>(promise: Promise<T>) => Promise<T>;
  readonly clear: () => void;
} {
  const controller = new AbortController();
  const { promise: passed, reject } = Promise.withResolvers<never>();
  passed.catch(() => {});
  const abort = setTimeout(() => controller.abort(), ms);
  const give = setTimeout(
    () => reject(new Error(`it neither ended nor could be ended within ${ms + GRACE_MS} ms`)),
    ms + GRACE_MS,
  );
  return {
    signal: controller.signal,
    within: (promise) => Promise.race([promise, passed]),
    clear: () => {
      clearTimeout(abort);
      clearTimeout(give);
    },
  };
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

/** Whether a verdict is one that a sandbox of this state must give. */
export function verdictOf({ payload, found }: TriedPayload, state: DriverState): Verdict {
  const { name, tries, expected = "contained" } = payload;
  const layer = payload.kind === "program" ? state.layers.find((each) => each.name === payload.layer) : undefined;
  const known = layer?.inForce === false && found.verdict === "escaped";
  const detail = known ? `${found.detail} (no ${layer.name}, as its posture says)` : found.detail;
  return { payload: name, tries, verdict: found.verdict, expected: found.verdict === expected || known, detail };
}
