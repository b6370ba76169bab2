// The driver of containers: native code in a container of its own, made of the machine's programs or of an unpacked image, by runc, crun,
// podman or docker.
//
// Here: what becomes of a container from its start to its end. In `contents` what it is to be, whoever starts it; in `runtimes` who starts
// it, each in its own way; in `inside` what runs in it before the job does.
//
// Each container has user ids of its own, and control groups with its limits that are Reeve's, whatever an engine makes beside them: what is
// counted there is still there when the container is gone. It waits at a gate until everything was looked at. Reeve's own death ends all of
// it: the watchdog (src/linux) kills its groups.
//
// Invariants:
//   S1. Nothing of a job runs before all that its configuration names is in force, and what is mounted is what was checked.
//   S2. `start` either answers with a container that runs, or leaves nothing.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { OsError } from "../../abi/errors.ts";
import { sweep } from "../../linux/cgroup.ts";
import { ETC_TEXT } from "../../linux/etc-folder.ts";
import { textOf } from "../../linux/lacking.ts";
import { fingerprintOf } from "../../linux/machine.ts";
import { Lookup } from "../../linux/lookup.ts";
import { openPlaces, type Places } from "../../linux/places.ts";
import { Running } from "../../linux/running.ts";
import { TRIAL_LIMITS, trialOf } from "../../linux/trial.ts";
import type { DriverState, Sandbox, SandboxProcess, SandboxSpec } from "../../ports/sandbox.ts";
import { Container } from "./container.ts";
import { HOME, samplePlan, type Plan } from "./contents/plan.ts";
import { clear, imageOf, layGround, layoutFor, type Ground, type GroundOptions } from "./ground.ts";
import { layersOf } from "./host.ts";
import { wordOf } from "./inside/first-process.ts";
import { makePipes } from "./inside/pipes.ts";
import { checkAlone, checkHeld, checkLimits, checkMounts, openDisk } from "./inspection.ts";
import { launch, type Launched } from "./launch.ts";
import { chooseRuntime } from "./runtimes/choice.ts";
import { explain } from "./runtimes/refusals.ts";
import type { Order, Runtime, RuntimeName } from "./runtimes/runtime.ts";

export type OciOptions = GroundOptions & {
  /** The first that works, if absent. */
  readonly runtime?: RuntimeName | undefined;
};

type Found = { readonly state: DriverState; readonly ground: Ground | undefined };

/** For a container to stand at its gate; none takes a tenth of it on a machine that is not overloaded. */
const START_MS_MAX = 60_000;

// An image need not have more.
const TRIAL = trialOf("container", ["/bin/sh", "-c", ":"]);

export function createOci(options: OciOptions): Sandbox {
  return new OciSandbox(options);
}

