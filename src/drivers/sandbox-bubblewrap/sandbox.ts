// The driver of bubblewrap: native code in namespaces of its own, under a filter of system calls, with limits.
//
// Each sandbox runs under a user id of its own where Reeve runs as root, in control groups of its own where the machine has them;
// what is missing makes the posture `reduced` and is named. Reeve's own death ends all of it (watchdog.ts).
//
// A workspace belongs to the one user id that its sandboxes run under: at its first use its files are given to an id, which it keeps.
// Who writes into it from outside gives what it writes to the owner of the folder.
//
// Invariants:
//   S1. Nothing of a job runs before all that its profile names is in force.
//   S2. `start` either answers with a sandbox that runs, or leaves nothing.
import { randomInt } from "node:crypto";
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  mkdirSync,
  chmodSync,
} from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { OsError } from "../../abi/errors.ts";
import type { DriverState, Sandbox, SandboxProcess, SandboxSpec } from "../../ports/sandbox.ts";
import { closeDoors, Groups, runName, sweep, type Group } from "../../linux/cgroup.ts";
import { readLayout } from "../../linux/cgroup-layout.ts";
import { ETC_TEXT, makeEtc } from "../../linux/etc-folder.ts";
import { filterFor } from "./filter.ts";
import { architecture, explain, findBubblewrap, lackingRights, layersOf, mayChangeUser } from "./host.ts";
import { Fronts, inherited, mayExecuteIn } from "./front/fronts.ts";
import { Meeting } from "./front/meeting.ts";
import { frontProgram } from "./front/program.ts";
import { launch, ownEnv, type Launched, type Launcher } from "./launch.ts";
import type { LastingUsersOptions } from "../../linux/lasting-users.ts";
import { Lookup } from "../../linux/lookup.ts";
import { LooseBounds } from "../../linux/loose-bounds.ts";
import { fingerprintOf } from "../../linux/machine.ts";
import { textOf } from "../../linux/lacking.ts";
import { isFoundByAll } from "../../linux/mounts.ts";
import { openPlaces, type Places, type Users } from "../../linux/places.ts";
import { makeRunFolder } from "../../linux/run-folder.ts";
import { HOME, profileOf, rootOf } from "./profile.ts";
import { Running, type Bounds } from "../../linux/running.ts";
import { isInGroups, trialOf } from "../../linux/trial.ts";
import { Uids, type UidRange } from "../../linux/uids.ts";
import { WarmPool, type Waiting, type WarmCounts } from "./warm.ts";
import type { Survivor } from "../../linux/survivor.ts";
import { startWatchdog } from "../../linux/watchdog.ts";

export type BubblewrapOptions = {
  /** Reeve's own; what all sandboxes share is put there. Made if it is not there. */
  readonly folder: string;
  readonly uids: UidRange;
  /** The users that last; without, none does. */
  readonly lasting?: LastingUsersOptions | undefined;
  /** How many wait, by interpreter. */
  readonly warm?: WarmCounts;
};

// Until its input ends, so that it can be looked at.
const TRIAL = trialOf("process", ["cat"]);
const NONE_WAIT: WarmCounts = { shell: 0, python: 0, node: 0 };

/** What the first start found and made. */
type Ground = {
  readonly launcher: Launcher;
  readonly groups: Groups | undefined;
  readonly watchdog: Survivor;
  /** It goes with this run. */
  readonly folder: string;
  /** None where sandboxes have Reeve's own. */
  readonly users: Users | undefined;
};
type Found = { readonly state: DriverState; readonly ground: Ground | undefined };

/** The supervisor of bubblewrap and its first process inside. */
const OWN_PROCESSES = 2;

export function createBubblewrap(options: BubblewrapOptions): Sandbox {
  return new BubblewrapSandbox(options);
}

