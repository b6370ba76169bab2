// The whole system in this process, as `reeve up` boots it, on its SQLite store and without the HTTP door. Its agents are
// functions, and so are its tools: they stand under the source `bench`.
//
// What differs from a user's system is said in the options; everything else is the product as it is.
import { type AgentManifest, agentManifestSchema } from "../src/abi/agents.ts";
import type { z } from "zod";
import { type ConfigInput, configSchema } from "../src/abi/config.ts";
import { OsError } from "../src/abi/errors.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Json, JsonObject } from "../src/abi/json.ts";
import type { ToolManifest } from "../src/abi/tools.ts";
import { boot } from "../src/boot.ts";
import { createNativeHost } from "../src/drivers/program-native/host.ts";
import { systemClock } from "../src/drivers/system/clock.ts";
import type { Kernel } from "../src/kernel/kernel.ts";
import type { Models } from "../src/ports/model.ts";
import type { AgentSource, ProgramStart } from "../src/ports/program.ts";
import type { Scheduler, Turns } from "../src/ports/scheduler.ts";
import type { CallOptions, ToolOutcome, ToolSource } from "../src/ports/tools.ts";
import { createScheduler } from "../src/scheduler/scheduler.ts";
import { createTools } from "../src/tools/registry.ts";
import { chance } from "./statistics.ts";

/** Under whose name the benchmark acts as an operator. */
export const BY = "bench";

export type NativeAgent = {
  readonly manifest: Omit<z.input<typeof agentManifestSchema>, "description">;
  readonly run: (start: ProgramStart) => Promise<Json>;
};

/** A tool as its source sees it; `key` begins with the pid of the process that calls. */
export type NativeTool = {
  readonly declared: Partial<ToolManifest>;
  readonly run: (args: JsonObject, call: CallOptions) => Promise<ToolOutcome>;
};

export type NativeSystem = { readonly kernel: Kernel; close(): Promise<void> };

export type NativeOptions = {
  /** Where the data is, or will be. */
  readonly folder: string;
  readonly agents: readonly NativeAgent[];
  readonly tools: Readonly<Record<string, NativeTool>>;
  readonly models?: Models;
  readonly config?: Pick<ConfigInput, "limits" | "scheduler">;
  /** In place of the system's own order of turns. */
  readonly turns?: (summon: (pid: ProcessId) => void) => Turns;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Told of trouble; by default it goes to standard error. */
  readonly onNotice?: (line: string) => void;
};

export const done = (text: string): ToolOutcome => ({ kind: "done", content: { text } });

/** The process that a call's idempotency key belongs to. */
export const pidOfKey = (key: string): ProcessId => key.slice(0, key.lastIndexOf(".")) as ProcessId;

export async function bootNative(options: NativeOptions): Promise<NativeSystem> {
  const config = configSchema.parse({ dataFolder: "data", ...options.config });
  const { folder, models, turns } = options;
  const summoned: { by?: Kernel } = {};
  const summon = (pid: ProcessId): void => summoned.by?.summon(pid);
  const scheduler = turns === undefined ? undefined : schedulerWith(turns(summon), { ...config.scheduler, summon });
  const sources = new Map([["bench", { source: sourceOf(options.tools), overrides: {}, outside: false }]]);
  const unpinned = (): never => {
    throw new Error("nothing is pinned here");
  };
  const pins = { store: { append: unpinned, source: unpinned }, onNotice: () => undefined };
  const booted = await boot({
    project: { folder, file: undefined, config },
    version: "bench",
    environment: options.environment ?? {},
    run: true,
    onNotice: options.onNotice ?? ((line) => console.error(line)),
    parts: {
      agents: agentsOf(options.agents),
      programs: createNativeHost({ native: new Map(options.agents.map(({ manifest, run }) => [manifest.name, run])) }),
      tools: createTools({ ...pins, sources, clock: systemClock }),
      ...(models === undefined ? {} : { models }),
      ...(scheduler === undefined ? {} : { scheduler }),
    },
  });
  summoned.by = booted.kernel;
  return booted;
}

/** The system's scheduler but for its order of turns. */
function schedulerWith(
  turns: Turns,
  options: Pick<Parameters<typeof createScheduler>[0], "agingMs" | "tenants" | "summon">,
): Scheduler {
  const { ready, budgets, locks } = createScheduler({ ...options, clock: systemClock, random: chance(1) });
  return { turns, ready, budgets, locks };
}

function agentsOf(agents: readonly NativeAgent[]): AgentSource {
  const found = agents.map(({ manifest: declared }) => {
    const manifest: AgentManifest = agentManifestSchema.parse({ ...declared, description: "Works for a benchmark." });
    return { manifest, program: { kind: "native", name: manifest.name }, hash: "0".repeat(64) } as const;
  });
  return {
    find: async (name) => {
      const agent = found.find(({ manifest }) => manifest.name === name);
      if (agent === undefined)
        throw new OsError("not_found", `There is no agent ${name}.`, { data: { what: "agent", id: name } });
      return agent;
    },
    list: async () => ({ agents: found, invalid: [] }),
  };
}

function sourceOf(tools: Readonly<Record<string, NativeTool>>): ToolSource {
  // The registry takes the same array for the same listing.
  const listed = Object.entries(tools).map(([name, { declared }]) => ({
    name,
    description: "A tool of a benchmark.",
    inputSchema: { type: "object" } as const,
    declared,
  }));
  return {
    isolation: "none",
    tools: async () => listed,
    call: async (name, args, call) => {
      const tool = tools[name];
      if (tool === undefined) throw new Error(`The benchmark has no tool ${name}.`);
      return tool.run(args, call);
    },
    close: async () => {},
  };
}
