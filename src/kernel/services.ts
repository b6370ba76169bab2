// What the parts of the kernel share: the ports it was given, and the few things that every part needs.
import type { Budget } from "../abi/agents.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { TreeBounds } from "../abi/scheduling.ts";
import type { Calendar } from "../ports/calendar.ts";
import type { Clock } from "../ports/clock.ts";
import type { Governance } from "../ports/governance.ts";
import type { Identity } from "../ports/identity.ts";
import type { Models } from "../ports/model.ts";
import type { AgentSource, ProgramHost } from "../ports/program.ts";
import type { Random } from "../ports/random.ts";
import type { Resource, Scheduler } from "../ports/scheduler.ts";
import type { Store } from "../ports/store.ts";
import type { Check } from "../abi/reports.ts";
import type { Tools } from "../ports/tools.ts";
import type { Workspaces } from "../ports/workspace.ts";
import type { Bus } from "./journal/bus.ts";
import type { Contexts } from "./journal/contexts.ts";
import type { Commits } from "./commits.ts";
import type { OsError } from "../abi/errors.ts";
import type { LockRecovery } from "./lock-recovery.ts";
import type { Notice, Run } from "./run.ts";
import type { Schedules } from "./schedules.ts";
import type { ProcessTable } from "./table.ts";
import type { Trees } from "./trees.ts";
import type { Removals } from "./workspace-removal.ts";

/** Everything that the kernel is joined to. */
export type KernelPorts = {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly models: Models;
  readonly tools: Tools;
  readonly agents: AgentSource;
  readonly programs: ProgramHost;
  readonly identity: Identity;
  readonly governance: Governance;
  readonly scheduler: Scheduler;
  readonly calendar: Calendar;
  readonly workspaces: Workspaces;
  /** What the machine and the configuration add to `system.inspect`. */
  readonly checks: (full: boolean) => Promise<readonly Check[]>;
};

export type KernelLimits = {
  readonly processesInMemory: number;
  readonly parkAfterMs: number;
  /** For every root, unless its agent or its creator sets less. */
  readonly budget: Budget;
  readonly tree: TreeBounds;
  /** Processes that those of one tree may start in a minute. */
  readonly spawnsPerMinute: number;
  /** Slots of resources, by name, that are kept free for a class and those above it. */
  readonly reserved: { readonly [resource: string]: Resource["reserved"] };
  /** How long a workspace with nothing in it that is nowhere else outlives its process; for ever if undefined. */
  readonly keepWorkspacesMs?: number | undefined;
};

export type KernelOptions = {
  readonly limits: KernelLimits;
  readonly version: string;
  readonly node: string;
  readonly folder: string;
  /** Told of what no caller waits for: a store that failed, a process that could not be run. */
  readonly onTrouble: (message: string) => void;
};

export type Services = {
  readonly ports: KernelPorts;
  readonly options: KernelOptions;
  readonly table: ProcessTable;
  readonly commits: Commits;
  readonly bus: Bus;
  readonly contexts: Contexts;
  readonly trees: Trees;
  readonly locks: LockRecovery;
  readonly schedules: Schedules;
  readonly removals: Removals;
  readonly runs: Runs;
};

/** The runs of programs, as the rest of the kernel sees them. */
export interface Runs {
  /** Programs in memory, and ready ones that wait for room. */
  readonly size: number;
  readonly queued: number;
  get(pid: ProcessId): Run | undefined;
  /** The process may have something to do: told to look again if it runs; run, when there is room, if it is ready or its time has come. */
  wake(pid: ProcessId): void;
  /** Passes on an event that was appended from outside, and wakes the process. */
  notice(pid: ProcessId, notice: Notice): void;
  /** A time has been set at which a process must be woken. */
  alarm(atMs: number): void;
  /** Ends a run at once. */
  drop(pid: ProcessId): void;
  /** Lets what is under way end, and takes the run out of memory. */
  freeze(pid: ProcessId): void;
  /** Stops a process whose program is not the one that wrote its journal. */
  diverged(run: Run, error: OsError): void;
  /** Memory is no longer the truth: everything in it is dropped, and read back once the store works. */
  halt(error: unknown): void;
  /** A fault of the kernel's own, or of the store, met on behalf of a run. */
  failed(run: Run, error: unknown): void;
}
