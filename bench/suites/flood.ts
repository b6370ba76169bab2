// The urgent beside a flood: how long an interactive process waits for a tool of 4 slots of 50 ms while a batch tree keeps
// 2,000 calls waiting for it. The whole system in this process, on its SQLite store.
//
// Part one: a root of class batch spawns children that spawn children, each with some calls of the tool in flight at all
// times; most of them are out of memory at any time (processesInMemory has its default). When the calls wait, an interactive process begins
// to call every 250 ms, whether its calls before have been served or not. interactive_wait_p99_ms: from the issue of its calls to the tool's entry.
// slots_used: measured in the tool, the share of the slots' time in the measured window in which a call ran.
// Part two: the same with turns first come, first served (fifo-turns.ts): fifo_wait_p99_ms.
// Part three: interactive processes saturate the tool, and some batch calls wait. batch_wait_max_ms: the longest wait of a batch call;
// batch_wait_bound_ms: what the documented formula allows (docs/scheduler.md), with the longest time of service that was seen.
import { setTimeout as delay } from "node:timers/promises";
import type { Json } from "../../src/abi/json.ts";
import type { ProgramStart } from "../../src/ports/program.ts";
import { waitBoundMs } from "../../src/scheduler/order.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { FifoTurns } from "../fifo-turns.ts";
import { bootNative, BY, type NativeAgent, type NativeOptions, type NativeSystem } from "../native-system.ts";
import { ServedTool } from "../served-tool.ts";
import { quantile } from "../statistics.ts";
import { figure, type Table } from "../table.ts";

const TOOL = "bench.serve";
const EVERY_MS = 250;
/** Children of each process of the flood, until there are enough. */
const FANOUT = 4;
/** The share of the wanted calls that must wait before anything is measured, and the longest that is waited for it. */
const FLOODED_SHARE = 0.95;
const FLOOD_MS_MAX = 30_000;
/** How long calls that were issued in the window may still wait after it. */
const TAIL_MS_MAX = 45_000;
const LOOK_EVERY_MS = 500;
/** In part three: processes that saturate the tool, and the calls that each has in flight. */
const EAGER = 8;
const EAGER_IN_FLIGHT = 4;
const SETTLE_MS = 1_500;
const PATIENCE_MS = 20_000;
/** Classes below interactive that may wait with their time over: standard and batch. */
const CLASSES_BELOW = 2;

type Load = {
  readonly seconds: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly slots: number;
  readonly serviceMs: number;
};

type FloodTask = { readonly processes: number };

/** As even parts as can be, at most `parts` of them. */
const split = (count: number, parts: number): number[] =>
  Array.from({ length: Math.min(count, parts) }, (_, at) => Math.floor((count + at) / parts) || 1);

/** Keeps its calls in flight for ever, and sees to it that there are as many of its kind as its task says. */
function floodAgent({ inFlight }: Load): NativeAgent {
  const program = async ({ issue, task }: ProgramStart): Promise<Json> => {
    const { processes } = task as FloodTask;
    let number = 0;
    const keepCalling = async (): Promise<never> => {
      for (;;) await issue(number++, "tool.call", { tool: TOOL, args: {} });
    };
    const busy = Array.from({ length: inFlight }, keepCalling);
    const spawned = split(processes - 1, FANOUT).map((part) =>
      issue(number++, "process.spawn", { agent: "flood", task: { processes: part } }),
    );
    await Promise.all([...spawned, ...busy]);
    return null;
  };
  return { manifest: { name: "flood", class: "batch", tools: [TOOL], agents: ["flood"] }, run: program };
}

type Knocking = { readonly served: ServedTool; readonly calls: number; beganMs?: number };

/** Calls at a steady rate, without waiting for the answers. What it issued before it left memory it issues again at once. */
function knockingAgent(knocking: Knocking): NativeAgent {
  const program = async ({ issue }: ProgramStart): Promise<Json> => {
    const beganMs = (knocking.beganMs ??= performance.now());
    const answers: Promise<Json>[] = [];
    for (let at = 0; at < knocking.calls; at += 1) {
      const leftMs = beganMs + at * EVERY_MS - performance.now();
      if (leftMs > 0) await delay(leftMs);
      knocking.served.issue(`knock-${at}`);
      // One that is refused never enters, and is reported so.
      answers.push(issue(at, "tool.call", { tool: TOOL, args: { name: `knock-${at}` } }).catch(() => null));
    }
    await Promise.all(answers);
    return null;
  };
  return { manifest: { name: "knock", class: "interactive", tools: [TOOL] }, run: program };
}

async function waitingCalls({ kernel }: NativeSystem): Promise<number> {
  const { resources } = await kernel.operate("system.inspect", {}, BY);
  const found = resources.find(({ name }) => name === `tool:${TOOL}`);
  return Object.values(found?.waiting ?? {}).reduce((sum, count) => sum + count, 0);
}

