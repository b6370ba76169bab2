// The kernel, joined: the parts of this folder on the ports that it is given.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { System } from "../ports/system.ts";
import { Bus } from "./journal/bus.ts";
import { Commits } from "./commits.ts";
import { Contexts } from "./journal/contexts.ts";
import { operate } from "./control.ts";
import { LockRecovery } from "./lock-recovery.ts";
import { follow } from "./journal/reader.ts";
import { Retention } from "./retention.ts";
import { Runner } from "./runner.ts";
import type { KernelOptions, KernelPorts, Services } from "./services.ts";
import { Schedules } from "./schedules.ts";
import { ProcessTable } from "./table.ts";
import { Trees } from "./trees.ts";
import { Removals } from "./workspace-removal.ts";
import { noteRemoval } from "./workspaces.ts";

export type Kernel = System & {
  /** Lets every process go on that has something to do. Without it the system answers questions and runs nothing. */
  run(): Promise<void>;
  /** Programs in memory, and ready ones that wait for room. */
  load(): { readonly inMemory: number; readonly queued: number };
  /** The turn of a process that has left memory is coming: it is brought back. */
  summon(pid: ProcessId): void;
  /** Takes every program out of memory. The store is its opener's to close. */
  close(): void;
};

export function createKernel(ports: KernelPorts, options: KernelOptions): Kernel {
  const bus = new Bus();
  const runs = new Runner();
  const commits = new Commits({ store: ports.store, bus, onFailure: (error) => runs.halt(error) });
  const table = new ProcessTable({ store: ports.store, random: ports.random, nowMs: () => ports.clock.nowMs() });
  const { store, scheduler } = ports;
  const schedules = new Schedules({
    store,
    clock: ports.clock,
    calendar: ports.calendar,
    agents: ports.agents,
    spawn: (args, by) => operate(services, { name: "process.spawn", args, by }),
    onTrouble: options.onTrouble,
  });
  const services: Services = {
    ports,
    options,
    table,
    commits,
    bus,
    runs,
    contexts: new Contexts(store),
    trees: new Trees({ store, budgets: scheduler.budgets }),
    schedules,
    removals: new Removals({
      store,
      workspaces: ports.workspaces,
      note: (removal) => noteRemoval(services, removal),
    }),
    locks: new LockRecovery({ store, table, locks: scheduler.locks }),
  };
  runs.join(services);
  const retention = new Retention(services);
  return {
    operate: (name, args, by) => operate(services, { name, args, by }),
    async *follow(pid, from, signal) {
      if ((await ports.store.process(pid)) === undefined)
        throw new OsError("not_found", `There is no process ${pid}. \`reeve ps --all\` lists those that there are.`, {
          data: { what: "process", id: pid },
        });
      yield* follow({ store: ports.store, bus, pid, from, signal });
    },
    run: async () => {
      await runs.start();
      await schedules.start();
      await retention.start();
    },
    load: () => ({ inMemory: runs.size, queued: runs.queued }),
    summon: (pid) => runs.wake(pid),
    close: () => {
      retention.close();
      schedules.close();
      runs.close();
    },
  };
}
