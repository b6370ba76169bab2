// A whole kernel for tests: real parts wherever a test does not put its own in their place.
//
// Agents are functions, tools are functions that count how often they were performed, the model plays what it is given.
// What a test unplugs it passes as `parts`.
import type { Agent } from "../src/abi/agents.ts";
import { agentManifestSchema } from "../src/abi/agents.ts";
import { OsError } from "../src/abi/errors.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Json, JsonObject } from "../src/abi/json.ts";
import { toolManifestSchema, type ToolManifest } from "../src/abi/tools.ts";
import { cronerCalendar } from "../src/drivers/calendar-croner/calendar.ts";
import { createNativeHost } from "../src/drivers/program-native/host.ts";
import { systemClock } from "../src/drivers/system/clock.ts";
import { systemRandom } from "../src/drivers/system/random.ts";
import { createGovernance } from "../src/governance/rules.ts";
import { createIdentity } from "../src/identity/liveness.ts";
import { createKernel, type Kernel } from "../src/kernel/kernel.ts";
import type { KernelLimits, KernelPorts } from "../src/kernel/services.ts";
import type { ModelAnswer, ModelRequest, Models } from "../src/ports/model.ts";
import type { AgentSource } from "../src/ports/program.ts";
import type { Scheduler, Turns } from "../src/ports/scheduler.ts";
import type { Store } from "../src/ports/store.ts";
import type { Invocation, Preview, ToolOutcome, Tools } from "../src/ports/tools.ts";
import type { Workspaces } from "../src/ports/workspace.ts";
import { createScheduler } from "../src/scheduler/scheduler.ts";
import { command } from "../src/sdk/command.ts";
import { loop } from "../src/sdk/loop.ts";
import { makeSys, type Sys } from "../src/sdk/sys.ts";

export type TestProgram = (sys: Sys, task: Json) => Promise<Json>;
export type TestAgent = {
  readonly run?: TestProgram;
  /** A Markdown agent with these instructions, run by the built-in loop. */
  readonly instructions?: string;
  readonly manifest?: JsonObject;
};
export type TestTool = {
  readonly manifest?: Partial<ToolManifest>;
  readonly run?: (args: JsonObject, key: string) => Promise<ToolOutcome> | ToolOutcome;
  readonly reconcile?: Tools["reconcile"];
  readonly preview?: (args: JsonObject) => Preview;
  /** It keeps the workspace before each call. */
  readonly keeps?: boolean;
};

export const done = (text: string): ToolOutcome => ({ kind: "done", content: { text } });

/** Tools by full name, and what was performed: one entry for each dispatch, in order. */
export function fakeTools(tools: { readonly [name: string]: TestTool }): Tools & { readonly performed: Invocation[] } {
  const performed: Invocation[] = [];
  const definition = (name: string): Invocation["tool"] => {
    const tool = tools[name];
    if (tool === undefined)
      throw new OsError("not_found", `There is no tool ${name}.`, { data: { what: "tool", id: name } });
    return {
      name,
      description: name,
      inputSchema: { type: "object" },
      manifest: toolManifestSchema.parse(tool.manifest ?? {}),
      hash: `hash of ${name}`,
    };
  };
  return {
    performed,
    resolve: async (patterns) =>
      patterns
        .flatMap((pattern) =>
          pattern.endsWith(".*")
            ? Object.keys(tools).filter((name) => name.startsWith(pattern.slice(0, -1)))
            : [pattern],
        )
        .map(definition),
    resource: ({ name, manifest }) => ({ name: `tool:${name}`, concurrency: manifest.concurrency }),
    call: async (invocation) => {
      performed.push(invocation);
      const { notes, call, process } = invocation;
      if (tools[invocation.tool.name]?.keeps === true)
        await notes({ kind: "workspace.changed", what: "snapshot", before: call, by: process.pid });
      return (await tools[invocation.tool.name]?.run?.(invocation.args, invocation.key)) ?? done("ok");
    },
    preview: async (invocation) => tools[invocation.tool.name]?.preview?.(invocation.args),
    reconcile: async (invocation) =>
      (await tools[invocation.tool.name]?.reconcile?.(invocation)) ?? {
        status: "unknown",
        reason: "it has no reconcile",
      },
    list: async () => {
      const listed = Object.keys(tools).map(
        (name) => ({ ...definition(name), isolation: "none", pin: "own" }) as const,
      );
      return { tools: listed, held: [], sources: [], unavailable: [] };
    },
    diff: async (tool) => {
      throw new OsError("not_found", `Nothing is held against ${tool}.`);
    },
    accept: async () => [],
    login: async () => ({ address: null }),
    logout: async () => false,
    close: async () => {},
  };
}

