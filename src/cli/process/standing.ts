// How a process and its descendants stand: who is alive, what they ask of humans, and whether anything can still
// happen without somebody from outside.
import type { ProcessId } from "../../abi/ids.ts";
import type { ProcessRow, Wait } from "../../abi/process.ts";
import type { InboxItem } from "../../abi/requests.ts";
import type { Client } from "../../sdk/client.ts";

export type Standing = {
  readonly self: ProcessRow;
  /** What the living of the tree ask, oldest first. */
  readonly requests: readonly InboxItem[];
  /** What the tree waits for, if nothing in it can go on by itself; null if something can. */
  readonly blockedOn: "human" | "message" | "stopped" | null;
};

const ROWS = 1000;

export async function standingOf(client: Client, pid: ProcessId): Promise<Standing> {
  const { process: self } = await client.process.show({ pid });
  const alive = self.state === "exited" ? [] : await livingTree(client, self);
  const waits = alive.flatMap((row) => row.waits);
  const requests = waits.some(({ on }) => on === "human")
    ? await requestsOf(client, new Set(alive.map((row) => row.pid)))
    : [];
  return { self, requests, blockedOn: blockedOn(alive, requests) };
}

/** The process itself and those of its descendants that have not exited. */
export async function livingTree(client: Client, self: ProcessRow): Promise<readonly ProcessRow[]> {
  const { processes } = await client.process.list({ root: self.root, state: "alive", limit: ROWS });
  const members = new Set<ProcessId>([self.pid]);
  // Parents are older than their children, so one pass from the oldest finds all.
  for (const row of processes.toReversed()) if (row.parent !== null && members.has(row.parent)) members.add(row.pid);
  return processes.filter((row) => members.has(row.pid));
}

async function requestsOf(client: Client, pids: ReadonlySet<ProcessId>): Promise<readonly InboxItem[]> {
  const { requests } = await client.human.list({ limit: ROWS });
  return requests.filter(({ pid }) => pids.has(pid));
}

function blockedOn(alive: readonly ProcessRow[], requests: readonly InboxItem[]): Standing["blockedOn"] {
  const open = new Set(requests.map(({ request }) => request));
  const isBlocked = (wait: Wait): boolean => {
    if (wait.on === "human") return open.has(wait.request);
    if (wait.on === "message") return wait.untilMs === undefined;
    return wait.on === "process";
  };
  const stuck = alive.every(
    ({ state, waits }) => state === "stopped" || (state === "waiting" && waits.length > 0 && waits.every(isBlocked)),
  );
  if (alive.length === 0 || !stuck) return null;
  if (requests.length > 0) return "human";
  if (alive.some(({ state }) => state === "stopped")) return "stopped";
  return alive.some(({ waits }) => waits.some(({ on }) => on === "message")) ? "message" : null;
}