class BubblewrapSandbox implements Sandbox {
  readonly name = "bubblewrap";
  readonly level = "process";
  readonly #options: BubblewrapOptions;
  readonly #running = new Set<Running>();
  readonly #warm: WarmPool;
  readonly #lookup = new Lookup(
    () => this.#look(),
    ({ ground }: Found) => ground !== undefined,
  );
  #closed = false;

  constructor(options: BubblewrapOptions) {
    this.#options = options;
    this.#warm = new WarmPool(options.warm ?? NONE_WAIT, (spec) => this.#startWaiting(spec));
  }

  async state(): Promise<DriverState> {
    return (await this.#find()).state;
  }

  async start(spec: SandboxSpec, { signal }: { readonly signal?: AbortSignal } = {}): Promise<SandboxProcess> {
    const { state, ground } = await this.#find();
    if (ground === undefined) throw unavailable(state.reason);
    if (isAborted(signal)) throw givenUp();
    const running = this.#warm.take(spec) ?? (await this.#start(ground, spec)).running;
    if (this.#warm.serves(spec)) this.#warm.refillAfter(running, spec);
    const abort = (): void => void running.kill();
    if (isAborted(signal)) abort();
    signal?.addEventListener("abort", abort, { once: true });
    running.whenOver(() => signal?.removeEventListener("abort", abort));
    return running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#warm.close();
    await Promise.all([...this.#running].map((running) => running.kill()));
    const ground = (await this.#lookup.take())?.ground;
    if (ground === undefined) return;
    await clear(ground);
  }

  #find(): Promise<Found> {
    if (this.#closed) return Promise.reject(unavailable("Reeve is ending."));
    return this.#lookup.find();
  }

  async #look(): Promise<Found> {
    const bwrap = await findBubblewrap();
    if (typeof bwrap === "string") return { state: absent(bwrap), ground: undefined };
    const lackingOfRoot = mayChangeUser() ? lackingRights() : undefined;
    if (lackingOfRoot !== undefined) return { state: absent(lackingOfRoot), ground: undefined };
    const layout = readLayout();
    await sweep(layout);
    const ground = layGround(this.#options, bwrap.path, layout);
    if (typeof ground === "string") return { state: absent(ground), ground: undefined };
    const layers = layersOf({ uniqueUids: ground.users !== undefined, layout });
    const lacking = layers.filter(({ inForce }) => !inForce);
    const fingerprint = fingerprintOf({ bwrap, layers, etc: ETC_TEXT, profile: sampleOf(ground.launcher) }, layout);
    try {
      const { running } = await this.#start(ground, TRIAL);
      const isHeld = isInGroups(running.pid, ground.groups);
      running.stdin.end();
      const exit = await running.exit;
      if (!isHeld) throw unavailable("A trial run was not in its control groups, so no limit would have held it.");
      if (exit.kind !== "exited" || exit.code !== 0)
        throw unavailable(`A trial run of \`cat\` ended as ${JSON.stringify(exit)}.`);
    } catch (error) {
      await clear(ground);
      if (!OsError.is(error)) throw error;
      return { state: absent(reasonOf(error), fingerprint), ground: undefined };
    }
    const reason = textOf(lacking);
    const posture = lacking.length === 0 ? "strong" : "reduced";
    // Only for another user a way has to be found to what is closed to it.
    const ways = ground.users === undefined ? { oneWay: true as const } : {};
    return { state: { posture, layers, reason, fingerprint, ...ways }, ground };
  }

  async #startWaiting(spec: SandboxSpec): Promise<Waiting> {
    const { state, ground } = await this.#find();
    if (ground === undefined) throw unavailable(state.reason);
    const { running, channel } = await this.#start(ground, spec, true);
    if (channel === undefined) throw unavailable("it has no pipe for its program.");
    return { running, text: channel };
  }

  async #start(ground: Ground, spec: SandboxSpec, waits = false): Promise<Started> {
    const places = await openPlaces(spec, ground.users);
    try {
      if (this.#closed) throw unavailable("Reeve is ending.");
      return await this.#launch(ground, spec, { places, waits });
    } catch (error) {
      places.giveBack();
      throw OsError.is(error) ? error : unavailable(explain(error instanceof Error ? error.message : String(error)));
    } finally {
      places.close();
    }
  }

  async #launch(
    { launcher, groups }: Ground,
    spec: SandboxSpec,
    { places, waits }: { readonly places: Places; readonly waits: boolean },
  ): Promise<Started> {
    const { limits } = spec;
    const group = groups?.make({ ...limits, ownProcesses: OWN_PROCESSES });
    const { child, channel, ready } = launchInto(group, (doors) =>
      launch(launcher, {
        command: spec.door === undefined ? spec.command : spec.door.wrap(spec.command),
        cwd: spec.cwd ?? "/ws",
        env: ownEnv({ ...spec.door?.env, ...spec.env }),
        channel: spec.channel === true,
        diskBytes: limits.diskBytes,
        fileBytesMax: limits.diskBytes,
        cpuSecondsMax: Math.ceil(limits.cpuMs / 1_000) + 1,
        doors,
        uid: places.uid,
        workspace: places.workspace,
        door: places.door,
        mounts: places.mounts,
      }),
    );
    const bounds: Bounds = group ?? new LooseBounds(child);
    const { stdin, stdout, stderr } = child;
    if (child.pid === undefined || stdin === null || stdout === null || stderr === null) {
      await bounds.remove();
      throw unavailable(
        "A process could not be started: this machine, or Reeve's share of it, is out of processes or descriptors.",
      );
    }
    const release = (): void => {
      this.#running.delete(running);
      places.giveBack();
    };
    const running = new Running(
      { child, channel: waits ? undefined : channel, bounds, limits, waits, release },
      { stdin, stdout, stderr },
    );
    this.#running.add(running);
    if (!(await ready)) throw await failureOf(running);
    const disk = await openDisk(running, places.workspace?.descriptor);
    if (disk !== undefined) running.watchDisk(disk, spec.workspace === undefined);
    if (spec.workspace?.quota === "none") running.watchFolder(spec.workspace.folder);
    return { running, channel };
  }
}

/** The channel apart, since one that a program's text comes by is not the job's. */
type Started = { readonly running: Running; readonly channel: Socket | undefined };

const givenUp = (): OsError => new OsError("cancelled", `${NOT_STARTED}its caller gave up.`);
const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

/** Opens the doors of a group for a launch; a launch that fails leaves no group. */
function launchInto(group: Group | undefined, start: (doors: readonly number[]) => Launched): Launched {
  const doors = group?.openDoors() ?? [];
  try {
    return start(doors);
  } catch (error) {
    // Nothing is in it, so this is done at once.
    void group?.remove();
    throw error;
  } finally {
    closeDoors(doors);
  }
}

const NOT_STARTED = "The sandbox was not started: ";
const unavailable = (reason: string): OsError =>
  new OsError("isolation_unavailable", `${NOT_STARTED}${reason}`, {
    data: { level: "process", drivers: [{ name: "bubblewrap", reason }] },
  });

/** The reason of an error of a start, which a state gives and later starts say behind the same words. */
const reasonOf = ({ message }: OsError): string =>
  message.startsWith(NOT_STARTED) ? message.slice(NOT_STARTED.length) : message;

const absent = (reason: string, fingerprint = ""): DriverState => ({
  posture: "none",
  layers: [],
  reason,
  fingerprint,
});

/** Why a sandbox that never came to stand did not; all of it is gone afterwards. */
async function failureOf(running: Running): Promise<OsError> {
  const said: Buffer[] = [];
  running.stderr.on("data", (chunk: Buffer) => said.push(chunk));
  running.stdout.resume();
  const exit = await running.exit;
  if (exit.kind === "killed") return new OsError("cancelled", "The sandbox was ended before it had started.");
  if (exit.kind === "limit")
    return unavailable(`its limit (${exit.limit}, ${exit.max}) does not even hold the sandbox itself. Raise it.`);
  return unavailable(explain(Buffer.concat(said).toString()));
}

/** Or why there is none to stand on, with the remedy. */
function layGround(
  { folder, uids, lasting }: BubblewrapOptions,
  bwrap: string,
  layout: ReturnType<typeof readLayout>,
): Ground | string {
  const changesUser = mayChangeUser();
  const name = runName();
  const own = makeRunFolder(
    folder,
    name,
    (made) => (!changesUser || isFoundByAll(join(made, "etc"))) && mayExecuteIn(made, architecture()),
  );
  if (own === undefined)
    return `Sandboxes need a folder that all users find and where programs may be executed. Neither ${folder} nor ${tmpdir()} is one: a folder above is closed, or it is mounted with \`noexec\`. Set TMPDIR to one that is.`;
  const etc = join(own, "etc");
  const filterFile = join(own, "filter.bpf");
  const fronts = join(own, "fronts");
  makeEtc(etc);
  writeFileSync(filterFile, filterFor(architecture()));
  mkdirSync(fronts);
  chmodSync(fronts, 0o711);
  const groups = layout.hierarchies.length === 0 ? undefined : new Groups(layout, name);
  return {
    launcher: {
      bwrap,
      fronts: new Fronts(fronts, architecture()),
      filterFile,
      etc: openSync(etc, constants.O_RDONLY | constants.O_DIRECTORY),
      root: rootOf(),
      meeting: new Meeting(join(own, "meeting")),
      inherited: inherited(),
    },
    folder: own,
    groups,
    watchdog: startWatchdog(groups, own),
    users: changesUser ? { uids: new Uids(uids, randomInt(2 ** 31)), lasting } : undefined,
  };
}

async function clear({ launcher, groups, watchdog, folder }: Ground): Promise<void> {
  groups?.close();
  closeSync(launcher.etc);
  rmSync(folder, { recursive: true, force: true });
  await watchdog.close();
}

const SAMPLE_WORK = { doors: [4], strays: [], fileBytesMax: 1, cpuSecondsMax: 1 };
const SAMPLE_HIDDEN = { uid: 1, sources: [{ descriptor: 5, place: "/place" }] };

/** The profile as text, with stand-ins for what differs from start to start. */
const sampleOf = ({ bwrap, root }: Launcher): Readonly<Record<string, unknown>> => ({
  front: Buffer.from(frontProgram({ ...SAMPLE_WORK, bwrap, hidden: SAMPLE_HIDDEN }, architecture())).toString("base64"),
  filter: Buffer.from(filterFor(architecture())).toString("base64"),
  args: profileOf({ command: ["true"], cwd: "/ws", diskBytes: 1, root }, { filter: 5, etc: 6, ready: 7, mounts: [] }),
  home: HOME,
});

const O_PATH = 0o10000000;
const FOLDER = O_PATH | constants.O_DIRECTORY;

/** For as many milliseconds the root of a sandbox may be on its way to its place. */
const DISK_TRIES_MAX = 500;

/** A descriptor of the workspace's file system. None where the sandbox is over already, or may not be looked into. */
async function openDisk(running: Running, workspace: number | undefined): Promise<number | undefined> {
  if (workspace !== undefined) return openSync(`/proc/self/fd/${workspace}`, FOLDER);
  try {
    for (let tries = 0; tries < DISK_TRIES_MAX && running.isAlive; tries += 1) {
      if (tries > 0) await after(1);
      const first = readFileSync(`/proc/${running.pid}/task/${running.pid}/children`, "utf8").trim();
      // Its root is either in place already or still stands below another.
      const root = join("/proc", first, "root");
      const disk = openMounted(join(root, "newroot", "ws")) ?? openMounted(join(root, "ws"));
      if (disk !== undefined) return disk;
    }
  } catch {
    // It is over, or not to be looked into.
  }
  return undefined;
}

/** While a root is on its way to its place, the bare folder may be found that the file system is mounted on: that is not what is sought. */
function openMounted(path: string): number | undefined {
  let found: number | undefined;
  try {
    found = openSync(path, FOLDER);
    if (statSync(`/proc/self/fd/${found}`).dev !== statSync(`/proc/self/fd/${found}/..`).dev) return found;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  if (found !== undefined) closeSync(found);
  return undefined;
}
