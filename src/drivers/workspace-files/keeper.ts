// All workspaces of a data folder, on the thread of worker.ts: made, mounted, found again, put away.
import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { OsError } from "../../abi/errors.ts";
import type { Differences } from "../../abi/reports.ts";
import type { CommitOptions, WorkspaceState } from "../../ports/workspace.ts";
import { codeOf, openRoot, ownerOf, removeAt, type Stats, statsOf, using } from "./beneath.ts";
import { Disks, lackOfQuota, syncFileSystem } from "./disk.ts";
import { Objects } from "./objects.ts";
import { type Record, readRecord, readSeen, removeSeen, writeRecord, writeSeen } from "./record.ts";
import { erase, setAside } from "./removal.ts";
import { restore } from "./restore.ts";
import { pidsIn, roomOf } from "./room.ts";
import { scan } from "./scan.ts";
import { boundsOf, Shelf } from "./shelf.ts";
import { EMPTY_TEXT } from "./tree.ts";

export type KeeperOptions = {
  /** `workspaces` in the data folder; made if it is not there. */
  readonly folder: string;
  /** Where `from` begins: the folder of the configuration. */
  readonly projectFolder: string;
  /** The data folder: never part of a copy. */
  readonly dataFolder: string;
  /** User ids for workspaces, taken where Reeve runs as root. */
  readonly uids: { readonly from: number; readonly to: number };
};

