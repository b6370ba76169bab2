// Programs for the simulation: what one does follows from its seed alone, so it does the same in every run.
//
// They use every kind of waiting and every kind of tool, one after another and side by side, and note each outcome that
// they see: what was seen must be in the journal.
import type { Json } from "../../src/abi/json.ts";
import { OsError } from "../../src/abi/errors.ts";
import type { Sys } from "../../src/sdk/sys.ts";
import { Chance } from "./chance.ts";

export type SimulatedTask = { readonly seed: number; readonly depth: number; readonly steps: number };

/** Notes what a program saw; `step` is its own numbering. */
export type Note = (step: string, outcome: Json) => void;

const TOOLS = ["w.read", "w.once", "w.keyed", "w.traced", "w.destroy", "w.alone"] as const;

type Step = (sys: Sys, chance: Chance, task: SimulatedTask) => Promise<Json>;

const useTool: Step = async (sys, chance) =>
  (await sys.tool.call({ tool: chance.pick(TOOLS), args: { value: chance.below(1000) } })).text;

const STEPS: readonly Step[] = [
  useTool,
  useTool,
  useTool,
  async (sys, chance) => (await sys.random.bytes({ size: 1 + chance.below(16) })).base64,
  async (sys, chance) => (await sys.clock.sleep({ ms: chance.below(100_000) }), "slept"),
  async (sys) => (await sys.clock.now({}), "looked at the clock"),
  async (sys) => (await sys.human.ask({ question: "Go on?" })).answer,
  async (sys, chance) => (await sys.message.receive({ timeoutMs: chance.below(1000) })).message?.body ?? "no message",
  async (sys, chance) =>
    (await sys.model.generate({ messages: [{ role: "user", content: `say ${chance.below(100)}` }] })).content[0]
      ?.type ?? "nothing",
  async (sys, chance) => {
    const draws = Array.from({ length: 2 + chance.below(3) }, () => new Chance(chance.below(2 ** 31)));
    return Promise.all(draws.map((draw) => guarded(() => useTool(sys, draw, { seed: 0, depth: 0, steps: 0 }))));
  },
  // Two keys, in whatever order: circles come about, and one of each is told so.
  async (sys, chance) => {
    const key = chance.pick(["gate", "door"]);
    await sys.lock.acquire({ key });
    const outcome = await guarded(() => useTool(sys, chance, { seed: 0, depth: 0, steps: 0 }));
    const { released } = await sys.lock.release({ key });
    return [outcome, released];
  },
  async (sys, chance) => {
    const [one, other] = chance.below(2) === 0 ? (["gate", "door"] as const) : (["door", "gate"] as const);
    const held = await guarded(async () => {
      await sys.lock.acquire({ key: one });
      await sys.clock.sleep({ ms: chance.below(200) });
      await sys.lock.acquire({ key: other });
      return "both";
    });
    for (const key of ["gate", "door"]) await sys.lock.release({ key });
    return held;
  },
  async (sys, chance) => {
    const [first, second] = [new Chance(chance.below(2 ** 31)), chance.below(500)];
    return Promise.race([
      guarded(() => useTool(sys, first, { seed: 0, depth: 0, steps: 0 })),
      sys.clock.sleep({ ms: second }).then(() => "too late"),
    ]);
  },
];

const withChild: Step = async (sys, chance, { depth }) => {
  const task: SimulatedTask = { seed: chance.below(2 ** 31), depth: depth - 1, steps: 1 + chance.below(3) };
  const budget = chance.below(2) === 0 ? {} : { budget: { calls: 1 + chance.below(6) } };
  const { pid } = await sys.process.spawn({ agent: "walker", task, ...budget });
  if (chance.below(2) === 0)
    await guarded(async () => (await sys.message.send({ pid, topic: "greeting", body: "hello" }), "sent"));
  const { exit } = await sys.process.wait({ pid });
  return exit?.how ?? "still there";
};

/** An error of the system is an outcome like any other. */
async function guarded(act: () => Promise<Json>): Promise<Json> {
  try {
    return await act();
  } catch (error) {
    if (OsError.is(error)) return { refused: error.code };
    throw error;
  }
}

export async function walk(sys: Sys, task: SimulatedTask, note: Note): Promise<Json> {
  const chance = new Chance(task.seed);
  const seen: Json[] = [];
  for (let step = 0; step < task.steps; step += 1) {
    const act = task.depth > 0 && chance.below(5) === 0 ? withChild : chance.pick(STEPS);
    const outcome = await guarded(() => act(sys, chance, task));
    seen.push(outcome);
    note(String(step), outcome);
  }
  return seen;
}
