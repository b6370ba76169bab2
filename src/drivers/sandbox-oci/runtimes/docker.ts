// docker: an engine that is a service. It hands on no descriptors, so the job's streams have names (pipes.ts); it maps no users for one
// container alone, so the job runs under a user of the machine that nobody else has.
//
// It starts nothing without an image: one is made here of a root with nothing in it, named by its content, and stays with the engine.
// Nothing is ever fetched.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { bind, mountsOf, USER, type Plan, type World } from "../contents/plan.ts";
import { rootParts } from "../contents/root.ts";
import { architecture } from "../host.ts";
import { connectorFor, CONNECTOR } from "../inside/connector.ts";
import { insideScript, PIPES_INSIDE } from "../inside/first-process.ts";
import { pipesFolder } from "../inside/pipes.ts";
import { firstInside } from "../inspection.ts";
import {
  bindArg,
  engineUnavailable,
  leftOver,
  makeEngineWorld,
  ownMounts,
  runArgs,
  tmpfsArg,
  type EngineWorld,
} from "./engine.ts";
import { ask, placeOf, type Answer, type AskOptions } from "./programs.ts";
import { PATH, type Command, type Order, type Run, type Runtime } from "./runtime.ts";
import { tarOf } from "./tar.ts";

/** Of docker 20.10, which has namespaces of control groups. */
const API_MIN = 41;
const ENGINE_TIMEOUT_MS = 30_000;
/** Between looks at a container that the engine removes by itself. */
const PAUSE_MS = 50;
const NAME = "reeve-sandbox";

/** What an engine tells of itself that a verdict depends on: where files are, who starts containers, and what holds them. */
const FACTS = ["Driver", "DefaultRuntime", "Runtimes", "CgroupDriver", "CgroupVersion", "SecurityOptions"];

type ServerVersion = {
  readonly Server?: { readonly Version?: string; readonly ApiVersion?: string; readonly Os?: string } | null;
};

/** The engine, or why it will not do. */
export async function findDocker(): Promise<readonly [Runtime] | string> {
  const path = placeOf("docker");
  if (path === undefined) return "docker is not installed";
  if (process.geteuid?.() !== 0)
    return "docker needs Reeve to run as root, to give each container a user id of its own and to hold its limits";
  const host = process.env.DOCKER_HOST;
  if (host !== undefined && !host.startsWith("unix://"))
    return `DOCKER_HOST (${host}) names an engine elsewhere, and sandboxes run on Reeve's own machine. Name a socket (unix://…), or unset it`;
  const answer = await ask(path, ["version", "--format", "{{json .}}"], { env: envOf(host) });
  if ("failed" in answer) return `docker is a client without an engine here (${answer.failed})`;
  const server = serverOf(answer.said);
  if (Number(server?.ApiVersion?.split(".")[1] ?? 0) < API_MIN || server?.Os !== "linux")
    return `the engine of docker (${server?.Version ?? "unknown"}) will not do: install docker 20.10 or later, for Linux`;
  const info = await ask(path, ["info", "--format", `[${FACTS.map((name) => `{{json .${name}}}`).join(",")}]`], {
    env: envOf(host),
  });
  if ("failed" in info) return `the engine of docker does not tell what it is (${info.failed})`;
  if (info.said.includes("name=rootless"))
    return "the engine of docker runs without root, and its limits cannot be held from outside. Use one that runs as root, or bubblewrap";
  // Its parts have versions of their own, and which of them it uses are settings.
  return [new Docker(path, `docker ${JSON.stringify(server)} ${info.said}`, envOf(host))];
}

/** Undefined for what is no engine of docker, whatever it calls itself. */
function serverOf(said: string): ServerVersion["Server"] {
  try {
    return (JSON.parse(said) as ServerVersion).Server;
  } catch {
    // Its words are not those of docker, which is the answer.
    return undefined;
  }
}

/** Nothing of Reeve's own environment but the engine's address. */
const envOf = (host: string | undefined): Readonly<Record<string, string>> => ({
  PATH,
  // No settings of a user's: they may name another engine, or put proxies into containers.
  DOCKER_CONFIG: "/nonexistent",
  ...(host === undefined ? {} : { DOCKER_HOST: host }),
});

/** A root with nothing in it, and the archive that it is made of. */
type Image = { readonly image: string; readonly tar: Uint8Array };

class Docker implements Runtime {
  readonly kind = "docker";
  readonly version: string;
  readonly carrier = "pipes";
  readonly ownUsers = 1;
  readonly hasGroups = true;
  readonly isKilled = false;
  readonly counted = { start: { processes: 1, bytes: 0 }, processes: 1 };
  readonly #path: string;
  readonly #env: Readonly<Record<string, string>>;
  #shared: (EngineWorld & Image) | undefined;

  constructor(path: string, version: string, env: Readonly<Record<string, string>>) {
    this.#path = path;
    this.version = version;
    this.#env = env;
  }

