// The boot list: joins the parts into a running system. This file and command-line.ts are the only ones that know them all.
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { type Isolation, isolationOf } from "./boot-isolation.ts";
import { toolsOf } from "./boot-tools.ts";
import { UNDO_PROGRAM } from "./abi/agents.ts";
import type { ProviderConfig } from "./abi/config.ts";
import { errorRecord, OsError } from "./abi/errors.ts";
import type { Check } from "./abi/reports.ts";
import { createAgentFiles } from "./drivers/agent-files/agent-files.ts";
import { cronerCalendar } from "./drivers/calendar-croner/calendar.ts";
import type { Project } from "./drivers/config-file/config.ts";
import { createAiSdkProvider } from "./drivers/model-ai-sdk/provider.ts";
import { createRehearsalProvider } from "./drivers/model-rehearsal/provider.ts";
import { createModuleHost, type ModuleHost } from "./drivers/program-module/host.ts";
import { inSandbox } from "./drivers/program-module/launch.ts";
import { createNativeHost } from "./drivers/program-native/host.ts";
import { crashingStore, crashPointOf } from "./drivers/store-crash/store.ts";
import { openSqliteStore } from "./drivers/store-sqlite/store.ts";
import { systemClock } from "./drivers/system/clock.ts";
import { systemRandom } from "./drivers/system/random.ts";
import { createTokenizer } from "./drivers/tokenizer-o200k/tokenizer.ts";
import { noticeOfMcpJson } from "./drivers/tools-mcp/mcp-json.ts";
import { createGovernance } from "./governance/rules.ts";
import { createIdentity } from "./identity/liveness.ts";
import { createKernel, type Kernel } from "./kernel/kernel.ts";
import type { KernelPorts } from "./kernel/services.ts";
import { createModels } from "./models/registry.ts";
import type { ModelProvider, Models } from "./ports/model.ts";
import type { AgentSource, ProgramHost } from "./ports/program.ts";
import type { Random } from "./ports/random.ts";
import type { Store } from "./ports/store.ts";
import type { Tools } from "./ports/tools.ts";
import type { Workspaces } from "./ports/workspace.ts";
import { createScheduler } from "./scheduler/scheduler.ts";
import { command } from "./sdk/command.ts";
import { loop } from "./sdk/loop.ts";
import { makeSys } from "./sdk/sys.ts";
import { undo, type UndoTask } from "./sdk/undo.ts";
import { sandboxChecks, unisolatedChecks } from "./tools/sandbox-checks.ts";

export type BootOptions = {
  readonly project: Project;
  readonly version: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Whether processes go on; without it the system only answers. */
  readonly run: boolean;
  /** What no caller waits for: trouble, and what agents write to their output. */
  readonly onNotice: (message: string) => void;
  /** Parts in place of the ones that the configuration names. */
  readonly parts?: Partial<KernelPorts>;
};

export type Booted = {
  readonly kernel: Kernel;
  readonly folder: string;
  /** What a person should know at the start, a line each. */
  readonly notices: readonly string[];
  close(): Promise<void>;
};

/** Providers that need no entry in the configuration. */
const KNOWN_PROVIDERS = ["openai", "anthropic", "google"] as const;

