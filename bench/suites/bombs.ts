// Trees that want to grow for ever, and what others feel of it: a fork bomb and a loop of two agents that start one another
// and wait, both of one tenant, beside three tenants whose processes call a tool at a steady rate. The whole system in this
// process, on its SQLite store.
//
// Calls of the others come by chance (exponential gaps), at the same moments in each window: two windows without the bombs,
// then one in which they run. A call's wait is the time from its issue to the tool's entry. The tool is busy most of the time, so its
// calls wait for turns also without bombs.
// spawned: processes of the bombs' trees. other_p99_ratio: p99 of the others' waits while the bombs ran, by the p99 of the very same
// calls in the windows before. noise_ratio: that of the second of these windows by the first, which should be 1.
import { setTimeout as delay } from "node:timers/promises";
import { OsError } from "../../src/abi/errors.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Json } from "../../src/abi/json.ts";
import { PAGE_ROWS_MAX, TREE_BREADTH_MAX, TREE_DEPTH_MAX, TREE_TOTAL_MAX } from "../../src/abi/limits.ts";
import type { ProgramStart } from "../../src/ports/program.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { bootNative, BY, type NativeAgent, type NativeSystem } from "../native-system.ts";
import { ServedTool } from "../served-tool.ts";
import { chance, quantile } from "../statistics.ts";
import { figure, type Table } from "../table.ts";

const TOOL = "bench.serve";
const TENANTS = ["north", "east", "south"] as const;
const BOMBER = "evil";
const SLOTS = 4;
const SERVICE_MS = 50;
/** Of the slots' time: what the others use of it. */
const LOAD = 0.8;
/** Spawns that each process has under way at once: of the fork bomb, and of the two that start one another. */
const FORKS = 8;
const PAIRS = 2;
const LOOK_EVERY_MS = 100;
/** Without a new process for so long, and refused, a bomb has stopped. */
const STILL_MS = 3_000;
const SETTLE_MS = 1_000;
/** Before a window's calls come. */
const LEAD_MS = 500;
const TAIL_MS_MAX = 20_000;

type BombName = "bomb" | "ping";
type Bomb = {
  readonly title: string;
  readonly agent: BombName;
  /** Seen by its programs. */
  readonly born: Set<string>;
  readonly refusals: Map<string, number>;
  lastMs: number;
};

const createBomb = (title: string, agent: BombName): Bomb => ({
  title,
  agent,
  born: new Set(),
  refusals: new Map(),
  lastMs: performance.now(),
});

/** Starts one of them; false when it is refused. */
async function spawned(bomb: Bomb, spawn: () => Promise<Json>): Promise<ProcessId | false> {
  try {
    const { pid } = (await spawn()) as { readonly pid: ProcessId };
    if (!bomb.born.has(pid)) bomb.lastMs = performance.now();
    bomb.born.add(pid);
    return pid;
  } catch (error) {
    if (!OsError.is(error)) throw error;
    const { limit } = error.data;
    const why = typeof limit === "string" ? limit : error.code;
    bomb.refusals.set(why, (bomb.refusals.get(why) ?? 0) + 1);
    return false;
  }
}

/** Spawns itself as fast as it can, each child the same; when it is refused it stays alive. */
const forkAgent = (bomb: Bomb): NativeAgent => ({
  manifest: { name: "bomb", agents: ["bomb"] },
  run: async ({ issue }: ProgramStart): Promise<Json> => {
    let number = 0;
    const spawn = (): Promise<Json> => issue(number++, "process.spawn", { agent: "bomb", task: null });
    const fork = async (): Promise<void> => {
      while ((await spawned(bomb, spawn)) !== false);
    };
    await Promise.all(Array.from({ length: FORKS }, fork));
    return issue(number++, "message.receive", {});
  },
});

/** Spawns the other, twice, and waits for their ends, and again, until it is refused. */
const mutualAgent = (bomb: Bomb, name: string, other: string): NativeAgent => ({
  manifest: { name, agents: [other] },
  run: async ({ issue }: ProgramStart): Promise<Json> => {
    let number = 0;
    const spawn = (): Promise<Json> => issue(number++, "process.spawn", { agent: other, task: null });
    const spawnAndWait = async (): Promise<void> => {
      for (;;) {
        const pid = await spawned(bomb, spawn);
        if (pid === false) return;
        await issue(number++, "process.wait", { pid });
      }
    };
    await Promise.all(Array.from({ length: PAIRS }, spawnAndWait));
    return null;
  },
});

type Window = { readonly name: string; readonly fromMs: number };
type CallerTask = { readonly tenant: string; readonly window: string };

/** When the calls of a tenant come, in milliseconds from the window's start. */
function arrivals(tenant: number, seconds: number): number[] {
  const random = chance(1_000 + tenant);
  const gapMs = (SERVICE_MS * TENANTS.length) / (SLOTS * LOAD);
  const times: number[] = [];
  for (let atMs = 0; ; times.push(atMs)) {
    atMs += -Math.log(1 - random()) * gapMs;
    if (atMs >= seconds * 1000) return times;
  }
}

