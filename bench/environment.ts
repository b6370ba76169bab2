// Where a benchmark ran: what a reader must know to compare figures.
import { execFileSync } from "node:child_process";
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import { quantile } from "./statistics.ts";

const SYNC_SAMPLES = 200;

export type Environment = Readonly<Record<string, string | number>>;

/** The type of the file system that holds a folder, with what it is on; "unknown" where the system does not say. */
function filesystemOf(folder: string): string {
  if (platform() !== "linux") return "unknown";
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  const holding = mounts.filter(
    ([, point]) => point !== undefined && (folder === point || point === "/" || folder.startsWith(`${point}/`)),
  );
  const nearest = holding.toSorted((a, b) => (b[1]?.length ?? 0) - (a[1]?.length ?? 0))[0];
  return nearest === undefined ? "unknown" : `${nearest[2] ?? "?"} on ${nearest[0] ?? "?"}`;
}

/** Milliseconds that an append of 1 KB with fdatasync takes, as each of the samples. */
function syncTimes(folder: string): number[] {
  const file = join(folder, "sync-probe");
  const handle = openSync(file, "w");
  const block = Buffer.alloc(1024, "x");
  const samplesMs: number[] = [];
  for (let at = 0; at < SYNC_SAMPLES; at += 1) {
    const fromMs = performance.now();
    writeSync(handle, block);
    fdatasyncSync(handle);
    samplesMs.push(performance.now() - fromMs);
  }
  closeSync(handle);
  rmSync(file);
  return samplesMs;
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, {
        cwd: import.meta.dirname,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
    return `${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain") === "" ? "" : " with changes"}`;
  } catch {
    // A copy without its history has no commit to name.
    return "unknown";
  }
}

const rounded = (value: number): number => Number(value.toPrecision(3));

/** `folder` is where the benchmark puts its data. */
export function describeEnvironment(folder: string): Environment {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const samplesMs = syncTimes(folder);
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memory_gb: rounded(totalmem() / 2 ** 30),
    load_1min: rounded(loadavg()[0] ?? 0),
    node: process.version,
    kernel: `${platform()} ${release()} ${arch()}`,
    filesystem: filesystemOf(folder),
    fdatasync_p50_ms: rounded(quantile(samplesMs, 0.5)),
    fdatasync_p99_ms: rounded(quantile(samplesMs, 0.99)),
    reeve: version,
    commit: commit(),
  };
}

/** What makes the durability of anything measured here meaningless, or null. */
export function doubtOf(environment: Environment): string | null {
  const filesystem = String(environment["filesystem"]);
  if (/^(tmpfs|ramfs|overlay)/.test(filesystem))
    return `The data is on ${filesystem}, where a flush may be worth nothing: name a folder on a disk with --folder.`;
  if (Number(environment["fdatasync_p50_ms"]) < 0.02)
    return "A flush takes next to no time here: this disk may acknowledge what is not durable.";
  return null;
}
