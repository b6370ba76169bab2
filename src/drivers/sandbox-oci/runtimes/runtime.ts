// What differs between the programs that start containers: one file for each kind implements this (runc.ts, podman.ts, docker.ts).
// Everything else (gate, streams, limits, end) is the same for all.
import type { Group } from "../../../linux/cgroup.ts";
import type { Plan, World } from "../contents/plan.ts";
import type { Carrier } from "../inside/first-process.ts";

export const RUNTIMES = ["runc", "crun", "podman", "docker"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

/** One container, as a runtime is handed it. */
export type Order = {
  /** Unlike that of any other container of this machine. */
  readonly id: string;
  /** Its own, made; it goes with the container. */
  readonly folder: string;
  readonly plan: Plan;
  readonly group: Group;
};

/** This run of Reeve: what the names of its containers begin with, and a folder that goes with it. */
export type Run = { readonly name: string; readonly folder: string };

/** How a container is run to its end, in the foreground. */
export type Command = {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** Control groups for a runtime that knows nothing of them to enter. */
  readonly groups: readonly string[];
};

export interface Runtime {
  readonly kind: RuntimeName;
  /** As it tells it. */
  readonly version: string;
  readonly carrier: Carrier;
  /**
   * How many users of the machine each container has that nobody else has: for its root and for its job, or for its job alone, which is
   * then called the same inside. With none the job is Reeve's own user.
   */
  readonly ownUsers: 0 | 1 | 2;
  /** What of the runtime is counted with the job: while it starts, and for as long as it runs. Nothing, where the first process inside is put into its group at the gate. */
  readonly counted: {
    readonly start: { readonly processes: number; readonly bytes: number };
    readonly processes: number;
  };
  /**
   * Whether it may be killed whenever it is to end: nobody but itself knows of the container. An engine keeps books, and is given the time
   * to strike a container out.
   */
  readonly isKilled: boolean;
  /** Whether a container has control groups of its own beside Reeve's, which keep it from devices. Those with its limits are Reeve's in any case. */
  readonly hasGroups: boolean;
  /** All that tells one way of using it from another; the fingerprint of a verdict covers it. */
  readonly facts: (world: World, sample: Plan) => object;

  /**
   * Once, before the first container: lays out what all share, and removes what runs that are over have left. Rejects with
   * `isolation_unavailable` if that cannot be had.
   */
  ready(world: World, run: Run): Promise<void>;
  /** Lays out what one container needs. */
  commandOf(order: Order): Command;
  /** For a container that was not started, by what was said of it: whether that came from something of all containers that was lost, and is there again. */
  restored(said: string): Promise<boolean>;
  /** On the machine: the first process of a container that stands at its gate; undefined if it is over already. */
  firstOf(order: Order): Promise<number | undefined>;
  /** After its end: nothing of the container is in any book. `inOrder`: it ended by itself, with the word of its job or of its gate. */
  forget(order: Order, inOrder: boolean): Promise<void>;
  /** After the last container. */
  close(): Promise<void>;
}

/** Where runtimes find their helpers. */
export const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