const callName = ({ window, tenant }: CallerTask, at: number): string => `${window}/${tenant}/${at}`;

type Calling = {
  readonly served: ServedTool;
  readonly windows: Map<string, Window>;
  readonly seconds: number;
  /** Calls that did not end well, by what they were told. */
  readonly failures: Map<string, number>;
};

const callerAgent = ({ served, windows, seconds, failures }: Calling): NativeAgent => ({
  manifest: { name: "caller", tools: [TOOL] },
  run: async ({ issue, task }: ProgramStart): Promise<Json> => {
    const asked = task as CallerTask;
    const fromMs = windows.get(asked.window)?.fromMs ?? 0;
    const answers: Promise<Json>[] = [];
    for (const [at, atMs] of arrivals(TENANTS.indexOf(asked.tenant as never), seconds).entries()) {
      const leftMs = fromMs + atMs - performance.now();
      if (leftMs > 0) await delay(leftMs);
      const name = callName(asked, at);
      served.issue(name);
      answers.push(
        issue(at, "tool.call", { tool: TOOL, args: { name } }).catch((error: unknown) => {
          failures.set(String(error), (failures.get(String(error)) ?? 0) + 1);
          return null;
        }),
      );
    }
    await Promise.all(answers);
    return null;
  },
});

type Stage = {
  readonly context: Context;
  readonly system: NativeSystem;
  readonly served: ServedTool;
  readonly windows: Map<string, Window>;
  readonly seconds: number;
};

/** Lets the tenants call for the time of a window; resolves when it is over. */
async function openWindow({ system, windows, seconds }: Stage, name: string): Promise<Window> {
  const window = { name, fromMs: performance.now() + LEAD_MS };
  windows.set(name, window);
  for (const tenant of TENANTS)
    await system.kernel.operate("process.spawn", { agent: "caller", tenant, task: { tenant, window: name } }, BY);
  await delay(window.fromMs + seconds * 1000 - performance.now());
  return window;
}

/** Waits until its calls have been served. */
async function drain({ served }: Stage, name: string): Promise<void> {
  const waits = (): { entered: boolean }[] => [...served.waits(`${name}/`).values()];
  for (const untilMs = performance.now() + TAIL_MS_MAX; performance.now() < untilMs; await delay(LOOK_EVERY_MS))
    if (waits().every(({ entered }) => entered)) return;
}

/** Waits of the calls that came in the first milliseconds of the window; of those that never entered, so far. */
function waitsMs({ served, seconds }: Stage, name: string, forMs: number): number[] {
  const waits = served.waits(`${name}/`);
  return TENANTS.flatMap((tenant, index) =>
    arrivals(index, seconds).flatMap((atMs, at) => {
      const wait = waits.get(callName({ window: name, tenant }, at));
      return atMs >= forMs || wait === undefined ? [] : [wait.waitedMs];
    }),
  );
}

type Exploded = {
  readonly bomb: Bomb;
  readonly root: ProcessId;
  readonly startedMs: number;
};

async function light({ system }: Stage, bomb: Bomb): Promise<Exploded> {
  const startedMs = performance.now();
  bomb.lastMs = startedMs;
  const asked = { agent: bomb.agent, tenant: BOMBER, task: null };
  const { pid: root } = await system.kernel.operate("process.spawn", asked, BY);
  return { bomb, root, startedMs };
}

const isStill = ({ bomb }: Exploded): boolean => bomb.refusals.size > 0 && performance.now() - bomb.lastMs >= STILL_MS;

async function countTree({ system }: Stage, root: ProcessId): Promise<number> {
  let count = 0;
  let before: ProcessId | undefined;
  for (;;) {
    const page = before === undefined ? {} : { before };
    const { processes } = await system.kernel.operate("process.list", { root, limit: PAGE_ROWS_MAX, ...page }, BY);
    count += processes.length;
    before = processes.at(-1)?.pid;
    if (processes.length < PAGE_ROWS_MAX) return count;
  }
}

const refusalsOf = ({ refusals }: Bomb): string =>
  [...refusals].map(([why, count]) => `${count} ${why}`).join(", ") || "none";

async function treesTable(stage: Stage, exploded: readonly Exploded[]): Promise<Table & { readonly spawned: number }> {
  const rows: string[][] = [];
  let sum = 0;
  for (const { bomb, root, startedMs } of exploded) {
    const count = await countTree(stage, root);
    sum += count;
    const grewS = (bomb.lastMs - startedMs) / 1000;
    rows.push([bomb.title, figure(count), figure(grewS), figure(count / grewS), refusalsOf(bomb)]);
  }
  return {
    spawned: sum,
    title: "The bombs' trees, their roots included",
    columns: ["tree", "processes", "grew for s", "processes/s", "spawns refused"],
    rows,
  };
}

function waitsTable(windows: readonly { readonly title: string; readonly waits: readonly number[] }[]): Table {
  return {
    title: "The others' calls: wait from issue to the tool's entry, ms",
    columns: ["window", "calls", "p50", "p95", "p99", "max"],
    rows: windows.map(({ title, waits }) => [
      title,
      String(waits.length),
      ...[0.5, 0.95, 0.99].map((q) => figure(quantile(waits, q))),
      figure(Math.max(...waits)),
    ]),
  };
}

