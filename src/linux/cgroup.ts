// Control groups of sandboxes: below one group of this run of Reeve, a group for each sandbox in each hierarchy.
//
// All is done at once and without waiting: these are not files on a disk, and each takes some ten microseconds.
//
// Invariants:
//   G1. A group is made with its limits, before anything is in it.
//   G2. `remove` resolves when nothing that was in the group lives.
//   G3. The group of a run carries its process's id and start time, so that another run can tell whether it still lives.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import type { SandboxLimits } from "../abi/isolation.ts";
import { OsError } from "../abi/errors.ts";
import { isRootOfAll } from "./cgroup-controllers.ts";
import type { Duty, Hierarchy, Layout } from "./cgroup-layout.ts";

/** What a sandbox has used, and which limits it ran into. */
export type Usage = {
  readonly cpuMs: number | null;
  readonly memoryPeakBytes: number | null;
  /** Processes that were killed for want of memory. */
  readonly killedForMemory: number;
  /** Processes that were not made for being too many. */
  readonly forksRefused: number;
};

/** `ownProcesses`: those of the driver that are counted as well. */
export type GroupLimits = Pick<SandboxLimits, "cpus" | "memoryBytes" | "processes"> & { readonly ownProcesses: number };

/** Where runtimes of containers take it for granted. */
const MOUNT_POINT = "/sys/fs/cgroup";
const PERIOD_US = 100_000;
const QUOTA_US_MIN = 1_000;
const DEATH_TIMEOUT_MS = 30_000;
/** Attempts without a pause: most groups are empty by then. */
const EAGER_ATTEMPTS = 8;
const PAUSE_MS_MAX = 20;
/** More than any file that is read again and again holds. */
const GAUGE_BYTES = 4096;

type Place = { readonly hierarchy: Hierarchy; readonly folder: string };

const has = ({ hierarchy }: Place, duty: Duty): boolean => hierarchy.duties.has(duty);
const write = (folder: string, file: string, value: string | number): void =>
  writeFileSync(join(folder, file), String(value));

/** A number behind a word, as in `usage_usec 1234`. */
const field = (text: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);

export class Group {
  /** Those that are not removed yet. */
  #places: readonly Place[];
  /** Open files of what is counted; they are looked at again and again. */
  readonly #gauges = new Map<string, number>();

  constructor(places: readonly Place[], limits: GroupLimits) {
    this.#places = places;
    try {
      for (const { folder, hierarchy } of places) makeFolder(folder, hierarchy);
      this.limit(limits);
    } catch (error) {
      this.#removeFolders();
      throw error;
    }
  }

