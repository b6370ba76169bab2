// The driver of OCI runtimes: native code in a container of its own, made of the machine's programs or of an unpacked image.
//
// Each container has user ids of its own, control groups with its limits, and a configuration written for it alone (bundle.ts). It
// waits at a gate until everything was looked at. Reeve's own death ends all of it: the watchdog (src/linux) kills its groups.
//
// Invariants:
//   S1. Nothing of a job runs before all that its configuration names is in force, and what is mounted is what was checked.
//   S2. `start` either answers with a container that runs, or leaves nothing.
import { randomInt } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OsError } from "../../abi/errors.ts";
import type { SandboxLimits } from "../../abi/isolation.ts";
import { Groups, isOver, runName, sweep, type Group } from "../../linux/cgroup.ts";
import { readLayout, type Layout } from "../../linux/cgroup-layout.ts";
import { ETC_TEXT, makeEtc } from "../../linux/etc-folder.ts";
import { isFoundByAll } from "../../linux/mounts.ts";
import { openPlaces, type Places } from "../../linux/places.ts";
import { Running } from "../../linux/running.ts";
import { Uids, type UidRange } from "../../linux/uids.ts";
import { Watchdog } from "../../linux/watchdog.ts";
import type { DriverState, Mount, Sandbox, SandboxProcess, SandboxSpec } from "../../ports/sandbox.ts";
import { makeBundle, sampleOf, type World } from "./bundle.ts";
import { Container } from "./container.ts";
import { checkMounts, firstInside, openDisk } from "./inspection.ts";
import { architecture, explain, fingerprintOf, layersOf, type RuntimeName } from "./host.ts";
import { launch, logOf, type Launched, type Runtime } from "./launch.ts";
import { chooseRuntime } from "./choice.ts";
import { seccompFor } from "./seccomp.ts";

export type OciOptions = {
  /** Reeve's own; what all sandboxes share is put there. Made if it is not there. */
  readonly folder: string;
  readonly uids: UidRange;
  /** The first that works, if absent. */
  readonly runtime?: RuntimeName | undefined;
  /** A folder with an unpacked root; the machine's own programs if absent. */
  readonly image?: string | undefined;
};

/** What the first start found and made. */
type Ground = {
  readonly runtime: Runtime;
  readonly world: World;
  readonly groups: Groups;
  readonly watchdog: Watchdog;
  /** Goes with this run. */
  readonly folder: string;
  readonly uids: Uids;
};
type Found = { readonly state: DriverState; readonly ground: Ground | undefined };

const MEBIBYTE = 1024 * 1024;
/** What a runtime needs inside the group until it becomes the job: threads, and memory. */
const START_PROCESSES = 64;
const START_BYTES = 64 * MEBIBYTE;

const PROBE_LIMITS: SandboxLimits = {
  cpus: 1,
  cpuMs: 10_000,
  memoryBytes: 128 * MEBIBYTE,
  processes: 16,
  diskBytes: MEBIBYTE,
  wallMs: 10_000,
  outputBytes: 64 * 1024,
};
const PROBE: SandboxSpec = {
  owner: "probe",
  level: "container",
  // An image need not have more.
  command: ["/bin/sh", "-c", ":"],
  env: {},
  mounts: [],
  limits: PROBE_LIMITS,
};

export function createOci(options: OciOptions): Sandbox {
  return new OciSandbox(options);
}

class OciSandbox implements Sandbox {
  readonly name = "oci";
  readonly level = "container";
  readonly #options: OciOptions;
  readonly #running = new Set<Running>();
  #found: Promise<Found> | undefined;
  #closed = false;

  constructor(options: OciOptions) {
    this.#options = options;
  }

