// Rows of processes, read from the store in pages: all that fit a query, and the trees among them.
import type { ProcessId } from "../abi/ids.ts";
import type { ProcessQuery, ProcessRecord, Store } from "../ports/store.ts";

const PAGE = 1000;
/** Processes whose children are asked for at once. */
const TOGETHER = 64;

/** Those that may still do something. */
export const ALIVE = ["ready", "running", "waiting", "stopped"] as const;

type Query = Omit<ProcessQuery, "limit" | "before" | "order">;

/** Newest first. What comes to be meanwhile is not among them, and none is twice: pages go on from the last one's place. */
export async function* rowsOf(store: Pick<Store, "processes">, query: Query): AsyncGenerator<ProcessRecord> {
  for (let before: ProcessId | undefined; ;) {
    const page = await store.processes({ ...query, limit: PAGE, ...(before === undefined ? {} : { before }) });
    yield* page;
    before = page.at(-1)?.pid;
    if (page.length < PAGE) return;
  }
}

/** A whole tree, a parent before its children. */
export async function treeOf(
  store: Pick<Store, "processes">,
  root: ProcessId,
  states?: Query["states"],
): Promise<ProcessRecord[]> {
  const rows = await Array.fromAsync(rowsOf(store, { root, ...(states && { states }) }));
  return rows.reverse();
}

/** All below a process, a parent before its children. Of a tree no more is read than what is below it. */
export async function descendantsOf(
  store: Pick<Store, "processes">,
  { pid, root }: { readonly pid: ProcessId; readonly root: ProcessId },
  states?: Query["states"],
): Promise<ProcessRecord[]> {
  // Most processes have no child, and the rest of their tree is not theirs.
  const [any] = await store.processes({ parent: pid, limit: 1 });
  if (any === undefined) return [];
  if (pid === root) return (await treeOf(store, root, states)).filter((row) => row.pid !== root);
  const found: ProcessRecord[] = [];
  for (let level: readonly ProcessId[] = [pid]; level.length > 0;) {
    const below: ProcessRecord[] = [];
    for (let at = 0; at < level.length; at += TOGETHER) {
      const some = level.slice(at, at + TOGETHER);
      const children = some.map((parent) => Array.fromAsync(rowsOf(store, { parent, ...(states && { states }) })));
      below.push(...(await Promise.all(children)).flat());
    }
    found.push(...below);
    level = below.map((row) => row.pid);
  }
  return found;
}
