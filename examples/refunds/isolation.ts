// Where the shop's server runs: in a sandbox where this machine can make one, with your rights where it cannot.
//
// Reeve never falls back by itself: what asks for a sandbox that is not to be had is refused. That this example runs on a bare
// machine too is its own choice, and it says so.
import { spawnSync } from "node:child_process";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Whether bubblewrap is here and may make namespaces. */
function canSandbox(): boolean {
  if (process.platform !== "linux") return false;
  const { status } = spawnSync("bwrap", ["--unshare-all", "--ro-bind", "/", "/", "true"], { stdio: "ignore" });
  return status === 0;
}

export const chooseIsolation = (): "process" | "none" => (canSandbox() ? "process" : "none");

/** Opens the shop's folder to the server: where Reeve runs as root, sandboxes run under user ids of their own. */
export function admit(folder: string): void {
  if (process.getuid?.() !== 0) return;
  chmodSync(folder, 0o777);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) admit(path);
    else chmodSync(path, 0o666);
  }
}