type Bombs = readonly [Bomb, Bomb];

async function bootStage(
  context: Context,
  { pair, failures, notes }: { readonly pair: Bombs; readonly failures: Calling["failures"]; readonly notes: string[] },
): Promise<Stage> {
  const seconds = countOption(context, "seconds");
  const tree = {
    depth: countOption(context, "depth"),
    breadth: countOption(context, "breadth"),
    total: countOption(context, "total"),
  };
  const served = new ServedTool({ slots: SLOTS, serviceMs: SERVICE_MS });
  const windows = new Map<string, Window>();
  const [fork, mutual] = pair;
  const system = await bootNative({
    folder: await context.scratch.folder("bombs"),
    agents: [
      callerAgent({ served, windows, seconds, failures }),
      forkAgent(fork),
      mutualAgent(mutual, "ping", "pong"),
      mutualAgent(mutual, "pong", "ping"),
    ],
    tools: { serve: served.tool },
    config: { limits: { tree } },
    onNotice: (line) => notes.push(line),
  });
  context.scratch.defer(() => system.close());
  return { context, system, served, windows, seconds };
}

type Observed = { readonly exploded: readonly Exploded[]; readonly ranMs: number };

/** The window in which the bombs run, and on until they have stopped. */
async function observe(stage: Stage, pair: Bombs, notes: string[]): Promise<Observed> {
  const { context, seconds } = stage;
  const opened = openWindow(stage, "third");
  await delay(LEAD_MS);
  const exploded: Exploded[] = [];
  for (const bomb of pair) exploded.push(await light(stage, bomb));
  context.progress("The bombs run");
  const endMs = performance.now() + countOption(context, "patience-s") * 1000;
  while (!exploded.every(isStill) && performance.now() < endMs) await delay(LOOK_EVERY_MS);
  for (const one of exploded)
    if (!isStill(one)) notes.push(`${one.bomb.title}: it still grew when nobody waited for its end any longer.`);
  const { fromMs } = await opened;
  await drain(stage, "third");
  const ranMs = Math.min(seconds * 1000, Math.max(...pair.map(({ lastMs }) => lastMs)) - fromMs);
  return { exploded, ranMs };
}

async function run(context: Context): Promise<Result> {
  const notes: string[] = [];
  const failures: Calling["failures"] = new Map();
  const pair: Bombs = [createBomb("fork bomb", "bomb"), createBomb("mutual spawns", "ping")];
  const stage = await bootStage(context, { pair, failures, notes });
  for (const name of ["first", "second"]) {
    context.progress(`${name} window without the bombs: ${stage.seconds} s`);
    await openWindow(stage, name);
    await drain(stage, name);
    await delay(SETTLE_MS);
  }
  const { exploded, ranMs } = await observe(stage, pair, notes);
  const [first = [], second = [], third = []] = ["first", "second", "third"].map((name) => waitsMs(stage, name, ranMs));
  const { spawned: count, ...trees } = await treesTable(stage, exploded);
  for (const [why, times] of failures) notes.push(`${times} calls of the others failed: ${why}`);
  const killMs = await killAll(stage, exploded);
  const p99 = (waits: readonly number[]): number => quantile(waits, 0.99);
  return {
    measures: {
      spawned: count,
      other_p99_ratio: p99(third) / p99([...first, ...second]),
      noise_ratio: p99(second) / p99(first),
      other_p99_ms: p99(third),
      kill_ms: killMs,
    },
    tables: [
      trees,
      waitsTable([
        { title: "first, without bombs", waits: first },
        { title: "second, without bombs", waits: second },
        { title: "third, with bombs", waits: third },
      ]),
    ],
    notes: [
      `Compared are the calls of the first ${figure(ranMs / 1000)} s of each window, in which the bombs grew.`,
      ...notes,
    ],
  };
}

/** Ends what is left of the trees; milliseconds. */
async function killAll({ system }: Stage, exploded: readonly Exploded[]): Promise<number> {
  const fromMs = performance.now();
  for (const { root } of exploded) {
    const { process } = await system.kernel.operate("process.show", { pid: root }, BY);
    if (process.state !== "exited") await system.kernel.operate("process.signal", { pid: root, signal: "kill" }, BY);
  }
  return performance.now() - fromMs;
}

export const bombs: Benchmark = {
  name: "bombs",
  doc: "a fork bomb and a loop of mutual spawns under one tenant: where they stop, and what other tenants' calls feel",
  options: {
    seconds: { default: "20", doc: "how long each of the three windows lasts" },
    depth: { default: String(TREE_DEPTH_MAX), doc: "limits.tree.depth" },
    breadth: { default: String(TREE_BREADTH_MAX), doc: "limits.tree.breadth" },
    total: { default: String(TREE_TOTAL_MAX), doc: "limits.tree.total" },
    "patience-s": { default: "75", doc: "how long the bombs may grow" },
  },
  run,
};
