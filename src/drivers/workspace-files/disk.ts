// Room that the system bounds: a file system of its own for each workspace, in a file, mounted while it is used.
//
// Only root may mount. What root's Reeve has mounted ends with it: a shell that outlives it unmounts what is marked, and the
// next Reeve does it again before anything else.
//
// Invariants:
//   D1. Before a mount is made its mark is on disk, and the mark goes after the mount: what is mounted is marked.
//   D2. A file system that was not put away in order is checked before it is used.
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { OsError } from "../../abi/errors.ts";
import { Survivor } from "../../linux/survivor.ts";
import { codeOf } from "./beneath.ts";

const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const TOOL_MS_MAX = 60_000;
const TOOLS = ["mkfs.ext4", "mount", "umount", "e2fsck", "cp"] as const;
/** One file for so much room: as many as there can be, since each takes a block. Bytes. */
const BYTES_PER_FILE = 4096;
/** What the smallest file system takes for itself. Bytes. */
const IMAGE_BYTES_MIN = 1024 * 1024;
const MARKS = ".mounted";
const TEMPLATES = ".templates";

function run(program: (typeof TOOLS)[number] | "sync", args: readonly string[]): void {
  try {
    execFileSync(program, args, {
      env: { PATH, LC_ALL: "C" },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: TOOL_MS_MAX,
    });
  } catch (error) {
    const { stderr } = error as { readonly stderr?: Buffer };
    const said = (stderr?.toString("utf8").trim() ?? "") || (error as Error).message;
    throw new OsError("unsupported", `A workspace could not be prepared: ${program} said "${said}".`, { cause: error });
  }
}

/** Puts the whole file system below a folder to disk. */
export const syncFileSystem = (folder: string): void => run("sync", ["-f", folder]);

/** Why the system cannot bound the size of workspaces here; undefined if it can. */
export function lackOfQuota(): string | undefined {
  if (process.getuid?.() !== 0) return "Reeve does not run as root, and only root may mount";
  const missing = TOOLS.filter((tool) => !PATH.split(":").some((folder) => fs.existsSync(join(folder, tool))));
  if (missing.length > 0) return `${missing.join(", ")} is not installed (packages e2fsprogs and mount)`;
  return fs.existsSync("/dev/loop-control") ? undefined : "there are no loop devices";
}

/** Whether a Reeve that did not end in order has left something mounted below this folder. */
export const hasLeftOvers = (folder: string): boolean => {
  const marks = join(folder, MARKS);
  return fs.existsSync(marks) && fs.readdirSync(marks).length > 0;
};

/** Whether the system still uses the image, such as for a sandbox that is just ending. */
const isAttached = (image: string): boolean =>
  fs
    .readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .some((name) => {
      const backing = join("/sys/block", name, "loop/backing_file");
      return fs.existsSync(backing) && fs.readFileSync(backing, "utf8").trim() === fs.realpathSync(image);
    });

/** What a survivor does: it unmounts what is marked as its Reeve's. Where no shell can be started, the next Reeve does. */
const SCRIPT = `
for mark in "$1/${MARKS}"/p_*; do
  read -r owner < "$mark" || continue
  [ "$owner" = "$2" ] || continue
  umount -l "$1/$(basename "$mark")/ws" && rm -f "$mark"
done
`;

/** The disks of all workspaces of one data folder. */
export class Disks {
  readonly #folder: string;
  /** Those that the machine went down with: their marks stay until they have been checked. */
  readonly #unclean = new Set<string>();
  #survivor: Survivor | undefined;

