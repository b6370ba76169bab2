// What outlives Reeve by a moment: a shell that waits for Reeve's end, kills what is left in its control groups, and removes these,
// and a folder of files that belong to this run.
//
// It holds one end of a pipe whose other end is Reeve's alone; the system closes that however Reeve ends.
import { spawn, type ChildProcess } from "node:child_process";

/** Written before an orderly end, after which nothing is left to do. */
const DONE = "done\n";

// The first argument is a folder to remove as well, or empty; the others are the roots. A process that is on its way into a group while the others die is met by the next round.
const SCRIPT = `
trap '' INT TERM HUP QUIT
read -r word
[ "$word" = done ] && exit 0
folder=$1
shift
[ -n "$folder" ] && rm -rf "$folder"
round=0
while [ $round -lt 200 ]; do
  left=
  for root; do
    [ -e "$root" ] || continue
    if [ -e "$root/cgroup.kill" ]; then echo 1 > "$root/cgroup.kill"; fi
    for group in "$root"/*/ "$root/"; do
      if [ -e "$root/cgroup.kill" ] || [ ! -e "$group" ]; then continue; fi
      if [ -e "$group/pids.max" ]; then echo 0 > "$group/pids.max"; fi
      while read -r pid; do kill -9 "$pid"; done < "$group/cgroup.procs"
    done
    rmdir "$root"/*/
    rmdir "$root" || left=1
  done
  [ -z "$left" ] && break
  round=$((round + 1))
  sleep 0.05
done
# What was being started when the others died may have written into it meanwhile.
[ -n "$folder" ] && rm -rf "$folder"
`;

export class Watchdog {
  readonly #process: ChildProcess;
  readonly #gone: Promise<void>;

  constructor(roots: readonly string[], folder: string) {
    this.#process = spawn("/bin/sh", ["-c", SCRIPT, "reeve-watchdog", folder, ...roots], {
      // A session of its own: signals of the terminal are not meant for it.
      detached: true,
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#gone = new Promise((resolve) => this.#process.once("close", () => resolve()));
    // A shell that cannot be started leaves the sweep of the next start; it must not end Reeve.
    this.#process.on("error", () => {});
    this.#process.stdin?.on("error", () => {});
    this.#process.unref();
    const stdin = this.#process.stdin as (NodeJS.WritableStream & { unref?: () => void }) | null;
    stdin?.unref?.();
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** After everything is removed. */
  async close(): Promise<void> {
    if (this.#process.pid === undefined) return;
    this.#process.ref();
    this.#process.stdin?.end(DONE);
    await this.#gone;
  }
}