class OciSandbox implements Sandbox {
  readonly name = "oci";
  readonly level = "container";
  readonly #options: OciOptions;
  readonly #running = new Set<Running>();
  /** Each until it runs, or is gone. */
  readonly #starting = new Set<Promise<Running>>();
  readonly #lookup = new Lookup(
    () => this.#look(),
    ({ ground }: Found) => ground !== undefined,
  );
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
    const starting = this.#start(ground, spec, signal);
    this.#starting.add(starting);
    return starting.finally(() => this.#starting.delete(starting));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const ground = (await this.#lookup.take())?.ground;
    await Promise.all([...this.#running].map((running) => running.kill()));
    await Promise.allSettled(this.#starting);
    if (ground !== undefined) await clear(ground);
  }

  #find(): Promise<Found> {
    if (this.#closed) return Promise.reject(unavailable("Reeve is ending."));
    return this.#lookup.find();
  }

  async #look(): Promise<Found> {
    const reasons: string[] = [];
    const { runtime: wanted, image, folder } = this.#options;
    for await (const runtime of chooseRuntime({ wanted, image, folder }, reasons)) {
      const found = await this.#try(runtime);
      if (found.ground !== undefined) return found;
      reasons.push(`${runtime.kind}: ${found.state.reason}`);
    }
    return { state: absent(reasons), ground: undefined };
  }

  /** Whether a trial run succeeds. */
  async #try(runtime: Runtime): Promise<Found> {
    const layout = layoutFor(runtime);
    await sweep(layout);
    const ground = layGround(this.#options, runtime, layout);
    if (typeof ground === "string") return { state: none(ground), ground: undefined };
    const layers = layersOf(layout, runtime);
    const { kind, version, carrier } = runtime;
    const facts = {
      ...{ kind, version, layers, etc: ETC_TEXT, image: imageOf(this.#options.image) },
      profile: runtime.facts(ground.world, samplePlan(TRIAL_LIMITS, carrier)),
    };
    const fingerprint = fingerprintOf(facts, layout);
    try {
      await runtime.ready(ground.world, ground);
      const trial = await this.#start(ground, TRIAL, undefined);
      const exit = await trial.exit;
      if (exit.kind !== "exited" || exit.code !== 0)
        throw unavailable(`A trial run of \`true\` ended as ${JSON.stringify(exit)}.`);
    } catch (error) {
      await clear(ground);
      if (!OsError.is(error)) throw error;
      return { state: none(error.message, fingerprint), ground: undefined };
    }
    const lacking = layers.filter(({ inForce }) => !inForce);
    const reason = textOf(lacking);
    return { state: { posture: lacking.length === 0 ? "strong" : "reduced", layers, reason, fingerprint }, ground };
  }

  async #start(ground: Ground, spec: SandboxSpec, signal: AbortSignal | undefined): Promise<Running> {
    try {
      return await this.#attempt(ground, spec, signal);
    } catch (error) {
      if (!OsError.is(error) || !(await ground.runtime.restored(error.message))) throw error;
      return this.#attempt(ground, spec, signal);
    }
  }

  async #attempt(ground: Ground, spec: SandboxSpec, signal: AbortSignal | undefined): Promise<Running> {
    const places = await openPlaces(spec, ground.users);
    try {
      if (signal?.aborted === true) throw cancelled("its caller gave up");
      if (this.#closed) throw cancelled("Reeve is ending");
      return await this.#launch(ground, { spec, places, signal });
    } catch (error) {
      places.giveBack();
      throw error;
    } finally {
      places.close();
    }
  }

  async #launch(ground: Ground, wanted: Wanted): Promise<Running> {
    const { spec, places, signal } = wanted;
    const { child, streams, channel, gate, container, order, giveBack } = await open(ground, wanted);
    if (streams === undefined) {
      await container.remove();
      giveBack();
      throw unavailable(
        "A process could not be started: this machine, or Reeve's share of it, is out of processes or descriptors.",
      );
    }
    const abort = (): void => void running.kill();
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
      abort();
    }, START_MS_MAX);
    const release = (): void => {
      this.#running.delete(running);
      signal?.removeEventListener("abort", abort);
      clearTimeout(late);
      gate.leave();
      giveBack();
    };
    const running = new Running(
      { child, ended: container.ended(), channel, bounds: container, limits: spec.limits, waits: true, release },
      streams,
    );
    this.#running.add(running);
    signal?.addEventListener("abort", abort, { once: true });
    // What was said while its parts were made.
    if (signal?.aborted === true || this.#closed) abort();
    try {
      if (!(await gate.ready)) throw await this.#failureOf(running, ground.runtime, container);
      await letIn(running, { order, container, ground, spec, places });
    } catch (error) {
      await running.kill();
      if (isLate) throw unavailable(`it did not stand within ${START_MS_MAX} ms, and was ended.`);
      throw OsError.is(error) ? error : unavailable(messageOf(error));
    }
    clearTimeout(late);
    running.begin();
    gate.open(wordOf({ ...HOME, ...spec.door?.env, ...spec.env }));
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
  readonly order: Order;
  readonly giveBack: () => void;
};

/** Everything of a container, up to its runtime; if one part cannot be had, the others are given back. */
async function open(ground: Ground, wanted: Wanted): Promise<Opened> {
  const { places } = wanted;
  const { runtime } = ground;
  const undo: (() => void | Promise<void>)[] = [places.giveBack];
  try {
    const root = runtime.ownUsers === 2 ? ground.users?.uids.take() : undefined;
    const giveRootBack = (): void => (root === undefined ? undefined : ground.users?.uids.giveBack(root));
    const giveBack = (): void => {
      giveRootBack();
      places.giveBack();
    };
    undo.push(giveRootBack);
    const plan = planOf(wanted, runtime, root);
    const { start } = runtime.counted;
    const group = ground.groups.make({
      ...plan.limits,
      memoryBytes: plan.limits.memoryBytes + start.bytes,
      ownProcesses: start.processes,
    });
    undo.push(async () => group.remove());
    ground.containers += 1;
    const number = String(ground.containers);
    const folder = join(ground.folder, number);
    mkdirSync(folder, { mode: 0o711 });
    undo.push(() => rmSync(folder, { recursive: true, force: true }));
    const order: Order = { id: `${ground.name}.${number}`, folder, plan, group };
    const pipes = plan.carrier === "pipes" ? await makePipes(folder, plan.ids.job, plan.channel) : undefined;
    undo.push(() => pipes?.close());
    const launched = launch({ command: runtime.commandOf(order), folder, channel: plan.channel, pipes });
    const container = new Container({ child: launched.child, gate: launched.gate, runtime, order });
    return { ...launched, container, order, giveBack };
  } catch (error) {
    for (const step of undo.toReversed()) await step();
    throw error;
  }
}

const ownUser = (): number => process.geteuid?.() ?? 0;
const ownGroup = (): number => process.getegid?.() ?? 0;

const planOf = ({ spec, places }: Wanted, { carrier }: Runtime, root: number | undefined): Plan => ({
  command: spec.door === undefined ? spec.command : spec.door.wrap(spec.command),
  cwd: spec.cwd ?? "/ws",
  channel: spec.channel === true,
  carrier,
  limits: spec.limits,
  ids: { root: root ?? ownUser(), job: places.uid ?? ownUser() },
  workspace: spec.workspace?.folder,
  door: spec.door?.folder,
  mounts: [...spec.mounts, ...(spec.door?.mounts ?? [])],
});

type Entry = {
  readonly order: Order;
  readonly container: Container;
  readonly ground: Ground;
  readonly spec: SandboxSpec;
  readonly places: Places;
};

/** The last look before the job begins, and the limits as they were asked for: the runtime has left by now. */
async function letIn(running: Running, { order, container, ground, spec, places }: Entry): Promise<void> {
  const { group, plan } = order;
  const first = await ground.runtime.firstOf(order);
  if (first === undefined)
    throw unavailable("its first process is not to be seen: it is over, or it runs on another machine than Reeve.");
  container.standsBy(first);
  checkAlone(first);
  checkHeld(first, { uid: plan.ids.job, gid: ground.users === undefined ? ownGroup() : plan.ids.job });
  checkMounts(first, places);
  group.admit(first);
  const { processes } = ground.runtime.counted;
  group.limit({ ...spec.limits, ownProcesses: processes });
  checkLimits(first, group.folders, { ...spec.limits, processes: spec.limits.processes + processes });
  if (!running.isAlive) throw cancelled("it was ended before it had begun");
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

const none = (reason: string, fingerprint = ""): DriverState => ({ posture: "none", layers: [], reason, fingerprint });

const absent = (reasons: readonly string[]): DriverState =>
  none(`${reasons.map((reason) => reason.replace(/\.$/, "")).join("; ")}.`);
