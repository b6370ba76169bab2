// runc and crun: runtimes without an engine. Each is handed a bundle, and is the only one that knows of its container.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Plan, World } from "../contents/plan.ts";
import { HANDED_ON } from "../inside/first-process.ts";
import { firstInside } from "../inspection.ts";
import { logOf } from "../launch.ts";
import { makeBundle, sampleConfig } from "./bundle.ts";
import { ask, placeOf } from "./programs.ts";
import { PATH, type Command, type Order, type Run, type Runtime } from "./runtime.ts";

const MEBIBYTE = 1024 * 1024;
/** What a runtime needs inside the group until it becomes the job: threads, and memory. */
const START = { processes: 64, bytes: 64 * MEBIBYTE };

/** The runtime, or why it will not do. */
export async function findBareRuntime(kind: "runc" | "crun"): Promise<readonly [Runtime] | string> {
  const path = placeOf(kind);
  if (path === undefined) return `${kind} is not installed`;
  if (process.geteuid?.() !== 0)
    return `${kind} needs root to give each container user ids of its own, and Reeve does not run as root`;
  if (placeOf("setpriv") === undefined)
    return `${kind} would outlive Reeve, since setpriv is not installed (Debian, Ubuntu, Fedora: the package \`util-linux\`)`;
  const [answer, help] = await Promise.all([ask(path, ["--version"]), ask(path, ["run", "--help"])]);
  if ("failed" in answer) return `${kind} does not answer (${answer.failed})`;
  const version = answer.said.replaceAll("\n", ", ");
  const needed = kind === "runc" ? ["--keep", "--preserve-fds"] : ["--preserve-fds"];
  const missing = needed.filter((option) => !("said" in help && help.said.includes(option)));
  if (missing.length > 0)
    return `${version} does not know ${missing.join(", ")}: install runc 1.1 or later, or crun 1.0 or later`;
  return [new BareRuntime(kind, path, version)];
}

class BareRuntime implements Runtime {
  readonly kind: "runc" | "crun";
  readonly version: string;
  readonly carrier = "descriptors";
  readonly ownUsers = 2;
  readonly hasGroups = false;
  readonly isKilled = true;
  readonly counted: Runtime["counted"];
  readonly #path: string;
  #shared: { readonly world: World; readonly state: string } | undefined;

  constructor(kind: "runc" | "crun", path: string, version: string) {
    this.kind = kind;
    this.version = version;
    this.#path = path;
    // crun stands in the group of its container, which it was led into.
    this.counted = { start: START, processes: kind === "crun" ? 2 : 1 };
  }

  facts(world: World, sample: Plan): object {
    return { path: this.#path, config: sampleConfig(world, sample) };
  }

  async ready(world: World, { folder }: Run): Promise<void> {
    const state = join(folder, "state");
    mkdirSync(state, { recursive: true });
    this.#shared = { world, state };
  }

  /** `--keep`: its control group is read, and removed, after its end. */
  commandOf(order: Order): Command {
    const { world, state } = this.#known;
    const { id, folder, group } = order;
    const isNested = this.kind === "crun";
    const bundle = join(folder, "bundle");
    makeBundle(bundle, world, order.plan, isNested ? undefined : group.path);
    return {
      argv: [
        ...(["setpriv", "--pdeathsig", "KILL", "--", this.#path] as const),
        ...["--root", state, "--log", logOf(folder), "--log-format", "json"],
        ...(isNested ? ["--cgroup-manager=disabled", "run"] : ["run", "--keep"]),
        ...["--preserve-fds", String(HANDED_ON), "--bundle", bundle, id],
      ],
      env: { PATH },
      groups: isNested ? group.folders : [],
    };
  }

  async restored(): Promise<boolean> {
    return false;
  }

  async firstOf({ group }: Order): Promise<number | undefined> {
    return firstInside(group.pids());
  }

  async forget({ id }: Order): Promise<void> {
    rmSync(join(this.#known.state, id), { recursive: true, force: true });
  }

  async close(): Promise<void> {}

  get #known(): { readonly world: World; readonly state: string } {
    if (this.#shared === undefined) throw new Error("a runtime is made ready before its first container");
    return this.#shared;
  }
}
