// Random trees of processes with budgets, and the model and the tools that they use: what `bench budget` runs.
//
// A process's program draws everything from its task's seed, so it does the same when it runs again on its journal. What the
// model and the tools do is drawn anew in each life of the system: they are the outside, and owe nobody a repetition.
// The model never uses more than it was estimated to; whatever is used is in the log before the answer is given.
import { setTimeout as delay } from "node:timers/promises";
import type { Budget } from "../src/abi/agents.ts";
import { OsError } from "../src/abi/errors.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Json } from "../src/abi/json.ts";
import type { ProcessCall } from "../src/abi/syscalls.ts";
import type { ToolManifest } from "../src/abi/tools.ts";
import type { ModelAnswer, ModelRequest, Models } from "../src/ports/model.ts";
import type { ProgramStart } from "../src/ports/program.ts";
import { done, type NativeAgent, type NativeTool, pidOfKey } from "./native-system.ts";
import { chance } from "./statistics.ts";
import type { UsageLog } from "./usage-log.ts";

export type TreeTask = { readonly seed: number; readonly depth: number };
/** A root waits for a message of this topic when its tree has done its work. */
export const END_TOPIC = "end";
export const WORKER = "worker";

const DEPTH_MAX = 3;
const CHILDREN_MAX = 3;
const IN_FLIGHT_MAX = 4;
const SLOTS = 24;
const WORK_MS_MAX = 30;
const OUTPUT_TOKENS_MAX = 400;
const PRICE = { input: 3, output: 15 } as const;
const MILLION = 1_000_000;
/** A name of each tool with what it declares. */
const TOOLS: Readonly<Record<string, Partial<ToolManifest>>> = {
  look: { effect: "read" },
  search: { effect: "read", costUsd: 0.001 },
  pay: { effect: "write", idempotency: "key", costUsd: 0.003 },
  post: { effect: "write", idempotency: "none", costUsd: 0.002 },
};
const TOOL_NAMES = Object.keys(TOOLS);

type Random = () => number;
const whole = (random: Random, least: number, most: number): number =>
  least + Math.floor(random() * (most - least + 1));
const one = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

/** Some bounds, or none. `size` is 1 for a root and less below it. */
export function drawBudget(random: Random, size: number): Budget | undefined {
  const bound = (most: number): number => Math.max(1, Math.round(most * size * (0.2 + 0.8 * random())));
  const budget: Budget = {
    ...(random() < 0.5 ? { calls: bound(60) } : {}),
    ...(random() < 0.4 ? { tokens: bound(12_000) } : {}),
    ...(random() < 0.2 ? { outputTokens: bound(6_000) } : {}),
    ...(random() < 0.5 ? { costUsd: bound(120) / 1000 } : {}),
  };
  return Object.keys(budget).length === 0 ? undefined : budget;
}

type Step = { readonly syscall: ProcessCall; readonly args: Json };

function drawStep(random: Random, { pid, depth }: { readonly pid: ProcessId; readonly depth: number }): Step {
  const kind = random();
  if (kind < 0.2 && depth < DEPTH_MAX) {
    const budget = random() < 0.7 ? drawBudget(random, 0.4 / (depth + 1)) : undefined;
    const task: TreeTask = { seed: whole(random, 0, 2 ** 31), depth: depth + 1 };
    return {
      syscall: "process.spawn",
      args: { agent: WORKER, task, ...(budget === undefined ? {} : { budget }) } as Json,
    };
  }
  if (kind < 0.55) {
    const content = `${pid} ${"asks. ".repeat(whole(random, 1, 150))}`;
    const max = random() < 0.5 ? { maxOutputTokens: whole(random, 20, OUTPUT_TOKENS_MAX) } : {};
    return { syscall: "model.generate", args: { messages: [{ role: "user", content }], tools: [], ...max } };
  }
  return { syscall: "tool.call", args: { tool: `bench.${one(random, TOOL_NAMES)}`, args: {} } };
}