  facts(world: World, sample: Plan): object {
    const engine: EngineWorld = { entries: [], etc: "/etc", sys: "/sys", seccompFile: "", hasImage: false };
    const order = { id: "1", folder: "/", plan: sample };
    return { path: this.#path, seccomp: world.seccomp, args: dockerArgs(order, engine) };
  }

  async ready(world: World, { folder }: Run): Promise<void> {
    const engine = makeEngineWorld(world, folder);
    const tar = tarOf(rootParts(engine.entries));
    const image = `${NAME}:${createHash("sha256").update(tar).digest("hex").slice(0, 32)}`;
    this.#shared = { ...engine, image, tar };
    if ("failed" in (await this.#ask(["image", "inspect", "--format", "{{.Id}}", image]))) await this.#import();
    const listed = await this.#ask(["ps", "--all", "--filter", "name=reeve-", "--format", "{{.Names}}"]);
    if ("failed" in listed) throw engineUnavailable("docker does not tell its containers", listed.failed);
    for (const name of leftOver(listed.said)) await this.#remove(name);
  }

  commandOf(order: Order): Command {
    const { image, ...engine } = this.#known;
    const { plan, folder } = order;
    const inside = insideScript(plan.command, plan);
    if (!engine.hasImage)
      for (const name of NAMES_OF_USERS) writeFileSync(join(folder, name), named(join(engine.etc, name), plan.ids.job));
    const connector = plan.channel ? [`${PIPES_INSIDE}/${CONNECTOR}`] : [];
    if (plan.channel)
      writeFileSync(join(pipesFolder(folder), CONNECTOR), connectorFor(architecture()), { mode: 0o755 });
    return {
      argv: [this.#path, ...dockerArgs(order, engine), image, ...connector, ...inside],
      env: this.#env,
      groups: [],
    };
  }

  /** Whoever makes room on a machine removes images that no container uses. */
  async restored(said: string): Promise<boolean> {
    if (!/No such image|Unable to find image/i.test(said)) return false;
    await this.#import();
    return true;
  }

  async firstOf({ id }: Order): Promise<number | undefined> {
    const told = await this.#ask(["inspect", "--type", "container", "--format", "{{.State.Pid}}", id]);
    return "failed" in told ? undefined : firstInside([Number(told.said)]);
  }

  async forget({ id }: Order, inOrder: boolean): Promise<void> {
    if (!inOrder) await this.#remove(id);
  }

  async close(): Promise<void> {}

  async #import(): Promise<void> {
    const { image, tar } = this.#known;
    const made = await this.#ask(["import", "-", image], { input: tar });
    if ("failed" in made) throw engineUnavailable("docker does not take the image of an empty root", made.failed);
  }

  async #remove(name: string): Promise<void> {
    const removed = await this.#ask(["rm", "--force", "--volumes", name]);
    if ("said" in removed || isGone(removed.failed)) return;
    if (!/already in progress/i.test(removed.failed))
      throw engineUnavailable(`docker does not remove the container ${name}`, removed.failed);
    for (let waitedMs = 0; waitedMs < ENGINE_TIMEOUT_MS; waitedMs += PAUSE_MS) {
      const found = await this.#ask(["inspect", "--type", "container", "--format", "{{.State.Status}}", name]);
      if ("failed" in found) return;
      await after(PAUSE_MS);
    }
  }

  #ask(args: readonly string[], options: Omit<AskOptions, "env" | "timeoutMs"> = {}): Promise<Answer> {
    return ask(this.#path, args, { ...options, env: this.#env, timeoutMs: ENGINE_TIMEOUT_MS });
  }

  get #known(): EngineWorld & Image {
    if (this.#shared === undefined) throw new Error("a runtime is made ready before its first container");
    return this.#shared;
  }
}

const isGone = (refusal: string): boolean => /No such container/i.test(refusal);

/** Where programs look up what a user is called. */
const NAMES_OF_USERS = ["passwd", "group"];

/** The same file, in which the sandbox's user has the number that it has here. */
const named = (file: string, user: number): string =>
  readFileSync(file, "utf8").replaceAll(new RegExp(`\\b${USER}\\b`, "g"), String(user));

/** Up to the image and the command. */
export function dockerArgs(order: Omit<Order, "group">, world: EngineWorld): string[] {
  const { plan, folder } = order;
  const { job } = plan.ids;
  const mounts = [
    ...mountsOf(plan, world.entries, job),
    ...ownMounts(world),
    ...(world.hasImage ? [] : NAMES_OF_USERS.map((name) => bind(join(folder, name), `/etc/${name}`, "read"))),
    bind(pipesFolder(folder), PIPES_INSIDE, "read"),
  ];
  return [
    ...runArgs(order, world),
    // Whatever the engine maps for all: the user is named as the machine knows it.
    ...["--userns", "host", "--user", `${job}:${job}`],
    ...mounts.flatMap((mount) => (mount.type === "bind" ? bindArg(mount, []) : tmpfsArg(mount))),
  ];
}