  async state(): Promise<DriverState> {
    return (await this.#find()).state;
  }

  async start(spec: SandboxSpec, { signal }: { readonly signal?: AbortSignal } = {}): Promise<SandboxProcess> {
    const { state, ground } = await this.#find();
    if (ground === undefined) throw unavailable(state.reason);
    return this.#start(ground, spec, signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const ground = (await this.#found?.catch(() => undefined))?.ground;
    await Promise.all([...this.#running].map((running) => running.kill()));
    if (ground !== undefined) await clear(ground);
    this.#found = undefined;
  }

  #find(): Promise<Found> {
    if (this.#closed) return Promise.reject(unavailable("Reeve is ending."));
    this.#found ??= this.#look();
    return this.#found;
  }

  async #look(): Promise<Found> {
    const reasons: string[] = [];
    const { runtime: wanted, image } = this.#options;
    for await (const runtime of chooseRuntime({ wanted, image }, reasons)) {
      const found = await this.#try(runtime);
      if (found.ground !== undefined) return found;
      reasons.push(`${runtime.kind}: ${found.state.reason}`);
    }
    return { state: absent(reasons), ground: undefined };
  }

  /** Whether a trial run succeeds. */
  async #try(runtime: Runtime): Promise<Found> {
    const layout = readLayout({ whole: true });
    await sweep(layout);
    const ground = layGround(this.#options, runtime, layout);
    const layers = layersOf(layout);
    const fingerprint = fingerprintOf({
      runtime,
      layers,
      etc: ETC_TEXT,
      image: imageOf(this.#options.image),
      profile: sampleOf(ground.world, PROBE_LIMITS),
    });
    try {
      const probe = await this.#start(ground, PROBE, undefined);
      const exit = await probe.exit;
      if (exit.kind !== "exited" || exit.code !== 0)
        throw unavailable(`A trial run of \`true\` ended as ${JSON.stringify(exit)}.`);
    } catch (error) {
      await clear(ground);
      if (!OsError.is(error)) throw error;
      return { state: { posture: "none", layers: [], reason: error.message, fingerprint }, ground: undefined };
    }
    const lacking = layers.filter(({ inForce }) => !inForce);
    const reason = lacking.map(({ name, detail }) => `no ${name} (${detail})`).join("; ");
    return { state: { posture: lacking.length === 0 ? "strong" : "reduced", layers, reason, fingerprint }, ground };
  }

  async #start(ground: Ground, spec: SandboxSpec, signal: AbortSignal | undefined): Promise<Running> {
    const places = await openPlaces(spec, ground.uids);
    try {
      if (signal?.aborted === true) throw cancelled("its caller gave up");
      if (this.#closed) throw cancelled("Reeve is ending");
      return await this.#launch(ground, { spec, places, signal });
    } finally {
      places.close();
    }
  }

  async #launch(ground: Ground, wanted: Wanted): Promise<Running> {
    const { spec, places, signal } = wanted;
    const { child, streams, channel, ready, container, group, giveBack } = await open(ground, wanted);
    if (streams === undefined) {
      await container.remove();
      giveBack();
      throw unavailable(
        "A process could not be started: this machine, or Reeve's share of it, is out of processes or descriptors.",
      );
    }
    const abort = (): void => void running.kill();
    const release = (): void => {
      this.#running.delete(running);
      signal?.removeEventListener("abort", abort);
      streams.gate.destroy();
      giveBack();
    };
    const running = new Running({ child, channel, bounds: container, limits: spec.limits, release }, streams);
    this.#running.add(running);
    signal?.addEventListener("abort", abort, { once: true });
    if (!(await ready)) throw await this.#failureOf(running, ground.runtime, container);
    try {
      letIn(running, { group, ground, spec, places });
    } catch (error) {
      await running.kill();
      throw OsError.is(error) ? error : unavailable(messageOf(error));
    }
    streams.gate.write("\n");
    return running;
  }

  /** Why a container that never came to stand did not; all of it is gone afterwards. */
  async #failureOf(running: Running, runtime: Runtime, container: Container): Promise<OsError> {
    running.stdout.resume();
    running.stderr.resume();
    const exit = await running.exit;
    if (exit.kind === "killed") return cancelled("it was ended before it had begun");
    if (exit.kind === "limit")
      return unavailable(`its limit (${exit.limit}, ${exit.max}) does not even hold the sandbox itself. Raise it.`);
    return unavailable(explain(runtime, container.log));
  }
}

type Wanted = { readonly spec: SandboxSpec; readonly places: Places; readonly signal: AbortSignal | undefined };
type Opened = Launched & {
  readonly container: Container;
  readonly group: Group;
  readonly giveBack: () => void;
};

/** Everything of a container, up to its runtime; if one part cannot be had, the others are given back. */
async function open(ground: Ground, { spec, places }: Wanted): Promise<Opened> {
  const undo: (() => void | Promise<void>)[] = [places.giveBack];
  try {
    const root = ground.uids.take();
    const giveBack = (): void => {
      ground.uids.giveBack(root);
      places.giveBack();
    };
    undo.push(() => ground.uids.giveBack(root));
    const nested = ground.runtime.kind === "crun";
    const { limits } = spec;
    const group = ground.groups.make({
      ...limits,
      memoryBytes: limits.memoryBytes + START_BYTES,
      ownProcesses: START_PROCESSES,
    });
    undo.push(async () => group.remove());
    const id = group.name;
    const bundle = join(ground.folder, id);
    const state = join(ground.folder, "state");
    undo.push(() => rmSync(bundle, { recursive: true, force: true }));
    makeBundle(bundle, ground.world, {
      command: spec.door === undefined ? spec.command : spec.door.wrap(spec.command),
      cwd: spec.cwd ?? "/ws",
      env: { ...spec.door?.env, ...spec.env },
      channel: spec.channel === true,
      limits,
      ids: { root, job: places.uid ?? root },
      group: nested ? undefined : group.path,
      workspace: spec.workspace?.folder,
      door: spec.door?.folder,
      mounts: mountsOf(spec),
    });
    const launched = launch({
      runtime: ground.runtime,
      state,
      bundle,
      id,
      groups: nested ? group.folders : [],
      channel: spec.channel === true,
    });
    const container = new Container({ child: launched.child, group, bundle, state, id, log: logOf(bundle) });
    return { ...launched, container, group, giveBack };
  } catch (error) {
    for (const step of undo.toReversed()) await step();
    throw error;
  }
}

const mountsOf = ({ mounts, door }: SandboxSpec): readonly Mount[] => [...mounts, ...(door?.mounts ?? [])];

type Entry = {
  readonly group: Group;
  readonly ground: Ground;
  readonly spec: SandboxSpec;
  readonly places: Places;
};

/** The last look before the job begins, and the limits as they were asked for: the runtime has left by now. */
function letIn(running: Running, { group, ground, spec, places }: Entry): void {
  const first = firstInside(group.pids());
  if (first === undefined) throw unavailable("it was over before its job could begin.");
  group.admit(first);
  checkMounts(first, places);
  group.limit({ ...spec.limits, ownProcesses: ground.runtime.kind === "crun" ? 2 : 1 });
  const disk = openDisk(first);
  if (disk !== undefined) running.watchDisk(disk, spec.workspace === undefined);
  if (spec.workspace?.quota === "none") running.watchFolder(spec.workspace.folder);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const cancelled = (why: string): OsError => new OsError("cancelled", `The sandbox was not started: ${why}.`);

const unavailable = (reason: string): OsError =>
  new OsError("isolation_unavailable", `The container was not started: ${reason}`, {
    data: { level: "container", drivers: [{ name: "oci", reason }] },
  });

const absent = (reasons: readonly string[]): DriverState => ({
  posture: "none",
  layers: [],
  reason: `${reasons.map((reason) => reason.replace(/\.$/, "")).join("; ")}.`,
  fingerprint: "",
});

/** What tells one image from another without reading all of it. */
const imageOf = (image: string | undefined): unknown => {
  if (image === undefined) return null;
  const { ino, mtimeMs } = statSync(image);
  return { image, ino, mtimeMs };
};

function layGround({ folder, uids, image }: OciOptions, runtime: Runtime, layout: Layout): Ground {
  const name = runName();
  const own = publicFolder(folder, name);
  const etc = join(own, "etc");
  makeEtc(etc);
  const groups = new Groups(layout, name);
  return {
    runtime,
    world: { etc, image, seccomp: seccompFor(architecture()) },
    groups,
    watchdog: new Watchdog(groups.roots, own),
    folder: own,
    uids: new Uids(uids, randomInt(2 ** 31)),
  };
}

/** A folder of this run below `folder`, or where users of sandboxes would not find that, another one. Those of runs that are over go. */
function publicFolder(folder: string, name: string): string {
  mkdirSync(folder, { recursive: true });
  for (const old of readdirSync(folder).filter(isOver)) rmSync(join(folder, old), { recursive: true, force: true });
  chmodSync(folder, 0o711);
  const own = isFoundByAll(join(folder, name)) ? join(folder, name) : mkdtempSync(join(tmpdir(), "reeve-"));
  mkdirSync(own, { recursive: true });
  chmodSync(own, 0o711);
  return own;
}

async function clear({ groups, watchdog, folder }: Ground): Promise<void> {
  groups.close();
  rmSync(folder, { recursive: true, force: true });
  await watchdog.close();
}
