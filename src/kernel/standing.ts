// Where processes stand among the others, changed by an operator.
import { OsError } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import { type Class, rankOf } from "../abi/scheduling.ts";
import type { Args } from "../abi/syscalls.ts";
import { gather } from "./lifecycle.ts";
import { assertAlive } from "./operations.ts";
import { entryOf, type Prepared, type Process } from "./process.ts";
import type { Services } from "./services.ts";

/**
 * Changes a process's class, and the share of its tree. No descendant stays above it, and all of a tree have its share.
 * Answers with those that changed. Rejects with `process_gone`, `not_found`, `invalid_argument`.
 */
export function nice(services: Services, args: Args<"process.nice">, by: Actor): Promise<ProcessId[]> {
  return services.table.with(args.pid, async (process) => {
    assertAlive(process);
    if (args.weight !== undefined && process.record.parent !== null) throw notRoot(process);
    const family: Process[] = [process];
    try {
      await gather(services, process, family);
      assertAlive(process);
      return await change(services, family, { ...args, by });
    } finally {
      for (const member of family.slice(1)) services.table.unpin(member);
    }
  });
}

const notRoot = ({ pid, root }: Process): OsError =>
  new OsError(
    "invalid_argument",
    `The weight is that of a whole tree: give it to the root, ${root}, and not to process ${pid} in it.`,
    { data: { issues: ["weight: is the root's"] } },
  );

type Change = { readonly class?: Class | undefined; readonly weight?: number | undefined; readonly by: Actor };

async function change(
  services: Services,
  family: readonly Process[],
  { class: name, weight, by }: Change,
): Promise<ProcessId[]> {
  const prepared: Prepared[] = [];
  const changed: Process[] = [];
  for (const [at, member] of family.entries()) {
    const { standing } = member;
    const above = name !== undefined && rankOf(standing.class) < rankOf(name);
    const next = {
      class: name !== undefined && (at === 0 || above) ? name : standing.class,
      weight: weight ?? standing.weight,
    };
    if (member.record.state === "exited" || (next.class === standing.class && next.weight === standing.weight))
      continue;
    prepared.push(member.prepare([entryOf({ kind: "process.reclassed", ...next, by })]));
    changed.push(member);
  }
  if (prepared.length > 0) await services.commits.commit(...prepared);
  restand(
    services,
    changed.map(({ standing }) => standing),
  );
  return changed.map(({ pid }) => pid);
}

function restand({ ports }: Services, moved: readonly Process["standing"][]): void {
  const { turns, locks, ready } = ports.scheduler;
  turns.restand(...moved);
  for (const standing of moved) {
    locks.restand(standing);
    if (ready.delete(standing.pid)) ready.add(standing);
  }
}
