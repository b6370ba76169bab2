// One simulated history: a system on simulated ports, driven by a seed, cut off at chosen appends and booted again, until
// everything has ended. Then the invariants are checked.
//
//   I1. Every outcome that a program saw is what it sees in the last run: nothing acknowledged was lost or changed.
//   I2. No effect was performed twice, whatever happened between its dispatch and its outcome.
//   I3. Every process ended, and ended by itself.
//   I4. Every journal verifies: same calls, same bytes, unbroken chain.
//   I5. Every request was decided once.
//   I6. No tree called tools more often than its budget allowed, what was under way at a crash included; when all is over
//       nothing is reserved any more, and every call that a budget bounds is charged.
//   I7. A tool that declares a lock ran once at a time.
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Json } from "../../src/abi/json.ts";
import type { Batch, Store } from "../../src/ports/store.ts";
import { bootTest, fakeModel, say, type TestSystem } from "../system.ts";
import { Chance } from "./chance.ts";
import { SimulatedClock } from "./clock.ts";
import { walk, type SimulatedTask } from "./program.ts";
import { type AppendFate, MemoryMedium, openMemoryStore } from "./store-memory.ts";
import { World } from "./world.ts";

export type Crash = { readonly append: number; readonly fate: Exclude<AppendFate, "commit"> };
export type History = { readonly appends: number; readonly crashes: number; readonly faults: readonly string[] };

const TURNS_STILL = 12;
const STILL_MOVES_MAX = 100;
const BOOTS_MAX = 200;
const MOVES_MAX = 100_000;
const ROOTS = 3;

type Life = {
  readonly medium: MemoryMedium;
  readonly world: World;
  readonly clock: SimulatedClock;
  readonly chance: Chance;
  readonly seen: Map<string, string>;
  readonly faults: string[];
  appends: number;
  crashes: number;
};

/** What is taken out to see that the invariants notice: tools passed off as ones that only read, so that no intent is written. */
export type Unplugged = { readonly unplugIntent?: boolean };

/** Plays one history. `crashes` are by the number of the append over all boots, in ascending order. */
export async function simulate(
  seed: number,
  crashes: readonly Crash[] = [],
  { unplugIntent = false }: Unplugged = {},
): Promise<History> {
  const clock = new SimulatedClock();
  const life: Life = {
    medium: new MemoryMedium(),
    world: new World(seed, { clock, unplugIntent }),
    clock,
    chance: new Chance(seed),
    seen: new Map(),
    faults: [],
    appends: 0,
    crashes: 0,
  };
  const left = [...crashes];
  for (let boot = 0; boot < BOOTS_MAX; boot += 1) {
    const ended = await live(life, { seed, crash: left[0] });
    if (ended) return finish(life);
    left.shift();
    life.crashes += 1;
    life.world.crashed();
    clock.forget();
  }
  life.faults.push(`I3: not everything ended within ${BOOTS_MAX} boots`);
  return finish(life);
}

/** Boots on what there is and runs until everything has ended (true) or the system crashes (false). */
async function live(life: Life, { seed, crash }: { seed: number; crash: Crash | undefined }): Promise<boolean> {
  const fate = { crashed: false };
  const onAppend = (batch: Batch): AppendFate => {
    const n = life.appends;
    life.appends += 1;
    if (crash === undefined || n < crash.append) return "commit";
    fate.crashed = true;
    return batch.journals.length === 0 ? "crash_before" : crash.fate;
  };
  const store = await openMemoryStore(life.medium, { onAppend });
  const system = await bootSimulated(life, store);
  try {
    await startRoots(system, seed);
    let stillMoves = 0;
    for (let move = 0; move < MOVES_MAX && !fate.crashed; move += 1) {
      await still(() => fate.crashed);
      if (fate.crashed) return false;
      if ((await answerInbox(life, system)) || life.clock.advance()) {
        stillMoves = 0;
        continue;
      }
      if (await allEnded(system)) break;
      // A long replay takes a turn for each outcome: only many still turns in a row mean that nothing moves.
      stillMoves += 1;
      if (stillMoves < STILL_MOVES_MAX) continue;
      life.faults.push("I3: nothing moves, and not everything has ended");
      break;
    }
    if (!fate.crashed) await verifyAll(life, system);
    return !fate.crashed;
  } catch (error) {
    // The store is dead: whatever was asked of it fails.
    if (fate.crashed) return false;
    throw error;
  } finally {
    system.close();
    await store.close().catch(() => {});
    life.medium.owner = null;
  }
}

function bootSimulated(life: Life, store: Store): Promise<TestSystem> {
  const { clock, chance, world, seen, faults } = life;
  const note = (who: string, step: string, outcome: Json): void => {
    const place = `${who} ${step}`;
    const text = JSON.stringify(outcome);
    const before = seen.get(place);
    if (before !== undefined && before !== text) faults.push(`I1: ${place} was ${before} and is ${text}`);
    seen.set(place, text);
  };
  return bootTest({
    store,
    tools: world.tools,
    models: fakeModel(() => say("words")),
    limits: { processesInMemory: 4, parkAfterMs: 20 },
    parts: { clock, random: { bytes: (size) => chance.bytes(size) } },
    agents: {
      walker: {
        manifest: { tools: ["w.*"], agents: ["walker"] },
        run: (sys, task) =>
          walk(sys, task as unknown as SimulatedTask, (step, outcome) => note(JSON.stringify(task), step, outcome)),
      },
    },
  });
}