/** A model that answers from a function of the request, and counts how often it was asked. */
export function fakeModel(
  answer: (request: ModelRequest) => Partial<ModelAnswer> | Promise<Partial<ModelAnswer>>,
): Models & { readonly asked: ModelRequest[] } {
  const asked: ModelRequest[] = [];
  return {
    asked,
    defaultModel: "fake/model",
    resource: () => ({ name: "model:fake", concurrency: 64 }),
    estimate: ({ settings }) => ({ inputTokens: 10, outputTokens: settings.maxOutputTokens ?? 100 }),
    priceOf: () => ({ input: 1, output: 2 }),
    generate: async (request) => {
      asked.push({ ...request, messages: [...request.messages] });
      return {
        content: [],
        finishReason: "stop",
        usage: { inputTokens: 10, outputTokens: 5 },
        ...(await answer(request)),
      };
    },
    checks: () => [],
  };
}

export const say = (text: string): Partial<ModelAnswer> => ({ content: [{ type: "text", text }] });

function fakeAgents(agents: { readonly [name: string]: TestAgent }): AgentSource {
  const of = (name: string, { instructions, manifest }: TestAgent): Agent => ({
    manifest: agentManifestSchema.parse({ name, description: name, ...manifest }),
    program: instructions === undefined ? { kind: "native", name } : { kind: "markdown", instructions },
    hash: `hash of ${name}`,
  });
  return {
    find: async (name) => {
      const agent = agents[name];
      if (agent === undefined)
        throw new OsError("not_found", `There is no agent ${name}.`, { data: { what: "agent", id: name } });
      return of(name, agent);
    },
    list: async () => ({ agents: Object.entries(agents).map(([name, agent]) => of(name, agent)), invalid: [] }),
  };
}

export type TestOptions = {
  readonly store: Store;
  readonly agents: { readonly [name: string]: TestAgent };
  readonly tools?: Tools;
  readonly models?: Models;
  readonly limits?: Partial<KernelLimits>;
  /** Parts in place of the real ones. */
  readonly parts?: Partial<KernelPorts>;
};

export type TestSystem = Kernel & { readonly troubles: string[]; readonly store: Store };

/** The real scheduler, with some of what its turns do replaced. */
export function testScheduler(
  turns: Partial<Turns> = {},
  options: Partial<Parameters<typeof createScheduler>[0]> = {},
): Scheduler {
  const whole = createScheduler({
    clock: systemClock,
    random: () => 0.5,
    agingMs: 10_000,
    tenants: {},
    summon: () => {},
    ...options,
  });
  return { ...whole, turns: replacing(whole.turns, turns) };
}

/** An object with some of its operations replaced. */
export function replacing<T extends object>(whole: T, parts: Partial<T>): T {
  return new Proxy(whole, {
    get: (target, name) => {
      const value: unknown = Reflect.get(parts, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

const noWorkspace = (pid: ProcessId): Promise<never> =>
  Promise.reject(new OsError("not_found", `Process ${pid} has no workspace.`));
/** For processes that have none. */
export const noWorkspaces: Workspaces = {
  open: noWorkspace,
  diff: noWorkspace,
  patch: noWorkspace,
  snapshots: noWorkspace,
  commit: noWorkspace,
  rollback: noWorkspace,
  list: async () => [],
  room: async () => ({ count: 0, sizeBytes: 0 }),
  look: noWorkspace,
  setAside: noWorkspace,
  removals: async () => [],
  erase: async () => {},
  close: async () => {},
};

/** Boots a kernel and lets it run. The store stays the caller's. */
export async function bootTest({ store, agents, tools, models, limits, parts }: TestOptions): Promise<TestSystem> {
  const troubles: string[] = [];
  const programs = createNativeHost({
    native: new Map(
      Object.entries(agents).map(([name, { run }]) => [
        name,
        (start) => run?.(makeSys(start.issue), start.task) ?? Promise.reject(new Error(`${name} has no program`)),
      ]),
    ),
    markdown: async (start) => {
      const { manifest, program } = start.agent;
      const instructions = program.kind === "markdown" ? program.instructions : "";
      return loop(makeSys(start.issue), { manifest, instructions, task: start.task });
    },
    command: async ({ agent: { program }, task, issue }) =>
      command(makeSys(issue), program.kind === "command" ? program.command : [], task),
  });
  const clock = parts?.clock ?? systemClock;
  const summoned: { by?: Kernel } = {};
  const kernel = createKernel(
    {
      store,
      clock,
      random: systemRandom,
      models: models ?? fakeModel(() => say("done")),
      tools: tools ?? fakeTools({}),
      agents: fakeAgents(agents),
      programs,
      identity: createIdentity(),
      governance: createGovernance(),
      scheduler: testScheduler({}, { clock, summon: (pid) => summoned.by?.summon(pid) }),
      calendar: cronerCalendar,
      workspaces: noWorkspaces,
      checks: async () => [],
      ...parts,
    },
    {
      limits: {
        processesInMemory: 256,
        parkAfterMs: 50,
        budget: {},
        tree: {},
        spawnsPerMinute: 60_000,
        reserved: {},
        ...limits,
      },
      version: "test",
      node: "test",
      folder: "test",
      onTrouble: (message) => troubles.push(message),
    },
  );
  summoned.by = kernel;
  await kernel.run();
  return Object.assign(kernel, { troubles, store });
}
