// The removal of workspaces, by an operator or by age (retention.ts).
//
// Invariants:
//   E1. No workspace goes of a process that is not over.
//   E2. Nothing that is nowhere else goes but by the word of an operator (`discard`).
//   E3. A removal stands once in the journal of its process, under the name of who did it, also when it was cut off: a workspace is set
//       aside, then the event is written, then it is erased; what is found set aside is finished in that order.
import { OsError } from "../abi/errors.ts";
import type { Actor, EventHeader } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Differences } from "../abi/reports.ts";
import type { Args } from "../abi/syscalls.ts";
import type { Store } from "../ports/store.ts";
import type { Removal, Workspaces } from "../ports/workspace.ts";

const PAGE = 500;

type Parts = {
  readonly store: Store;
  readonly workspaces: Workspaces;
  /** Writes it into the journal of its process. */
  readonly note: (removal: Removal) => Promise<void>;
};

export class Removals {
  readonly #parts: Parts;
  /** Not to be taken for cut off. */
  readonly #underWay = new Set<ProcessId>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Rejects with `not_found`, `conflict`. */
  async remove({ pid, discard }: Args<"workspace.remove">, by: Actor): Promise<Differences> {
    const { store, workspaces } = this.#parts;
    const record = await store.process(pid);
    if (record !== undefined && record.state !== "exited") throw goesOn(pid);
    return this.#alone(pid, async () => {
      const lost = await orRemoved(this.#parts, pid, () => workspaces.setAside(pid, { discard, by }));
      await this.#end({ pid, by, lost });
      return lost;
    });
  }

  /** Ends what a crash has cut off. */
  async finish(): Promise<void> {
    const { store, workspaces } = this.#parts;
    for (const removal of await workspaces.removals()) {
      if (this.#underWay.has(removal.pid)) continue;
      await this.#alone(removal.pid, async () => {
        if (await wasRemoved(store, removal.pid)) await workspaces.erase(removal.pid);
        else await this.#end(removal);
      });
    }
  }

  async #end(removal: Removal): Promise<void> {
    const { store, workspaces, note } = this.#parts;
    // Of a process that the store does not know there is no journal to write into.
    if ((await store.process(removal.pid)) !== undefined) await note(removal);
    await workspaces.erase(removal.pid);
  }

  async #alone<T>(pid: ProcessId, work: () => Promise<T>): Promise<T> {
    if (this.#underWay.has(pid))
      throw new OsError("conflict", `The workspace of ${pid} is being removed already.`, {
        data: { what: "workspace", id: pid },
      });
    this.#underWay.add(pid);
    try {
      return await work();
    } finally {
      this.#underWay.delete(pid);
    }
  }
}

const goesOn = (pid: ProcessId): OsError =>
  new OsError(
    "conflict",
    `Process ${pid} is not over, and may go on in its workspace. Kill it first (\`reeve kill ${pid}\`).`,
    { data: { what: "process", id: pid } },
  );

/** Does the work on a workspace. If there is none, only the journal knows whether there was. */
export async function orRemoved<T>(
  { store, workspaces }: Pick<Parts, "store" | "workspaces">,
  pid: ProcessId,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const missing = OsError.is(error, "not_found") && error.data["what"] === "workspace";
    const goes = async (): Promise<boolean> => (await workspaces.removals()).some((each) => each.pid === pid);
    if (!missing || !((await wasRemoved(store, pid)) || (await goes()))) throw error;
    throw new OsError(
      "not_found",
      `The workspace of ${pid} was removed, and with it all that was kept of it. \`reeve journal ${pid}\` says when, and by whom.`,
      { data: { what: "workspace", id: pid } },
    );
  }
}

/** Whether the journal says that the workspace of a process was removed. */
async function wasRemoved(store: Pick<Store, "events">, pid: ProcessId): Promise<boolean> {
  for (let from = 0; ; from += PAGE) {
    const events = await store.events(pid, from, PAGE);
    const headers = events.map(({ header }) => JSON.parse(header) as EventHeader);
    if (headers.some((header) => header.kind === "workspace.changed" && header.what === "remove")) return true;
    if (events.length < PAGE) return false;
  }
}