export async function boot(options: BootOptions): Promise<Booted> {
  const { project, environment, parts = {} } = options;
  const { config } = project;
  const folder = resolve(project.folder, config.dataFolder);
  const agentsFolder = resolve(project.folder, config.agentsFolder);

  const store = parts.store ?? (await openStore(folder, environment)); //              where journals live
  const surroundings = { ...options, folder };
  const isolation = isolationOf(surroundings); //                                      where programs of others run
  const modules = moduleHost(options, { folder, agentsFolder, isolation }); //         programs in child processes
  const agents = parts.agents ?? agentFiles(agentsFolder, modules); //                 what can be run
  const models = parts.models ?? modelsOf(options); //                                 whom programs can ask
  const tools = parts.tools ?? toolsOf(surroundings, isolation, store); //                                    what they can have done
  const programs = parts.programs ?? programHost(modules); //                          who runs them
  const summoned: { by?: Kernel } = {};
  const scheduler = createScheduler({
    clock: systemClock,
    random: chanceOf(systemRandom),
    agingMs: config.scheduler.agingMs,
    tenants: config.scheduler.tenants,
    summon: (pid) => summoned.by?.summon(pid),
  }); //                                                                               who goes next, and what is left
  const kernel = createKernel(
    {
      store,
      clock: systemClock,
      random: systemRandom,
      models,
      tools,
      agents,
      programs,
      identity: createIdentity(),
      governance: createGovernance(),
      scheduler,
      calendar: cronerCalendar,
      workspaces: isolation.workspaces,
      checks: (full) => checksOf({ agents, tools, isolation, full, config }),
      ...parts,
    },
    {
      limits: {
        processesInMemory: config.limits.processesInMemory,
        parkAfterMs: config.limits.parkAfterMs,
        budget: config.limits.budget,
        tree: config.limits.tree,
        spawnsPerMinute: config.limits.spawnsPerMinute,
        reserved: config.scheduler.reserved,
        keepWorkspacesMs: config.workspaces.keepForMs,
      },
      version: options.version,
      node: process.version,
      folder,
      onTrouble: options.onNotice,
    },
  );
  summoned.by = kernel;
  if (options.run) await kernel.run();
  const close = async (): Promise<void> => {
    kernel.close();
    await programs.close();
    await tools.close();
    await isolation.close();
    await store.close();
  };
  return { kernel, folder, notices: noticesOf(project), close };
}

/** A number from 0 to 1, 1 left out. */
const chanceOf =
  (random: Random): (() => number) =>
  () => {
    const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4);
    return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32;
  };

async function openStore(folder: string, environment: BootOptions["environment"]): Promise<Store> {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === false) {
    throw new OsError(
      "config_invalid",
      `The data folder ${folder} is not a folder: a file stands in its place. Move that away, or name another folder as dataFolder in the configuration.`,
      { data: { file: folder, issues: ["dataFolder: is not a folder"] } },
    );
  }
  const store = await openSqliteStore({ folder });
  const crashAt = environment["REEVE_CRASH_AT_WRITE"];
  return crashAt === undefined ? store : crashingStore(store, crashPointOf(crashAt));
}

function moduleHost(
  { project, onNotice }: BootOptions,
  { folder, agentsFolder, isolation }: { folder: string; agentsFolder: string; isolation: Isolation },
): ModuleHost {
  return createModuleHost({
    ...(project.config.sandbox.modules === "process" ? { launch: inSandbox(isolation.sandboxes) } : {}),
    projectFolder: project.folder,
    maxProcesses: project.config.limits.moduleProcesses,
    readableFolders: [agentsFolder],
    privateFolders: [folder],
    onOutput: (pid, text) => onNotice(`${pid}: ${text.trimEnd()}`),
  });
}

const agentFiles = (folder: string, modules: ModuleHost): AgentSource =>
  createAgentFiles({ folder, describeModule: (file) => modules.describe(file) });

function programHost(modules: ModuleHost): ProgramHost {
  const native = createNativeHost({
    markdown: async ({ agent, task, issue }) => {
      const instructions = agent.program.kind === "markdown" ? agent.program.instructions : "";
      return loop(makeSys(issue), { manifest: agent.manifest, instructions, task });
    },
    command: async ({ agent, task, issue }) =>
      command(makeSys(issue), agent.program.kind === "command" ? agent.program.command : [], task),
    native: new Map([[UNDO_PROGRAM, async ({ task, issue }) => undo(makeSys(issue), task as UndoTask)]]),
  });
  return {
    start: (start) => (start.agent.program.kind === "module" ? modules.start(start) : native.start(start)),
    close: async () => {
      await Promise.all([native.close(), modules.close()]);
    },
  };
}

function modelsOf({ project, environment }: BootOptions): Models {
  const { config } = project;
  const providers = new Map<string, ModelProvider>();
  const add = (name: string, provider: ProviderConfig): void => {
    providers.set(name, providerOf(name, provider, { project, environment }));
  };
  for (const [name, provider] of Object.entries(config.models)) add(name, provider);
  for (const name of KNOWN_PROVIDERS) {
    if (!providers.has(name)) add(name, { type: name, headers: {}, concurrency: 8, timeoutMs: 300_000, prices: {} });
  }
  const prices = new Map(
    Object.entries(config.models).flatMap(([name, provider]) =>
      provider.type === "rehearsal" ? [] : [[name, provider.prices] as const],
    ),
  );
  return createModels({ providers, defaultModel: config.defaultModel, prices, countTokens: createTokenizer() });
}

