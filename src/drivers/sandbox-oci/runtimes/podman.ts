// podman: an engine without a service. Its containers stand in books of Reeve's own, so that neither settings of the machine nor those
// of its users change what a sandbox is, and nothing of them is left in the machine's.
//
// What it hands on from descriptor 3 appears inside. Its runtime is one that works here: where control groups are of both versions,
// crun does not.
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { MASKED, mountsOf, USER, type OciMount, type Plan, type World } from "../contents/plan.ts";
import { makePlace, makeRoot } from "../contents/root.ts";
import { HANDED_ON, insideScript } from "../inside/first-process.ts";
import { firstInside } from "../inspection.ts";
import {
  bindArg,
  engineUnavailable,
  leftOver,
  makeEngineWorld,
  ownMounts,
  record,
  runArgs,
  tmpfsArg,
  type EngineWorld,
} from "./engine.ts";
import type { Survivor } from "../../../linux/survivor.ts";
import { startGuard } from "./guard.ts";
import { ask, placeOf, type Answer } from "./programs.ts";
import { explain } from "./refusals.ts";
import { PATH, type Command, type Order, type Run, type Runtime } from "./runtime.ts";

/** The first that has all flags that are used here: 4.1 of May 2022. */
const VERSION_MIN = [4, 1];
const FORGET_TIMEOUT_MS = 30_000;
const MONITOR_TIMEOUT_MS = 10_000;
const PAUSE_MS = 5;

/** One for each runtime that it can be used with, best first; or why it will not do. `folder`: for its books. */
export async function findPodman(folder: string): Promise<readonly Runtime[] | string> {
  const path = placeOf("podman");
  if (path === undefined) return "podman is not installed";
  if (process.env.CONTAINER_HOST !== undefined)
    return `podman would hand the container to the service at CONTAINER_HOST (${process.env.CONTAINER_HOST}), which cannot be given its streams. Unset it`;
  const answer = await askVersion(path);
  if ("failed" in answer) return `podman does not answer (${answer.failed})`;
  const [major = 0, minor = 0] = /(\d+)\.(\d+)/.exec(answer.said)?.slice(1).map(Number) ?? [];
  const [majorMin = 0, minorMin = 0] = VERSION_MIN;
  if (major < majorMin || (major === majorMin && minor < minorMin))
    return `${answer.said} is too old: install podman ${VERSION_MIN.join(".")} or later`;
  const runtimes = ["runc", "crun"].flatMap((name) => placeOf(name) ?? []);
  if (runtimes.length === 0) return "podman has neither runc nor crun here: install one (the package `crun`)";
  const monitor = await versionOf(placeOf("conmon"));
  return Promise.all(
    runtimes.map(async (runtime) => {
      const version = `${answer.said} with ${runtime} (${await versionOf(runtime)}) and ${monitor}`;
      return new Podman(path, version, { runtime, folder });
    }),
  );
}

