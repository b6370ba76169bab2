// What is left of sandboxes two seconds after their server was killed, which had no time to tidy up: processes, mounts, control
// groups, sockets. Counted against how it was before the server was started.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";

const AFTER_MS = 2_000;
const GROUP = /^reeve-\d+-(\d+)-/;

type Count = {
  readonly processes: number;
  readonly mounts: number;
  readonly cgroups: number;
  readonly sockets: number;
};

/** What tells a process from every other: its id, and when it was started. */
type Life = { readonly pid: number; readonly parent: number; readonly started: string; readonly isDead: boolean };

function lifeOf(pid: number): Life | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { pid, parent: Number(fields[1]), started: fields[19] ?? "", isDead: fields[0] === "Z" };
  } catch {
    // It is over.
    return undefined;
  }
}

/** Everything that the server has started, directly or not. Inside a sandbox nothing can leave that line. */
function descendants(server: number): Life[] {
  const lives = readdirSync("/proc")
    .map(Number)
    .filter(Number.isInteger)
    .flatMap((pid) => lifeOf(pid) ?? []);
  const found: Life[] = lives.filter(({ parent }) => parent === server);
  for (const one of found) found.push(...lives.filter(({ parent }) => parent === one.pid));
  return found;
}

const still = (lives: readonly Life[]): Life[] =>
  lives.flatMap(({ pid, started }) => {
    const now = lifeOf(pid);
    return now?.started === started ? now : [];
  });

/** Dead, and the machine's first process, whose children orphans become, has not yet taken notice. */
const isUncollected = ({ isDead, parent }: Life): boolean => isDead && parent === 1;

const mounts = (folder: string): number =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(folder)).length;

/** Groups of the server's run, in all hierarchies. */
function cgroups(server: number): number {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "");
  return points.reduce((sum, point) => sum + groupsBelow(point, server), 0);
}

function groupsBelow(folder: string, server: number): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .reduce((sum, { name }) => {
      const path = join(folder, name);
      if (GROUP.exec(name)?.[1] !== String(server)) return sum + groupsBelow(path, server);
      return sum + 1 + readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()).length;
    }, 0);
}

const sockets = (folder: string): number =>
  readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    .filter((line) => line.includes(folder)).length + socketFiles(folder);

const socketFiles = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isSocket()).length;

async function measure(context: Context): Promise<Result> {
  const count = countOption(context, "sandboxes");
  const folder = await context.scratch.folder("server");
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, "..", "sandbox-host.ts"), join(folder, "sandbox"), String(count)],
    { stdio: ["ignore", "pipe", "inherit"], env: {} },
  );
  context.scratch.defer(() => void child.kill("SIGKILL"));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  let pids: readonly number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    pids = (JSON.parse(line) as { pids: number[] }).pids;
    break;
  }
  const server = child.pid ?? 0;
  const started = descendants(server);
  // Of one reading: the machine's first process collects what is dead at any moment.
  const countOf = (lives: readonly Life[]): Count => ({
    processes: lives.filter((one) => !isUncollected(one)).length,
    mounts: mounts(folder),
    cgroups: cgroups(server),
    sockets: sockets(folder),
  });
  const during = countOf(still(started));
  child.kill("SIGKILL");
  await gone;
  await delay(AFTER_MS);
  const left = still(started);
  const after = countOf(left);
  const waiting = left.filter(isUncollected).length;
  const notes = [
    ...(pids.length === count ? [] : [`Only ${pids.length} of ${count} sandboxes came to run.`]),
    ...(waiting === 0
      ? []
      : [`${waiting} dead processes wait for the machine's init to collect them; they are not counted.`]),
  ];
  const row = (name: keyof Count): string[] => [name, String(during[name]), String(after[name])];
  return {
    measures: { ...after },
    tables: [
      {
        title: `${pids.length} sandboxes, and two seconds after the end of their server`,
        columns: ["", "while it ran", "afterwards"],
        rows: [row("processes"), row("mounts"), row("cgroups"), row("sockets")],
      },
    ],
    notes,
  };
}

export const leftovers: Benchmark = {
  name: "leftovers",
  doc: "Processes, mounts, control groups and sockets left two seconds after a server with sandboxes was killed",
  options: { sandboxes: { default: "50", doc: "that run when it is killed" } },
  run: measure,
};