  /** `folder`: where workspaces are. Unmounts what an earlier Reeve has left. */
  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(join(folder, MARKS), { recursive: true, mode: 0o700 });
    for (const pid of fs.readdirSync(join(folder, MARKS))) this.#unmountLeft(pid);
  }

  #mark = (pid: string): string => join(this.#folder, MARKS, pid);
  #image = (pid: string): string => join(this.#folder, pid, "disk.img");
  #mountPoint = (pid: string): string => join(this.#folder, pid, "ws");

  #unmountLeft(pid: string): void {
    const point = this.#mountPoint(pid);
    const image = this.#image(pid);
    if (this.isMounted(pid)) this.#detach(pid, point);
    // Neither mounted nor put away: the machine went down with it.
    else if (fs.existsSync(image) && !isAttached(image)) {
      this.#unclean.add(pid);
      return;
    }
    fs.rmSync(this.#mark(pid), { force: true });
  }

  /** The watchdog of an earlier Reeve may be at it as well. */
  #detach(pid: string, point: string): void {
    try {
      run("umount", ["-l", point]);
    } catch (error) {
      if (this.isMounted(pid)) throw error;
    }
  }

  /** A mount point is on another device than the folder that it is in. */
  isMounted(pid: string): boolean {
    const point = fs.statSync(this.#mountPoint(pid), { throwIfNoEntry: false });
    return point !== undefined && point.dev !== fs.statSync(join(this.#folder, pid)).dev;
  }

  /** An empty file system of exactly so many bytes, which are taken as they are used. */
  make(pid: string, bytes: number): void {
    const templates = join(this.#folder, TEMPLATES);
    fs.mkdirSync(templates, { recursive: true, mode: 0o700 });
    const size = Math.max(IMAGE_BYTES_MIN, bytes - (bytes % 4096));
    const template = join(templates, `${size}.img`);
    if (!fs.existsSync(template)) {
      const made = `${template}.new`;
      fs.rmSync(made, { force: true });
      fs.closeSync(fs.openSync(made, "wx", 0o600));
      fs.truncateSync(made, size);
      // No journal of its own: what counts is kept outside of it, and comes back from there.
      const features = "^has_journal,^resize_inode";
      run("mkfs.ext4", [
        "-q",
        "-F",
        "-m",
        "0",
        "-b",
        "4096",
        "-i",
        `${BYTES_PER_FILE}`,
        "-O",
        features,
        "-e",
        "remount-ro",
        "-E",
        "lazy_itable_init=0,nodiscard",
        made,
      ]);
      fs.renameSync(made, template);
    }
    this.#unclean.delete(pid);
    run("cp", ["--sparse=always", "--reflink=auto", template, this.#image(pid)]);
  }

  mount(pid: string): void {
    if (this.isMounted(pid)) return;
    const point = this.#mountPoint(pid);
    fs.mkdirSync(point, { recursive: true, mode: 0o700 });
    if (this.#unclean.has(pid)) repair(this.#image(pid));
    this.#unclean.delete(pid);
    this.#watch();
    fs.writeFileSync(this.#mark(pid), `${process.pid}\n`);
    try {
      run("mount", ["-o", "loop,nosuid,nodev,noatime", this.#image(pid), point]);
    } catch (error) {
      fs.rmSync(this.#mark(pid));
      throw error;
    }
    dropLostAndFound(point);
  }

  /** `lazy`: also while something uses it; it then goes with the last use. */
  unmount(pid: string, { lazy }: { readonly lazy: boolean }): void {
    if (this.isMounted(pid)) run("umount", lazy ? ["-l", this.#mountPoint(pid)] : [this.#mountPoint(pid)]);
    if (!this.#unclean.has(pid)) fs.rmSync(this.#mark(pid), { force: true });
  }

  /** It is removed, in whatever state it was. */
  forget(pid: string): void {
    this.#unclean.delete(pid);
    fs.rmSync(this.#mark(pid), { force: true });
  }

  #watch(): void {
    this.#survivor ??= new Survivor({
      ...{ name: "reeve-unmount", script: SCRIPT, env: { PATH } },
      args: [this.#folder, `${process.pid}`],
    });
  }

  /** Unmounts all of them. */
  async close(): Promise<void> {
    for (const pid of fs.readdirSync(join(this.#folder, MARKS))) this.unmount(pid, { lazy: true });
    await this.#survivor?.close();
  }
}

/** The folder that making or mending a disk leaves there: empty, and not of the user whose the workspace is, who may have one of that name. */
function dropLostAndFound(point: string): void {
  const place = join(point, "lost+found");
  const stats = fs.lstatSync(place, { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true || stats.uid !== 0) return;
  if (fs.readdirSync(place).length === 0) fs.rmdirSync(place);
}

/** e2fsck answers 1 for what it has mended. */
function repair(image: string): void {
  try {
    execFileSync("e2fsck", ["-f", "-y", image], { env: { PATH }, stdio: "ignore", timeout: TOOL_MS_MAX });
  } catch (error) {
    const { status } = error as { readonly status?: number };
    if (status === 1) return;
    const why = codeOf(error) ?? `status ${String(status)}`;
    throw new OsError("store_failed", `The workspace in ${image} is damaged, and e2fsck could not mend it (${why}).`, {
      data: { reason: "corrupt", folder: image },
      cause: error,
    });
  }
}