/** Without root it makes folders of its own, whatever it is asked: in a place that goes again, and not among the user's. */
export async function askVersion(path: string): Promise<Answer> {
  if (isRoot()) return ask(path, ["--version"]);
  const home = mkdtempSync(join(tmpdir(), "reeve-podman-"));
  try {
    return await ask(path, ["--version"], { env: { HOME: home, XDG_RUNTIME_DIR: home } });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** As it tells it, in a line; empty where it does not. */
async function versionOf(path: string | undefined): Promise<string> {
  const answer = path === undefined ? undefined : await ask(path, ["--version"]);
  return answer !== undefined && "said" in answer ? answer.said.replaceAll("\n", ", ") : "";
}

type Shared = EngineWorld & { readonly env: Readonly<Record<string, string>>; readonly global: readonly string[] };

class Podman implements Runtime {
  readonly kind = "podman";
  readonly version: string;
  readonly carrier = "descriptors";
  readonly ownUsers = isRoot() ? 2 : 0;
  readonly hasGroups = true;
  readonly isKilled = false;
  readonly counted = { start: { processes: 1, bytes: 0 }, processes: 1 };
  readonly #path: string;
  readonly #runtime: string;
  readonly #books: string;
  /** For what goes with the machine's next start. Its path must be short. */
  readonly #volatile: string;
  #shared: Shared | undefined;
  #guard: Survivor | undefined;

  constructor(path: string, version: string, { runtime, folder }: { runtime: string; folder: string }) {
    this.#path = path;
    this.version = version;
    this.#runtime = runtime;
    this.#books = join(folder, "podman");
    const mark = createHash("sha256").update(folder).digest("hex").slice(0, 16);
    this.#volatile = join(isRoot() ? "/run" : runtimeFolder(), `reeve-${mark}`);
  }

  facts(world: World, sample: Plan): object {
    const engine: EngineWorld = { entries: [], etc: "/etc", sys: "/sys", seccompFile: "", hasImage: false };
    const order = { id: "1", folder: "/", plan: sample };
    return { path: this.#path, seccomp: world.seccomp, args: podmanArgs(order, engine) };
  }

  async ready(world: World, { name: run, folder }: Run): Promise<void> {
    for (const path of [this.#books, this.#volatile]) makeOwn(path);
    const at = (name: string): string => join(this.#books, name);
    const settings: Readonly<Record<string, string>> = {
      "containers.conf": toml("engine", {
        cgroup_manager: "cgroupfs",
        events_logger: "none",
        lock_type: "file",
        tmp_dir: join(this.#volatile, "tmp"),
        runtime: this.#runtime,
      }),
      "storage.conf": toml("storage", {
        driver: "vfs",
        graphroot: at("store"),
        runroot: join(this.#volatile, "run"),
      }),
      // Distributions have podman show secrets of the machine in every container.
      "mounts.conf": "",
    };
    for (const [name, text] of Object.entries(settings)) writeFileSync(at(name), text, { mode: 0o600 });
    this.#shared = {
      ...makeEngineWorld(world, folder),
      env: {
        ...{ PATH, CONTAINERS_CONF: at("containers.conf"), CONTAINERS_STORAGE_CONF: at("storage.conf") },
        // Without root it keeps more there, of its own.
        ...(isRoot() ? {} : { HOME: this.#books, XDG_RUNTIME_DIR: this.#volatile }),
      },
      global: ["--runtime", this.#runtime, "--default-mounts-file", at("mounts.conf")],
    };
    const listed = await this.#ask("ps", "--all", "--format", "{{.Names}}");
    if ("failed" in listed) throw engineUnavailable("podman does not tell its containers", explain(this, listed.log));
    for (const name of leftOver(listed.said)) await this.#remove(name);
    if (!isRoot()) this.#guard = this.#guardOver(run);
  }

  /** Without root no group holds what runs, and so no watchdog ends it. */
  #guardOver(run: string): Survivor {
    const { env, global } = this.#known;
    const podman = [this.#path, ...global];
    return startGuard(
      {
        list: [...podman, "ps", "--all", "--quiet", "--filter", `name=^${run}`],
        remove: [...podman, "rm", "--force", "--ignore", "--time", "0"],
        last: this.#keeper,
      },
      env,
    );
  }

  commandOf(order: Order): Command {
    const { entries, env, global, ...rest } = this.#known;
    const root = join(order.folder, "rootfs");
    makeRoot(root, entries, order.plan.mounts);
    // The engine is nobody in the container as well.
    makePlace(root, "/run/.containerenv", false);
    const args = podmanArgs(order, { entries, ...rest });
    const inside = insideScript(order.plan.command, order.plan);
    return { argv: [this.#path, ...global, ...args, "--rootfs", root, ...inside], env, groups: [] };
  }

  async restored(): Promise<boolean> {
    return false;
  }

  async firstOf({ folder }: Order): Promise<number | undefined> {
    return firstInside([Number(read(pidFile(folder)))]);
  }

  async forget({ id, folder }: Order, inOrder: boolean): Promise<void> {
    if (!inOrder) await this.#remove(id);
    await goneMonitor(Number(read(monitorFile(folder))));
  }

  async close(): Promise<void> {
    await this.#guard?.close();
    // Without root some of it belongs to subordinate users, and a process of podman's keeps their namespace from one container to the next.
    if (!isRoot() && this.#shared !== undefined)
      await this.#ask("unshare", "rm", "-rf", join(this.#books, "store"), join(this.#volatile, "run"));
    const keeper = Number(read(this.#keeper));
    if (keeper > 0 && read(`/proc/${keeper}/comm`).startsWith("podman")) process.kill(keeper, "SIGKILL");
    for (const path of [this.#books, this.#volatile]) rmSync(path, { recursive: true, force: true });
  }

  async #remove(name: string): Promise<void> {
    const removed = await this.#ask("rm", "--force", "--ignore", "--time", "0", name);
    if ("failed" in removed) throw engineUnavailable(`podman does not remove the container ${name}`, removed.failed);
  }

  #ask(...args: string[]): Promise<Answer> {
    const { env, global } = this.#known;
    return ask(this.#path, [...global, ...args], { env, timeoutMs: FORGET_TIMEOUT_MS });
  }

  /** Where the number of that process stands. */
  get #keeper(): string {
    return join(this.#volatile, "tmp", "pause.pid");
  }

  get #known(): Shared {
    if (this.#shared === undefined) throw new Error("a runtime is made ready before its first container");
    return this.#shared;
  }
}

const isRoot = (): boolean => process.geteuid?.() === 0;

/** The user's own, where the environment names one: `su` leaves in it that of another user, and a user without a session has none. */
export function runtimeFolder(named = process.env.XDG_RUNTIME_DIR): string {
  try {
    if (named !== undefined && statSync(named).uid === process.geteuid?.()) return named;
  } catch {
    // Not there, or closed to this user.
  }
  return "/tmp";
}

/** A folder that nobody else may look into, also where others may make folders. */
function makeOwn(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(path);
  if (uid !== process.geteuid?.() || (mode & 0o077) !== 0)
    throw engineUnavailable("podman has no place for what it keeps", `${path} is not Reeve's alone. Remove it`);
}

const pidFile = (folder: string): string => join(folder, "pid");
const monitorFile = (folder: string): string => join(folder, "monitor");

/** Up to the root and the command. */
export function podmanArgs(order: Omit<Order, "group">, world: EngineWorld): string[] {
  const { plan, folder } = order;
  // Without root users are numbered as podman has them: Reeve's own, and then those that are subordinate to it.
  const { root, job } = isRoot() ? plan.ids : { root: 1, job: 0 };
  const mounts = [...mountsOf(plan, world.entries, USER), ...ownMounts(world)];
  return [
    ...runArgs(order, world),
    ...["--preserve-fds", String(HANDED_ON), "--cgroups", "no-conmon", "--sdnotify", "ignore", "--systemd", "false"],
    ...["--read-only-tmpfs=false", "--no-hosts", "--passwd=false", "--http-proxy=false", "--unsetenv-all"],
    ...["uidmap", "gidmap"].flatMap((map) => [`--${map}`, `0:${root}:1`, `--${map}`, `${USER}:${job}:1`]),
    ...["--user", `${USER}:${USER}`, "--security-opt", `mask=${MASKED.join(":")}`],
    ...["--pidfile", pidFile(folder), "--conmon-pidfile", monitorFile(folder)],
    ...mounts.flatMap((mount) => (mount.type === "bind" ? bindArg(mount, ["nosuid", "nodev"]) : scratchArg(mount))),
  ];
}

/** Its short form knows no owner. */
function scratchArg(mount: OciMount): string[] {
  if (!mount.options.includes(`uid=${USER}`)) return tmpfsArg(mount);
  const size = mount.options.find((option) => option.startsWith("size="))?.slice("size=".length);
  const mode = mount.options.find((option) => option.startsWith("mode="))?.slice("mode=".length);
  const fields = [`tmpfs-size=${size}`, `tmpfs-mode=${mode}`, "chown=true"];
  return ["--mount", record(["type=tmpfs", `destination=${mount.destination}`, ...fields])];
}

const toml = (section: string, values: Readonly<Record<string, string>>): string =>
  [`[${section}]`, ...Object.entries(values).map(([name, value]) => `${name} = ${JSON.stringify(value)}`), ""].join(
    "\n",
  );

/** Empty where it is not there: the engine did not come so far. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Who watches over a container ends a moment after it. */
async function goneMonitor(pid: number): Promise<void> {
  for (let waitedMs = 0; isMonitor(pid) && waitedMs < MONITOR_TIMEOUT_MS; waitedMs += PAUSE_MS) await after(PAUSE_MS);
}

/** One that is dead and not yet taken notice of by its parent is gone. */
const isMonitor = (pid: number): boolean =>
  pid > 0 && /^Name:\s+conmon\b[^]*^State:\s+[^ZX]/m.test(read(`/proc/${pid}/status`));
