// The peers are installed on first use, into bench/node_modules, so that the product's own installation stays small.
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { Missing } from "./benchmark.ts";

const modifiedMs = (name: string): number | undefined =>
  statSync(new URL(name, import.meta.url), { throwIfNoEntry: false })?.mtimeMs;

function isCurrent(): boolean {
  const installedMs = modifiedMs("node_modules/.package-lock.json");
  const lockedMs = modifiedMs("package-lock.json");
  return installedMs !== undefined && lockedMs !== undefined && installedMs >= lockedMs;
}

/** Installs what bench/package-lock.json names, unless that was done. Throws `Missing` with the command to type if it fails. */
export function ensurePeers(): void {
  if (isCurrent()) return;
  console.error("Installing the peers to measure against (npm ci in bench/, about 330 MB, once) …");
  // No package here needs its install scripts: native parts are shipped ready made.
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0)
    throw new Missing(
      "The peers could not be installed. See above; then try again, or type: cd bench && npm ci --ignore-scripts",
    );
}