function providerOf(
  name: string,
  provider: ProviderConfig,
  { project, environment }: Pick<BootOptions, "project" | "environment">,
): ModelProvider {
  if (provider.type !== "rehearsal") return createAiSdkProvider(name, provider, environment);
  const file = resolve(project.folder, provider.script);
  const { concurrency, requestsPerMinute, tokensPerMinute } = provider;
  const limits = { concurrency, requestsPerMinute, tokensPerMinute };
  return createRehearsalProvider(name, { scriptText: scriptText(name, file), file, ...limits });
}

function scriptText(provider: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === "ENOENT" ? "is not there" : (error as Error).message;
    throw new OsError(
      "config_invalid",
      `The script of the model provider ${provider}, ${file}, cannot be read: it ${why}. Write it, or name another as models.${provider}.script in the configuration.`,
      { data: { file, issues: [`models.${provider}.script: ${why}`] }, cause: error },
    );
  }
}

function noticesOf({ config, file, folder }: Project): string[] {
  const rehearsals = Object.entries(config.models).filter(([, { type }]) => type === "rehearsal");
  return [
    ...(file === undefined
      ? ["No reeve.config.ts here: the defaults hold, and there are no tools.", ...noticeOfMcpJson(folder)]
      : []),
    ...rehearsals.map(([name]) => `${name}/… is a rehearsal: it plays a script, and no model is asked.`),
  ];
}

type Checked = {
  readonly agents: AgentSource;
  readonly tools: Tools;
  readonly isolation: Isolation;
  /** Try every escape from every sandbox anew. */
  readonly full: boolean;
  readonly config: Project["config"];
};

async function checksOf({ agents, tools, isolation, full, config }: Checked): Promise<Check[]> {
  const set = full ? "full" : undefined;
  // One after the other, so that none is judged while another uses up the machine.
  const reports = [...(await isolation.sandboxes.report(set)), await isolation.snippets.report(set)];
  const [found, offered] = await Promise.all([agents.list(), tools.list()]);
  const names = found.agents.map(({ manifest }) => manifest.name);
  return [
    {
      name: "agents",
      state: found.invalid.length > 0 ? "failed" : "ok",
      detail:
        found.invalid.length > 0
          ? found.invalid.map(({ message }) => message).join("; ")
          : names.length === 0
            ? "none"
            : names.join(", "),
    },
    {
      name: "tools",
      state: "ok",
      detail: `${offered.tools.length} from ${new Set(offered.tools.map(({ name }) => name.split(".")[0])).size} sources`,
    },
    ...offered.unavailable.map(({ source, message }): Check => ({
      name: `tools.${source}`,
      state: "failed",
      detail: message,
    })),
    ...sandboxChecks(reports, config.sandbox.posture),
    await workspaceCheck(isolation.workspaces, config.workspaces),
    ...unisolatedChecks(config.tools),
    ...(config.sandbox.modules === "none"
      ? [
          {
            name: "module agents",
            state: "warning" as const,
            detail: 'run with your rights, under Node\'s permission model alone: sandbox.modules is "none"',
          },
        ]
      : []),
  ];
}

/** What workspaces take, and whether anything ever goes. */
async function workspaceCheck(workspaces: Workspaces, { keepForMs }: Project["config"]["workspaces"]): Promise<Check> {
  const room = await workspaces.room().catch((error: unknown) => errorRecord(error).message);
  if (typeof room === "string") return { name: "workspaces", state: "off", detail: room };
  const { count, sizeBytes } = room;
  const kept =
    keepForMs === undefined
      ? "they stay until they are removed (`reeve workspace prune`)"
      : `those with nothing in them that is nowhere else go ${Math.round(keepForMs / 3_600_000)} hours after their process (workspaces.keepForMs)`;
  const detail = count === 0 ? "none" : `${count} take ${Math.ceil(sizeBytes / 2 ** 20)} MB; ${kept}`;
  return { name: "workspaces", state: "ok", detail };
}