export type Place = { readonly folder: string; readonly uid: number | null; readonly quota: "kernel" | "none" };
export type Making = { readonly from: string | null; readonly diskBytes: number };

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #disks: Disks;
  readonly #shelves = new Map<string, Shelf>();

  constructor(options: KeeperOptions) {
    this.#options = options;
    fs.mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#disks = new Disks(options.folder);
  }

  #folderOf = (pid: string): string => join(this.#options.folder, pid);

  open(pid: string, making: Making): Place {
    if (!this.#shelves.has(pid) && readRecord(this.#folderOf(pid)) === undefined) this.#make(pid, making);
    const { live, record } = this.shelf(pid);
    return { folder: live, uid: record.uid, quota: record.quota };
  }

  /** Ready to be used. Rejects with `not_found` where there is none. */
  shelf(pid: string): Shelf {
    const known = this.#shelves.get(pid);
    if (known !== undefined) return known;
    const folder = this.#folderOf(pid);
    const record = readRecord(folder);
    if (record === undefined) throw noWorkspace(pid);
    if (record.quota === "kernel") this.#mount(pid);
    // From here on it may change.
    removeSeen(folder);
    const shelf = new Shelf(folder, record);
    this.#shelves.set(pid, shelf);
    return shelf;
  }

  #mount(pid: string): void {
    const lack = lackOfQuota();
    if (lack !== undefined)
      throw new OsError(
        "unsupported",
        `The workspace of ${pid} lies on a disk of its own, which cannot be mounted: ${lack}.`,
      );
    this.#disks.mount(pid);
  }

  #make(pid: string, { from, diskBytes }: Making): void {
    const folder = this.#folderOf(pid);
    // What a crash has left of an earlier attempt.
    this.#clear(pid);
    fs.mkdirSync(join(folder, "ws"), { recursive: true, mode: 0o700 });
    try {
      const quota = lackOfQuota() === undefined ? "kernel" : "none";
      if (quota === "kernel") {
        this.#disks.make(pid, diskBytes);
        this.#disks.mount(pid);
      }
      const uid = process.getuid?.() === 0 ? uidOf(pid, this.#options.uids) : null;
      const live = join(folder, "ws");
      fs.chmodSync(live, 0o700);
      if (uid !== null) fs.chownSync(live, uid, uid);
      const objects = new Objects(join(folder, "objects"));
      const source = from === null ? null : this.#sourceOf(from);
      const { tree, leftOut } = this.#fill({ live, source, diskBytes, objects });
      objects.sync(syncFileSystem);
      const record: Record = { version: 1, from: source, diskBytes, uid, quota, base: tree, leftOut };
      writeRecord(folder, record);
    } catch (error) {
      this.#clear(pid);
      throw error;
    }
  }

  #fill({
    live,
    source,
    diskBytes,
    objects,
  }: {
    live: string;
    source: string | null;
    diskBytes: number;
    objects: Objects;
  }) {
    const empty = objects.put(EMPTY_TEXT);
    if (source === null) return { tree: empty, leftOut: [] };
    const data = fs.statSync(this.#options.dataFolder, { bigint: true });
    const isData = ({ dev, ino }: Stats): string | undefined =>
      dev === data.dev && ino === data.ino ? "it is Reeve's own data folder" : undefined;
    const kept = using(openRoot(source), (root) => {
      if (isData(statsOf(root)) !== undefined) throw notCopied(source, "it is Reeve's own data folder");
      // Whoever named the folder answers for its hard links.
      const options = { objects, bounds: boundsOf(diskBytes), sealed: true, exclude: isData };
      return scan(root, options);
    });
    try {
      using(openRoot(live), (root) => restore(root, { now: empty, to: kept.tree }, { objects, owner: ownerOf(root) }));
    } catch (error) {
      if (codeOf(error) !== "ENOSPC") throw error;
      throw new OsError(
        "limit_exceeded",
        `A copy of ${source} does not fit into a workspace of ${diskBytes} bytes. Allow more (limits.diskBytes of the agent, within sandbox.limits), or name a smaller folder.`,
        { data: { limit: "diskBytes", max: diskBytes }, cause: error },
      );
    }
    return kept;
  }

  #sourceOf(from: string): string {
    const named = resolve(this.#options.projectFolder, from);
    try {
      const found = fs.realpathSync(named);
      if (found === "/") throw notCopied(named, "it is the whole machine");
      if (!fs.statSync(found).isDirectory()) throw notCopied(named, "it is no folder");
      return found;
    } catch (error) {
      if (OsError.is(error)) throw error;
      throw notCopied(named, codeOf(error) === "ENOENT" ? "it is not there" : (error as Error).message);
    }
  }

  commit(pid: string, { except = [], to }: CommitOptions): Differences {
    const dataFolder = fs.realpathSync(this.#options.dataFolder);
    return this.shelf(pid).commit(except, { dataFolder, to: to === undefined ? undefined : this.#targetOf(to) });
  }

  /** Whoever may commit may not thereby write anywhere on this machine. */
  #targetOf(to: string): string {
    const project = fs.realpathSync(this.#options.projectFolder);
    const named = resolve(project, to);
    if (!fs.existsSync(named)) throw notWritten(named, "it is not there");
    const found = fs.realpathSync(named);
    if (!isWithin(found, project)) throw notWritten(named, `it is not within ${project}`);
    if (isWithin(found, fs.realpathSync(this.#options.dataFolder)))
      throw notWritten(named, "it is of Reeve's own data folder");
    if (!fs.statSync(found).isDirectory()) throw notWritten(named, "it is no folder");
    return found;
  }

  /** Unmounts it, if nothing on this machine uses it; answers whether it is put away. */
  putAway(pid: string): boolean {
    this.#shelves.delete(pid);
    try {
      this.#disks.unmount(pid, { lazy: false });
      return true;
    } catch (error) {
      // Somebody looks into it: later, then.
      if (OsError.is(error, "unsupported")) return false;
      throw error;
    }
  }

  /** Pids of all that there are. */
  all(): readonly string[] {
    return pidsIn(this.#options.folder);
  }

  /** What it takes, without looking into it. */
  room(pid: string): number {
    return readSeen(this.#folderOf(pid))?.sizeBytes ?? roomOf(this.#folderOf(pid));
  }

  /** Looks into it, unless nobody has used it since somebody did. `resting`: nobody uses it now, and it is put away again. */
  look(pid: string, resting: boolean): WorkspaceState {
    const folder = this.#folderOf(pid);
    if (!fs.existsSync(folder)) throw noWorkspace(pid);
    const record = readRecord(folder);
    if (record === undefined) return { from: null, sizeBytes: roomOf(folder), changed: 0 };
    const { from } = record;
    const known = readSeen(folder);
    if (known !== undefined) return { from, ...known };
    const changed = countOf(this.shelf(pid).unsaved());
    const seen = { changed, sizeBytes: roomOf(folder) };
    if (resting && this.putAway(pid)) writeSeen(folder, seen);
    return { from, ...seen };
  }

  /** Takes it out of use for good; answers with what was nowhere else. `discard`: also if there is such. */
  setAside(pid: string, { discard, by }: { readonly discard: boolean; readonly by: string }): Differences {
    const folder = this.#folderOf(pid);
    if (!fs.existsSync(folder)) throw noWorkspace(pid);
    const lost = readRecord(folder) === undefined ? NOTHING : this.#lostWith(pid, discard);
    if (!discard && countOf(lost) > 0) throw unsaved(pid, lost);
    if (!this.putAway(pid)) throw inUse(pid);
    this.#disks.forget(pid);
    setAside(this.#options.folder, pid, { by, lost });
    return lost;
  }

  /** One that is damaged can still be removed, by who says that he needs nothing of it. */
  #lostWith(pid: string, discard: boolean): Differences {
    try {
      return this.shelf(pid).unsaved();
    } catch (error) {
      if (!discard) throw unseen(pid, error);
      return { ...NOTHING, leftOut: [{ path: ".", why: "it could not be looked into" }] };
    }
  }

  erase(pid: string): void {
    erase(this.#options.folder, pid);
  }

  #clear(pid: string): void {
    this.#disks.unmount(pid, { lazy: true });
    using(openRoot(this.#options.folder), (root) => removeAt(root, pid));
  }

  close(): Promise<void> {
    this.#shelves.clear();
    return this.#disks.close();
  }
}

const NOTHING: Differences = { changes: [], more: 0, leftOut: [] };

/** What stands in the workspace and nowhere else. */
const countOf = ({ changes, more, leftOut }: Differences): number => changes.length + more + leftOut.length;

const noWorkspace = (pid: string): OsError =>
  new OsError("not_found", `Process ${pid} has no workspace: none of its calls has needed one.`, {
    data: { what: "workspace", id: pid },
  });

const PATHS_SHOWN = 5;

function unsaved(pid: string, lost: Differences): OsError {
  const all = [...lost.changes, ...lost.leftOut].map(({ path }) => path);
  const count = countOf(lost);
  const shown = all.slice(0, PATHS_SHOWN).join(", ") + (count > PATHS_SHOWN ? ` and ${count - PATHS_SHOWN} more` : "");
  return new OsError(
    "conflict",
    `The workspace of ${pid} holds what is nowhere else: ${shown}. It was not removed. Look at it (\`reeve diff ${pid}\`), write it back (\`reeve commit ${pid}\`; with \`--to FOLDER\` if it began empty), or give it up (\`reeve workspace remove --discard ${pid}\`).`,
    { data: { what: "workspace", id: pid, paths: all.slice(0, PATHS_TOLD), count } },
  );
}

const PATHS_TOLD = 100;

const unseen = (pid: string, error: unknown): unknown =>
  OsError.is(error)
    ? new OsError(
        error.code,
        `${error.message} So it cannot be told what would be lost; \`reeve workspace remove --discard ${pid}\` removes it all the same.`,
        { data: error.data, cause: error },
      )
    : error;

const inUse = (pid: string): OsError =>
  new OsError(
    "conflict",
    `The workspace of ${pid} is in use: a program of it is just ending, or somebody looks into its folder. Try again when nobody does.`,
    { data: { what: "workspace", id: pid } },
  );

const notCopied = (folder: string, why: string): OsError =>
  new OsError(
    "invalid_argument",
    `${folder} cannot be the beginning of a workspace: ${why}. Mend workspace.from of the agent.`,
    {
      data: { issues: [`workspace.from: ${why}`] },
    },
  );

const notWritten = (folder: string, why: string): OsError =>
  new OsError(
    "invalid_argument",
    `The workspace cannot be written to ${folder}: ${why}. Name a folder of the project.`,
    {
      data: { issues: [`to: ${why}`] },
    },
  );

const isWithin = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** The same process has the same id in every run. Two that share one meet nowhere: neither can reach the other's files. */
function uidOf(pid: string, { from, to }: KeeperOptions["uids"]): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < pid.length; at += 1) hash = Math.imul(hash ^ pid.charCodeAt(at), 0x01000193) >>> 0;
  return from + (hash % (to - from + 1));
}