/** Waits until it is so, but no longer than that; answers whether it is. */
async function until(isSo: () => Promise<boolean> | boolean, msMax: number): Promise<boolean> {
  for (const untilMs = performance.now() + msMax; performance.now() < untilMs; await delay(LOOK_EVERY_MS / 5))
    if (await isSo()) return true;
  return false;
}

type Flooded = {
  readonly title: string;
  readonly waitsMs: readonly number[];
  /** Of those, calls that had not been served when nobody waited any longer. */
  readonly unserved: number;
  readonly slotsUsed: number;
  readonly served: number;
  /** While it was measured: calls that waited, and processes in memory. */
  readonly waiting: readonly number[];
  readonly inMemory: number;
  readonly processes: number;
  readonly notes: readonly string[];
};

async function watch(
  system: NativeSystem,
  served: ServedTool,
  seconds: number,
): Promise<Pick<Flooded, "slotsUsed" | "served" | "waiting" | "inMemory">> {
  const waiting: number[] = [];
  let inMemory = 0;
  const from = { ms: performance.now(), busyMs: served.busyMs(), served: served.served };
  while (performance.now() < from.ms + seconds * 1000) {
    waiting.push(await waitingCalls(system));
    inMemory = Math.max(inMemory, system.kernel.load().inMemory);
    await delay(Math.min(LOOK_EVERY_MS, Math.max(1, from.ms + seconds * 1000 - performance.now())));
  }
  const slotMs = served.slots * (performance.now() - from.ms);
  return {
    slotsUsed: (served.busyMs() - from.busyMs) / slotMs,
    served: served.served - from.served,
    waiting,
    inMemory,
  };
}

async function flooded(
  context: Context,
  load: Load,
  part: { readonly title: string; readonly turns?: NativeOptions["turns"] },
): Promise<Flooded> {
  const served = new ServedTool(load);
  const knocking: Knocking = { served, calls: Math.floor((load.seconds * 1000) / EVERY_MS) };
  const notes: string[] = [];
  const system = await bootNative({
    folder: await context.scratch.folder("flood"),
    agents: [floodAgent(load), knockingAgent(knocking)],
    tools: { serve: served.tool },
    onNotice: (line) => notes.push(`${part.title}: ${line}`),
    ...(part.turns === undefined ? {} : { turns: part.turns }),
  });
  const close = context.scratch.defer(() => system.close());
  const processes = Math.ceil((load.waiting + load.slots) / load.inFlight);
  const { pid } = await system.kernel.operate("process.spawn", { agent: "flood", task: { processes } }, BY);
  const enough = await until(async () => (await waitingCalls(system)) >= load.waiting * FLOODED_SHARE, FLOOD_MS_MAX);
  if (!enough) notes.push(`${part.title}: only ${await waitingCalls(system)} calls waited when the measuring began.`);
  context.progress(`${part.title}: ${await waitingCalls(system)} calls wait; ${load.seconds} s are measured`);
  await system.kernel.operate("process.spawn", { agent: "knock", task: null }, BY);
  const seen = await watch(system, served, load.seconds);
  const waits = (): { waitedMs: number; entered: boolean }[] => [...served.waits("knock-").values()];
  await until(() => waits().length >= knocking.calls && waits().every(({ entered }) => entered), TAIL_MS_MAX);
  const { process: root } = await system.kernel.operate("process.show", { pid }, BY);
  if (root.state === "exited")
    notes.push(`${part.title}: the flood ended before its time: ${JSON.stringify(root.exit)}`);
  const entries = waits();
  await close();
  return {
    title: part.title,
    waitsMs: entries.map(({ waitedMs }) => waitedMs),
    unserved: entries.filter(({ entered }) => !entered).length,
    processes,
    notes,
    ...seen,
  };
}

type Patience = {
  readonly maxMs: number;
  readonly boundMs: number;
  readonly waitsMs: readonly number[];
  readonly notes: string[];
};

/** Keeps calls in flight for ever. */
const eagerAgent: NativeAgent = {
  manifest: { name: "eager", class: "interactive", tools: [TOOL] },
  run: async ({ issue }) => {
    let number = 0;
    const keepCalling = async (): Promise<never> => {
      for (;;) await issue(number++, "tool.call", { tool: TOOL, args: {} });
    };
    return Promise.all(Array.from({ length: EAGER_IN_FLIGHT }, keepCalling));
  },
};

/** Calls once, under a name. */
const patientAgent = (served: ServedTool): NativeAgent => ({
  manifest: { name: "patient", class: "batch", tools: [TOOL] },
  run: async ({ issue, pid }) => {
    served.issue(`patient-${pid}`);
    return issue(0, "tool.call", { tool: TOOL, args: { name: `patient-${pid}` } });
  },
});

/** One tree with so many of them. */
const parentAgent = (calls: number): NativeAgent => ({
  manifest: { name: "parent", class: "batch", agents: ["patient"] },
  run: async ({ issue }) => {
    const children = (await Promise.all(
      Array.from({ length: calls }, (_, at) => issue(at, "process.spawn", { agent: "patient", task: null })),
    )) as { readonly pid: string }[];
    return Promise.all(children.map(({ pid }, at) => issue(calls + at, "process.wait", { pid })));
  },
});