/** Whatever a call is refused with, the program goes on with the next step: that is when budgets are tried hardest. */
async function work({ issue, task, pid }: ProgramStart): Promise<Json> {
  const { seed, depth } = task as TreeTask;
  const random = chance(seed);
  let number = 0;
  const call = (syscall: ProcessCall, args: Json): Promise<Json> => issue(number++, syscall, args);
  const children: ProcessId[] = [];
  let refused = 0;
  for (let left = whole(random, 4, 12); left > 0;) {
    const steps = Array.from({ length: Math.min(left, whole(random, 1, IN_FLIGHT_MAX)) }, () =>
      drawStep(random, { pid, depth: children.length >= CHILDREN_MAX ? DEPTH_MAX : depth }),
    );
    left -= steps.length;
    const outcomes = await Promise.allSettled(steps.map(({ syscall, args }) => call(syscall, args)));
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.status === "rejected") refused += 1;
      else if (steps[at]?.syscall === "process.spawn") children.push((outcome.value as { pid: ProcessId }).pid);
    }
  }
  for (const child of children) {
    if (random() < 0.15) await call("process.signal", { pid: child, signal: "kill" }).catch(() => null);
    else await call("process.wait", { pid: child });
  }
  if (depth === 0) await call("message.receive", { topic: END_TOPIC });
  return refused;
}

export const worker: NativeAgent = {
  manifest: { name: WORKER, model: "script/any", tools: ["bench.*"], agents: [WORKER] },
  run: work,
};

export function createBudgetTools(log: UsageLog, random: Random): Readonly<Record<string, NativeTool>> {
  const toolOf = (declared: Partial<ToolManifest>): NativeTool => ({
    declared: { ...declared, concurrency: SLOTS },
    async run(_args, { key }) {
      const fate = random();
      if (fate < 0.05) {
        const error = new OsError("tool_unavailable", "It is closed just now.", { data: { tool: "bench" } });
        return { kind: "not_performed", error: error.toJSON() };
      }
      log.add(pidOfKey(key), { costUsd: declared.costUsd ?? 0 });
      await delay(random() * WORK_MS_MAX);
      if (fate < 0.15) return { kind: "failed", content: { text: "It did not work out." } };
      if (fate < 0.22) return { kind: "unknown", reason: "the connection broke" };
      return done("It is done.");
    },
  });
  return Object.fromEntries(Object.entries(TOOLS).map(([name, declared]) => [name, toolOf(declared)]));
}

const estimateOf = ({ messages, settings }: ModelRequest): { inputTokens: number; outputTokens: number } => ({
  inputTokens: 10 + Math.ceil(JSON.stringify(messages).length / 4),
  outputTokens: settings.maxOutputTokens ?? OUTPUT_TOKENS_MAX,
});

/** Who asks: the first word of what is said. */
function askerOf({ messages }: ModelRequest): ProcessId {
  const last = messages.at(-1);
  if (last?.role !== "user") throw new Error("The scripted model was not asked by a worker.");
  return last.content.split(" ", 1)[0] as ProcessId;
}

async function generate(request: ModelRequest, log: UsageLog, random: Random): Promise<ModelAnswer> {
  const failed = (message: string, data: Record<string, Json>, retryable: boolean): OsError =>
    new OsError("model_failed", message, { data: { model: request.model, ...data }, retryable });
  const pid = askerOf(request);
  const fate = random();
  if (fate < 0.01) throw failed("It is too busy.", { status: 503, retryAfterMs: 30 }, true);
  if (fate < 0.05) {
    log.add(pid, {});
    throw failed("It does not like the request.", { status: 400 }, false);
  }
  const estimate = estimateOf(request);
  const inputTokens = whole(random, 1, estimate.inputTokens);
  const outputTokens = whole(random, 1, estimate.outputTokens);
  const costUsd = (inputTokens * PRICE.input + outputTokens * PRICE.output) / MILLION;
  // Billed whether or not the answer arrives.
  log.add(pid, { inputTokens, outputTokens, costUsd });
  await delay(random() * WORK_MS_MAX);
  if (fate < 0.09) throw failed("The stream broke off.", {}, true);
  if (fate < 0.12) throw new OsError("timeout", "It took too long.", { data: { afterMs: WORK_MS_MAX } });
  return {
    content: [{ type: "text", text: "Noted." }],
    finishReason: "stop",
    usage: { inputTokens, outputTokens, costUsd },
  };
}

export const createBudgetModels = (log: UsageLog, random: Random): Models => ({
  defaultModel: undefined,
  resource: () => ({ name: "model:script", concurrency: SLOTS }),
  estimate: estimateOf,
  priceOf: () => PRICE,
  generate: (request) => generate(request, log, random),
  checks: () => [],
});
