// Runs module agents, each in a child process of its own (module-child.ts) over a syscall socket (frames.ts).
//
// Invariants:
//   H1. At most `maxProcesses` children run or wait for an order; further starts wait, first come first served. Only
//       `describe` has one child beside them, so that agents can be listed while all are busy.
//   H2. A child runs one program and dies with it.
//   H3. Where there is room, one child is booted ahead: a start then costs an import and not a boot. It is thrown away
//       when the project's files have changed so that it would have to be granted others.
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import type { AgentManifest } from "../../abi/agents.ts";
import { OsError } from "../../abi/errors.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { ProgramHost, ProgramRun, ProgramStart } from "../../ports/program.ts";
import { describeIn } from "./describe.ts";
import { grantedPaths } from "./grants.ts";
import { asPlainProcess, type Launch } from "./launch.ts";
import { ModuleChild } from "./module-child.ts";
import { ModuleRun } from "./run.ts";

export type ModuleHostOptions = {
  readonly projectFolder: string;
  /** Children at once. */
  readonly maxProcesses: number;
  /** Folders outside the project, or hidden in it, that agents are imported from: the agents folder. */
  readonly readableFolders?: readonly string[];
  /** Folders inside the project that no agent may read: the data folder. Names that begin with a dot are private anyway. */
  readonly privateFolders?: readonly string[];
  /** The heap of each child. Megabytes; 256 if absent. */
  readonly memoryMb?: number;
  /** How long a child may take to boot and to import its agent; 30,000 if absent. */
  readonly loadTimeoutMs?: number;
  /** How children are started: in a sandbox (`inSandbox`), or as plain processes if absent. */
  readonly launch?: Launch;
  /** What agents write to stdout and stderr, as it comes. Dropped if absent. */
  readonly onOutput?: (pid: ProcessId, text: string) => void;
};

export interface ModuleHost extends ProgramHost {
  /** The manifest of a module agent, found by importing it in a child. Rejects with `agent_invalid`. */
  describe(file: string): Promise<AgentManifest>;
}

type Settings = Required<ModuleHostOptions>;

export function createModuleHost(options: ModuleHostOptions): ModuleHost {
  return new Host({
    readableFolders: [],
    privateFolders: [],
    memoryMb: 256,
    loadTimeoutMs: 30_000,
    onOutput: () => {},
    launch: asPlainProcess,
    ...options,
    projectFolder: realpathSync(options.projectFolder),
  });
}

class Host implements ModuleHost {
  readonly #settings: Settings;
  readonly #children = new Set<ModuleChild>();
  readonly #runs = new Set<ModuleRun>();
  readonly #waiting: { readonly run: ModuleRun; readonly file: string }[] = [];
  #running = 0;
  #spare: ModuleChild | undefined;
  #describing: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  start(start: ProgramStart): ProgramRun {
    const { projectFolder, memoryMb, loadTimeoutMs, onOutput } = this.#settings;
    const run: ModuleRun = new ModuleRun(start, {
      projectFolder,
      memoryMb,
      loadTimeoutMs,
      onOutput: (text) => onOutput(start.pid, text),
      onLoaded: () => this.#bootAhead(),
      onOver: () => this.#forget(run),
    });
    this.#runs.add(run);
    const { program, manifest } = start.agent;
    if (program.kind !== "module" || this.#closed) {
      const why = this.#closed ? "the system is shutting down" : `its program is of kind ${program.kind}, not a module`;
      queueMicrotask(() =>
        run.reject(
          new OsError("unsupported", `The agent ${manifest.name} cannot run here: ${why}.`, {
            data: { agent: manifest.name },
          }),
        ),
      );
      return run;
    }
    this.#waiting.push({ run, file: this.#locate(program.file) });
    // The kernel holds the run before anything comes of it.
    queueMicrotask(() => this.#pump());
    return run;
  }

  describe(file: string): Promise<AgentManifest> {
    const { projectFolder, loadTimeoutMs } = this.#settings;
    const described = this.#describing.then(() =>
      describeIn(() => this.#boot(), { file: this.#locate(file), projectFolder, loadTimeoutMs }),
    );
    // The next one waits for this one's end, whatever it was; the caller is told of a failure.
    this.#describing = described.catch(() => undefined);
    return described;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const run of this.#runs) run.dispose();
    const children = [...this.#children];
    for (const child of children) child.kill();
    await Promise.all(children.map((child) => child.gone));
  }

  /** The module's real path: what is granted are real paths. */
  #locate(file: string): string {
    const path = resolve(this.#settings.projectFolder, file);
    try {
      return realpathSync(path);
    } catch {
      // It is gone; importing it says so with its name.
      return path;
    }
  }

  #forget(run: ModuleRun): void {
    this.#runs.delete(run);
    const at = this.#waiting.findIndex((waiting) => waiting.run === run);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  #pump(): void {
    while (this.#running < this.#settings.maxProcesses && !this.#closed) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#begin(next);
    }
  }

  #begin({ run, file }: { run: ModuleRun; file: string }): void {
    const child = this.#takeChild();
    this.#running += 1;
    void child.gone.then(() => {
      this.#running -= 1;
      this.#pump();
    });
    run.begin(child, file);
  }

  #takeChild(): ModuleChild {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare === undefined) return this.#boot();
    if (spare.alive && spare.grantKey === this.#granted().join("\n")) return spare;
    spare.kill();
    return this.#boot();
  }

  #bootAhead(): void {
    if (this.#closed || this.#spare !== undefined || this.#running >= this.#settings.maxProcesses) return;
    // If it cannot be started nobody has waited for it. The next start tries again, and says what is wrong.
    this.#spare = this.#boot();
  }

  #granted(): string[] {
    return grantedPaths(this.#settings);
  }

  #boot(): ModuleChild {
    if (this.#closed) throw new OsError("cancelled", "No agent is started any more: the system is shutting down.");
    const { projectFolder, memoryMb, launch } = this.#settings;
    const child = new ModuleChild({ folder: projectFolder, granted: this.#granted(), memoryMb }, launch);
    this.#children.add(child);
    void child.gone.then(() => this.#children.delete(child));
    return child;
  }
}