/** Part three: the wait of batch calls while a higher class takes all that there is. */
async function patience(context: Context, load: Load): Promise<Patience> {
  const agingMs = countOption(context, "aging-ms");
  const calls = countOption(context, "patient");
  const served = new ServedTool(load);
  const notes: string[] = [];
  const system = await bootNative({
    folder: await context.scratch.folder("patience"),
    agents: [eagerAgent, patientAgent(served), parentAgent(calls)],
    tools: { serve: served.tool },
    config: { scheduler: { agingMs } },
    onNotice: (line) => notes.push(`patience: ${line}`),
  });
  const close = context.scratch.defer(() => system.close());
  for (let at = 0; at < EAGER; at += 1)
    await system.kernel.operate("process.spawn", { agent: "eager", task: null }, BY);
  await delay(SETTLE_MS);
  context.progress(`${calls} batch calls wait while interactive ones take every slot; agingMs is ${agingMs}`);
  const bound = (): number =>
    waitBoundMs({
      agingMs,
      serviceMs: served.longestMs,
      slots: load.slots,
      position: calls - 1,
      classes: CLASSES_BELOW,
    });
  await system.kernel.operate("process.spawn", { agent: "parent", task: null }, BY);
  const waits = (): { waitedMs: number; entered: boolean }[] => [...served.waits("patient-").values()];
  await until(() => waits().length >= calls && waits().every(({ entered }) => entered), bound() + PATIENCE_MS);
  const entries = waits();
  await close();
  const never = entries.filter(({ entered }) => !entered).length + calls - entries.length;
  if (never > 0)
    notes.push(`patience: ${never} of ${calls} batch calls were not served in time; their wait so far counts.`);
  const waitsMs = entries.map(({ waitedMs }) => waitedMs);
  return { maxMs: Math.max(...waitsMs), boundMs: bound(), waitsMs, notes };
}

function waitsTable(parts: readonly Flooded[], patient: Patience): Table {
  const row = (title: string, waitsMs: readonly number[]): string[] => [
    title,
    String(waitsMs.length),
    ...[0.5, 0.95, 0.99].map((q) => figure(quantile(waitsMs, q))),
    figure(Math.max(...waitsMs)),
  ];
  return {
    title: "Wait from issue to the tool's entry, ms",
    columns: ["calls", "count", "p50", "p95", "p99", "max"],
    rows: [
      ...parts.map(({ title, waitsMs }) => row(`interactive beside the flood, ${title}`, waitsMs)),
      row("batch beside saturating interactive calls", patient.waitsMs),
    ],
  };
}

const floodTable = (parts: readonly Flooded[]): Table => ({
  title: "The flood, while it was measured",
  columns: ["turns", "processes", "in memory at most", "waiting: least", "most", "served", "slots used"],
  rows: parts.map((part) => [
    part.title,
    figure(part.processes),
    figure(part.inMemory),
    figure(Math.min(...part.waiting)),
    figure(Math.max(...part.waiting)),
    figure(part.served),
    figure(part.slotsUsed),
  ]),
});

async function run(context: Context): Promise<Result> {
  const load: Load = {
    seconds: countOption(context, "seconds"),
    waiting: countOption(context, "waiting"),
    inFlight: countOption(context, "in-flight"),
    slots: countOption(context, "slots"),
    serviceMs: countOption(context, "service-ms"),
  };
  const own = await flooded(context, load, { title: "Reeve" });
  const fifo = await flooded(context, load, {
    title: "first come, first served",
    turns: (summon) => new FifoTurns(summon),
  });
  const patient = await patience(context, load);
  const unserved = [own, fifo].flatMap(({ title, unserved: count }) =>
    count === 0 ? [] : [`${title}: ${count} interactive calls were never served; their wait so far counts.`],
  );
  return {
    measures: {
      interactive_wait_p99_ms: quantile(own.waitsMs, 0.99),
      fifo_wait_p99_ms: quantile(fifo.waitsMs, 0.99),
      slots_used: own.slotsUsed,
      batch_wait_max_ms: patient.maxMs,
      batch_wait_bound_ms: patient.boundMs,
    },
    tables: [waitsTable([own, fifo], patient), floodTable([own, fifo])],
    notes: [...own.notes, ...fifo.notes, ...patient.notes, ...unserved],
  };
}

export const flood: Benchmark = {
  name: "flood",
  doc: "an urgent process beside 2,000 waiting calls of a batch tree, also first come first served; and batch beside a saturating class",
  options: {
    seconds: { default: "30", doc: "how long the interactive process calls, in each of the two" },
    waiting: { default: "2000", doc: "calls that the batch tree keeps waiting" },
    "in-flight": { default: "3", doc: "calls that each of its processes has in flight" },
    slots: { default: "4", doc: "slots of the tool" },
    "service-ms": { default: "50", doc: "how long it takes" },
    "aging-ms": { default: "1000", doc: "scheduler.agingMs in the last part" },
    patient: { default: "20", doc: "batch calls that wait in the last part" },
  },
  run,
};