  /** The same in every hierarchy; unique below the group of the run. */
  get name(): string {
    return basename(this.#places[0]?.folder ?? "");
  }

  /**
   * As a runtime of containers finds it: in trees of version 1 from the group that the runtime is in, and where there is one of
   * version 2 beside them, the same from its root; where that is alone, from its root with a slash.
   */
  get path(): string {
    const [first] = this.#places;
    if (first === undefined) return "";
    if (this.#places.every(({ hierarchy }) => hierarchy.version === 2))
      return `/${relative(MOUNT_POINT, first.folder)}`;
    return relative(first.hierarchy.folder, first.folder);
  }

  /** Puts a process into the hierarchies in which it is not yet. */
  admit(pid: number): void {
    for (const { folder } of this.#places) if (!pidsIn(folder).includes(pid)) write(folder, "cgroup.procs", pid);
  }

  get folders(): readonly string[] {
    return this.#places.map(({ folder }) => folder);
  }

  /** Files that a process of one thread writes `0` into to join; open for writing, and the caller's to close. */
  openDoors(): number[] {
    return this.#places.map(({ folder, hierarchy }) =>
      openSync(join(folder, hierarchy.version === 1 ? "tasks" : "cgroup.procs"), "w"),
    );
  }

  /** For a group that has no limits yet, or by which none is lowered below what is in use. */
  limit({ cpus, memoryBytes, processes, ownProcesses }: GroupLimits): void {
    for (const place of this.#places) {
      const { folder, hierarchy } = place;
      if (has(place, "pids")) write(folder, "pids.max", processes + ownProcesses);
      if (has(place, "memory")) limitMemory(place, memoryBytes);
      if (!has(place, "cpu")) continue;
      const quotaUs = Math.max(QUOTA_US_MIN, Math.round(cpus * PERIOD_US));
      if (hierarchy.version === 2) write(folder, "cpu.max", `${quotaUs} ${PERIOD_US}`);
      // The period is the one that every group begins with.
      else write(folder, "cpu.cfs_quota_us", quotaUs);
    }
  }

  usage(): Usage {
    const accounted = this.#read("usage", "cpuacct.usage", "cpu.stat");
    const peak = this.#read("memory", "memory.max_usage_in_bytes", "memory.peak");
    return {
      cpuMs: accounted === undefined ? null : cpuMsOf(accounted),
      memoryPeakBytes: peak === undefined ? null : Number(peak),
      killedForMemory: field(this.#read("memory", "memory.oom_control", "memory.events") ?? "", "oom_kill"),
      forksRefused: field(this.#read("pids", "pids.events", "pids.events") ?? "", "max"),
    };
  }

  /** `first` of version 1 or `second` of version 2. Undefined where nothing has that duty, it is gone, or it cannot be opened now. */
  #read(duty: Duty, first: string, second: string): string | undefined {
    const place = this.#places.find((candidate) => has(candidate, duty));
    if (place === undefined) return undefined;
    const name = place.hierarchy.version === 2 ? second : first;
    const look = (): string => {
      const gauge = this.#gauges.get(name) ?? openSync(join(place.folder, name), "r");
      this.#gauges.set(name, gauge);
      return GAUGE.toString("latin1", 0, readSync(gauge, GAUGE, 0, GAUGE_BYTES, 0));
    };
    // A runtime that fails removes what it was given.
    return ifPossible(() => unlessGone(place.folder, look, undefined));
  }

  /** Whoever is in it dies at once. */
  kill(): void {
    const whole = this.#places.find((place) => has(place, "kill"));
    if (whole !== undefined) return killTree(whole.folder);
    // Nothing new comes to be while the others are ended one by one.
    for (const place of this.#places)
      if (has(place, "pids")) unlessGone(place.folder, () => write(place.folder, "pids.max", 0), undefined);
    for (const pid of this.pids()) killProcess(pid);
  }

  pids(): readonly number[] {
    // They are the same in all hierarchies; one that a runtime has removed is empty.
    const place = this.#places.find(({ folder }) => existsSync(folder));
    return place === undefined ? [] : pidsIn(place.folder);
  }

  /** Kills what is left and removes the group. Rejects with `internal` if something does not die for half a minute. */
  async remove(): Promise<void> {
    if (this.#removeFolders()) return;
    ifPossible(() => this.kill());
    let waitedMs = 0;
    for (let attempt = 0; !this.#removeFolders(); attempt += 1) {
      if (waitedMs > DEATH_TIMEOUT_MS)
        throw new OsError(
          "internal",
          `The processes ${this.pids().join(", ")} of a sandbox were killed and do not die.`,
        );
      const pauseMs = attempt < EAGER_ATTEMPTS ? 0 : Math.min(PAUSE_MS_MAX, attempt - EAGER_ATTEMPTS + 1);
      if (pauseMs === 0) await new Promise(setImmediate);
      else await after(pauseMs);
      waitedMs += pauseMs;
      // What was being forked while the others were killed.
      if (attempt % 4 === 3) ifPossible(() => this.kill());
    }
  }

  #removeFolders(): boolean {
    for (const gauge of this.#gauges.values()) closeSync(gauge);
    this.#gauges.clear();
    this.#places = this.#places.filter(({ folder }) => !removeFolder(folder));
    return this.#places.length === 0;
  }
}

const GAUGE = Buffer.alloc(GAUGE_BYTES);

function limitMemory({ folder, hierarchy }: Place, memoryBytes: number): void {
  if (hierarchy.version === 2) {
    write(folder, "memory.max", memoryBytes);
    write(folder, "memory.oom.group", 1);
    return writeIfThere(folder, "memory.swap.max", 0);
  }
  // In this order, since the sum with swap may never be below memory alone.
  write(folder, "memory.limit_in_bytes", memoryBytes);
  writeIfThere(folder, "memory.memsw.limit_in_bytes", memoryBytes);
}

/** The files about swap are not there on a kernel that does not account for it. */
function writeIfThere(folder: string, file: string, value: number): void {
  try {
    write(folder, file, value);
  } catch (error) {
    // `w` creates, which a control group answers with EACCES or EPERM.
    if (!["ENOENT", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

const cpuMsOf = (text: string): number =>
  text.includes("usage_usec") ? field(text, "usage_usec") / 1_000 : Number(text) / 1_000_000;

const killTree = (folder: string): void => unlessGone(folder, () => write(folder, "cgroup.kill", "1"), undefined);

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It went by itself meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Groups of processors (version 1) are made without any, and let nobody in until they have some. */
function makeFolder(folder: string, hierarchy: Hierarchy): void {
  mkdirSync(folder);
  if (!hasProcessors(hierarchy)) return;
  for (const file of ["cpuset.cpus", "cpuset.mems"])
    write(folder, file, readFileSync(join(dirname(folder), file), "utf8").trim());
}

/** Asked once of each hierarchy. */
const withProcessors = new WeakMap<Hierarchy, boolean>();
function hasProcessors(hierarchy: Hierarchy): boolean {
  const known = withProcessors.get(hierarchy);
  if (known !== undefined) return known;
  const found = hierarchy.version === 1 && existsSync(join(hierarchy.folder, "cpuset.sched_load_balance"));
  withProcessors.set(hierarchy, found);
  return found;
}

/** Whether it is gone. */
function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return true;
    if (code === "EBUSY" || code === "ENOTEMPTY") return false;
    throw error;
  }
}

/** All groups of this run of Reeve. */
export class Groups {
  readonly roots: readonly string[];
  readonly #hierarchies: readonly Hierarchy[];
  readonly #closeRoots: Place[] = [];
  #made = 0;

  constructor({ hierarchies }: Layout, name: string) {
    this.#hierarchies = hierarchies;
    this.roots = hierarchies.map(({ folder }) => join(folder, name));
    try {
      for (const [index, hierarchy] of hierarchies.entries()) {
        const folder = this.roots[index] ?? "";
        makeFolder(folder, hierarchy);
        this.#closeRoots.push({ hierarchy, folder });
        const passed = ["memory", "pids", "cpu"].filter((duty) => hierarchy.duties.has(duty as Duty));
        if (hierarchy.version === 2 && passed.length > 0)
          write(folder, "cgroup.subtree_control", passed.map((controller) => `+${controller}`).join(" "));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  make(limits: GroupLimits): Group {
    this.#made += 1;
    const places = this.#hierarchies.map((hierarchy, index) => ({
      hierarchy,
      folder: join(this.roots[index] ?? "", String(this.#made)),
    }));
    return new Group(places, limits);
  }

  /**
   * Has a process outlive the service that Reeve is: systemd may end all that is in a service's group at once. Where Reeve's groups are below
   * that one they end with it, and where they are at the root of the tree so does this process not.
   */
  setApart(pid: number): void {
    for (const { version, folder } of this.#hierarchies)
      if (version === 2 && isRootOfAll(folder))
        unlessGone(`/proc/${pid}`, () => write(folder, "cgroup.procs", pid), undefined);
  }

  /** For when all groups are removed. */
  close(): void {
    for (const { folder } of this.#closeRoots) removeFolder(folder);
  }
}

/** What tells this run of Reeve from every other on this machine, as long as it lives. */
export function runName(): string {
  const space = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  return `reeve-${space}-${process.pid}-${startTime(process.pid) ?? 0}-${randomBytes(4).toString("hex")}`;
}

/** Whether `name` is of a run of Reeve that is over, on this machine and in this space of processes. */
export function isOver(name: string): boolean {
  const space = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  const [, of, pid, started] = /^reeve-(\d+)-(\d+)-(\d+)-[0-9a-f]+$/.exec(name) ?? [];
  return of === space && pid !== undefined && startTime(Number(pid)) !== started;
}

const startTime = (pid: number): string | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    // No such process.
    return undefined;
  }
};

/** Kills and removes what runs of Reeve that are over have left: those whose supervisor died together with them. */
export async function sweep({ hierarchies }: Layout): Promise<void> {
  for (const { folder, duties } of hierarchies)
    for (const name of readdirSync(folder).filter(isOver)) await removeTree(join(folder, name), duties.has("kill"));
}

/** Others may be at the same: the watchdog of the run that is over, and whoever else starts now. */
async function removeTree(root: string, kills: boolean): Promise<void> {
  for (let waitedMs = 0; waitedMs < DEATH_TIMEOUT_MS; waitedMs += PAUSE_MS_MAX) {
    const groups = unlessGone(root, () => readdirSync(root, { withFileTypes: true }), [])
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(root, name));
    if (kills) killTree(root);
    else for (const group of [root, ...groups]) for (const pid of pidsIn(group)) killProcess(pid);
    if ([...groups.map(removeFolder), removeFolder(root)].every(Boolean)) return;
    await after(PAUSE_MS_MAX);
  }
}

/** A group that is removed already has nothing in it. */
const pidsIn = (group: string): number[] =>
  unlessGone(group, () => readFileSync(join(group, "cgroup.procs"), "utf8"), "")
    .trim()
    .split("\n")
    .filter(Boolean)
    .map(Number);

/** `otherwise` where the group is gone, or goes while it is looked at: what is done to it then fails in one of several ways. */
function unlessGone<T>(folder: string, look: () => T, otherwise: T): T {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "")) return otherwise;
    if (!existsSync(folder)) return otherwise;
    throw error;
  }
}

/** Undefined where Reeve, or the machine, has no descriptor left for it: whoever asks does so again. */
function ifPossible<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (["EMFILE", "ENFILE"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** Closes what `openDoors` opened. */
export function closeDoors(doors: readonly number[]): void {
  for (const door of doors) closeSync(door);
}