async function startRoots(system: TestSystem, seed: number): Promise<void> {
  const chance = new Chance(seed ^ 0x700f);
  for (let root = 0; root < ROOTS; root += 1) {
    const task: SimulatedTask = { seed: chance.below(2 ** 31), depth: 2, steps: 3 + chance.below(5) };
    const budget = chance.below(2) === 0 ? {} : { budget: { calls: 2 + chance.below(12) } };
    await system.operate("process.spawn", { agent: "walker", task, key: `root ${root}`, ...budget }, "simulation");
  }
}

/** Turns of the event loop until everything that can happen without time passing has happened. */
async function still(stop: () => boolean): Promise<void> {
  for (let turn = 0; turn < TURNS_STILL && !stop(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function answerInbox({ world, chance, faults }: Life, system: TestSystem): Promise<boolean> {
  const { requests } = await system.operate("human.list", {}, "simulation");
  const item = requests[0];
  if (item === undefined) return false;
  const decision = world.decide(item);
  await system.operate("human.decide", { request: item.request, decision }, "human");
  // Sometimes somebody else decides as well, and must be told that he is late.
  if (chance.below(3) === 0) {
    const second = await system.operate("human.decide", { request: item.request, decision }, "another").then(
      () => "decided",
      (error: { code?: string }) => error.code,
    );
    if (second === "decided") faults.push(`I5: ${item.request} was decided twice`);
  }
  return true;
}

async function everyProcess(
  system: TestSystem,
): Promise<{ readonly pid: ProcessId; readonly state: string; readonly how: string | undefined }[]> {
  const { processes } = await system.operate("process.list", { limit: 1000 }, "simulation");
  return processes.map(({ pid, state, exit }) => ({ pid, state, how: exit?.how }));
}

const allEnded = async (system: TestSystem): Promise<boolean> =>
  (await everyProcess(system)).every(({ state }) => state === "exited");

async function verifyAll({ faults, world, clock }: Life, system: TestSystem): Promise<void> {
  for (const { pid, how } of await everyProcess(system)) {
    if (how !== "completed") faults.push(`I3: ${pid} ended as ${how ?? "nothing"}`);
    const verified = system.operate("journal.verify", { pid }, "simulation");
    const verification = { over: false };
    const ended = verified.finally(() => (verification.over = true));
    while (!verification.over) {
      await still(() => verification.over);
      if (!verification.over && !clock.advance()) await new Promise((resolve) => setImmediate(resolve));
    }
    const report = await ended;
    if (!report.identical)
      faults.push(`I4: ${pid} differs: ${JSON.stringify(report.difference)} ${JSON.stringify(report.chain)}`);
  }
  await checkAccounts({ world, faults }, system);
  if (world.mostAlone > 1) faults.push(`I7: ${world.mostAlone} calls of w.alone were under way at once`);
  for (const [key, times] of world.performed) if (times > 1) faults.push(`I2: ${key} was performed ${times} times`);
  for (const trouble of system.troubles) faults.push(`trouble: ${trouble}`);
}

async function checkAccounts({ world, faults }: Pick<Life, "world" | "faults">, system: TestSystem): Promise<void> {
  const { processes } = await system.operate("process.list", { limit: 1000 }, "simulation");
  const parents = new Map(processes.map(({ pid, parent }) => [pid, parent]));
  const budgets = new Map(processes.map(({ pid, budget }) => [pid, budget]));
  const bounded = (pid: ProcessId | null): boolean =>
    pid !== null && (budgets.get(pid)?.calls !== undefined || bounded(parents.get(pid) ?? null));
  const used = new Map<string, number>();
  for (const { pid, reserved, spent } of processes) {
    const calls = world.calls.get(pid) ?? 0;
    for (let above: ProcessId | null = pid; above !== null; above = parents.get(above) ?? null)
      used.set(above, (used.get(above) ?? 0) + calls);
    if (reserved.calls !== 0) faults.push(`I6: ${pid} is over and has ${reserved.calls} calls reserved`);
    // Where nothing bounds a process, what a crash cut off, or an exit, is not counted.
    if (spent.calls < calls && bounded(pid))
      faults.push(`I6: ${pid} called tools ${calls} times and is charged ${spent.calls}`);
  }
  for (const { pid, budget } of processes) {
    const calls = used.get(pid) ?? 0;
    if (budget.calls !== undefined && calls > budget.calls)
      faults.push(`I6: ${pid} and those below it called tools ${calls} times, with a budget of ${budget.calls}`);
  }
}

const finish = ({ appends, crashes, faults }: Life): History => ({ appends, crashes, faults: [...new Set(faults)] });
