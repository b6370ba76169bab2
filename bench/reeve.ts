// Reeve as a contender: the whole system as `reeve up` boots it, without the HTTP door, on its SQLite store.
//
// `read` and `write`: a program in the kernel's own process that calls a no-op tool of that effect.
// `module`: a module agent in a child process over its syscall socket, calling the `read` one.
// `model`: a program in the kernel's own process in a conversation with a scripted model; a step is a turn.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { agentManifestSchema } from "../src/abi/agents.ts";
import { configSchema } from "../src/abi/config.ts";
import { OsError } from "../src/abi/errors.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Json } from "../src/abi/json.ts";
import { boot, type Booted } from "../src/boot.ts";
import { createNativeHost } from "../src/drivers/program-native/host.ts";
import { openSqliteStore } from "../src/drivers/store-sqlite/store.ts";
import type { AgentSource, ProgramStart } from "../src/ports/program.ts";
import type { Store } from "../src/ports/store.ts";
import type { Contender, Started } from "./contender.ts";
import { noteEntry, takeEntriesMs } from "./noop-tool.ts";

type Kind = "read" | "write" | "module" | "model";
type Task = { readonly steps: number; readonly wait: boolean };

const BY = "bench";
const WAIT_MS = 60_000;
const TOOL_FILE = fileURLToPath(new URL("noop-tool.ts", import.meta.url));
const PROCESSES_MAX = 1_000;

/** The one agent there is in the kernel's own process. */
function nativeAgents(kind: Kind): AgentSource {
  const manifest = agentManifestSchema.parse({
    name: "stepper",
    description: "Performs durable no-op steps.",
    model: "script/any",
    tools: kind === "model" ? [] : [`bench.${kind}`],
  });
  const agent = { manifest, program: { kind: "native", name: "stepper" }, hash: "0".repeat(64) } as const;
  return {
    find: async (name) => {
      if (name !== manifest.name)
        throw new OsError("not_found", `There is no agent ${name}.`, { data: { what: "agent", id: name } });
      return agent;
    },
    list: async () => ({ agents: [agent], invalid: [] }),
  };
}

async function callTools(kind: Kind, { issue, task }: ProgramStart): Promise<Json> {
  const { steps } = task as Task;
  for (let at = 0; at < steps; at += 1) await issue(at, "tool.call", { tool: `bench.${kind}`, args: {} });
  return steps;
}

async function converse({ issue, task, pid }: ProgramStart): Promise<Json> {
  const { steps } = task as Task;
  let after: { readonly after?: string } = {};
  for (let at = 0; at < steps; at += 1) {
    noteEntry();
    const answer = (await issue(at, "model.generate", {
      ...after,
      messages: [{ role: "user", content: `Question ${at} of ${pid}: and what comes after that?` }],
    })) as { readonly context: string };
    after = { after: answer.context };
  }
  return steps;
}

const nativePrograms = (kind: Kind): ReturnType<typeof createNativeHost> =>
  createNativeHost({
    native: new Map([
      ["stepper", (start: ProgramStart) => (kind === "model" ? converse(start) : callTools(kind, start))],
    ]),
  });

/** Into the project, since a module agent may read nothing outside it but this package's own code. */
async function copyStepper(file: string): Promise<void> {
  const source = await readFile(new URL("stepper.ts", import.meta.url), "utf8");
  await writeFile(file, source.replace("../src/sdk/author.ts", new URL("../src/sdk/author.ts", import.meta.url).href));
}

/** A system on `folder`; `store` is opened here so that what makes it durable can be asked. */
async function bootOn(folder: string, kind: Kind): Promise<{ readonly booted: Booted; readonly store: Store }> {
  await mkdir(join(folder, "agents"), { recursive: true });
  await writeFile(join(folder, "script.yaml"), "turns:\n  - say: Noted.\n");
  const config = configSchema.parse({
    dataFolder: "data",
    models: { script: { type: "rehearsal", script: "script.yaml" } },
    tools: { bench: { type: "module", file: TOOL_FILE } },
    // Every process stays where it is from its start to its end: neither room nor parking is measured here.
    limits: { processesInMemory: PROCESSES_MAX, moduleProcesses: PROCESSES_MAX, parkAfterMs: 600_000 },
  });
  const store = await openSqliteStore({ folder: join(folder, "data") });
  const parts = kind === "module" ? { store } : { store, agents: nativeAgents(kind), programs: nativePrograms(kind) };
  if (kind === "module") await copyStepper(join(folder, "agents", "stepper.ts"));
  const booted = await boot({
    project: { folder, file: undefined, config },
    version: "bench",
    environment: {},
    run: true,
    onNotice: (line) => console.error(line),
    parts,
  });
  return { booted, store };
}

class Reeve implements Contender {
  readonly name: string;
  readonly #kind: Kind;
  #booted: Booted | undefined;

  constructor(kind: Kind) {
    this.name = `Reeve, ${kind}`;
    this.#kind = kind;
  }

  get #kernel(): Booted["kernel"] {
    if (this.#booted === undefined) throw new Error(`${this.name} was not started.`);
    return this.#booted.kernel;
  }

  async start(folder: string): Promise<Started> {
    const { booted, store } = await bootOn(folder, this.#kind);
    this.#booted = booted;
    const { driver, durability, durable } = await store.report();
    return { durability, survivesPowerCut: durable, version: `this checkout, ${driver}` };
  }

  async one(steps: number): Promise<readonly number[]> {
    takeEntriesMs();
    await this.#ended(await this.#spawn({ steps: steps + 1, wait: false }));
    const entriesMs = takeEntriesMs();
    return entriesMs.slice(1).map((atMs, index) => atMs - (entriesMs[index] ?? atMs));
  }

  async many(workflows: number, steps: number): Promise<number> {
    const wait = this.#kind === "module";
    const spawn = (): Promise<ProcessId[]> =>
      Promise.all(Array.from({ length: workflows }, () => this.#spawn({ steps, wait })));
    // Starting a child process takes far longer than a step: module agents start before the clock does, and wait.
    const waiting = wait ? await spawn() : [];
    await Promise.all(waiting.map((pid) => this.#untilWaiting(pid)));
    const fromMs = performance.now();
    for (const pid of waiting) void this.#kernel.operate("message.send", { pid, body: "go" }, BY);
    const pids = wait ? waiting : await spawn();
    await Promise.all(pids.map((pid) => this.#ended(pid)));
    takeEntriesMs();
    return ((workflows * steps) / (performance.now() - fromMs)) * 1000;
  }

  async stop(): Promise<void> {
    await this.#booted?.close();
    this.#booted = undefined;
  }

  async #spawn(task: Task): Promise<ProcessId> {
    return (await this.#kernel.operate("process.spawn", { agent: "stepper", task }, BY)).pid;
  }

  async #untilWaiting(pid: ProcessId): Promise<void> {
    for await (const item of this.#kernel.follow(pid, 0, AbortSignal.timeout(WAIT_MS))) {
      if (item.kind === "event" && item.event.header.kind === "call.waiting") return;
    }
    throw new Error(`${pid} did not come to wait within ${WAIT_MS} ms.`);
  }

  async #ended(pid: ProcessId): Promise<void> {
    const { exit } = await this.#kernel.operate("process.wait", { pid, timeoutMs: WAIT_MS }, BY);
    if (exit?.how !== "completed") throw new Error(`${pid} did not complete: ${JSON.stringify(exit)}`);
  }
}

export const contenders = {
  read: () => new Reeve("read"),
  write: () => new Reeve("write"),
  module: () => new Reeve("module"),
  model: () => new Reeve("model"),
};
