// What a survivor (survivor.ts) does for sandboxes in control groups: it kills what is left in these, and removes them, and a folder of
// files that belong to this run.
import type { Groups } from "./cgroup.ts";
import { Survivor } from "./survivor.ts";

// The first argument is a folder to remove as well, or empty; the others are the roots. A process that is on its way into a group while the others die is met by the next round.
const SCRIPT = `
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

/** `groups`: those of this run. */
export function startWatchdog(groups: Groups | undefined, folder: string): Survivor {
  const args = [folder, ...(groups?.roots ?? [])];
  const watchdog = new Survivor({ name: "reeve-watchdog", script: SCRIPT, args, env: { PATH: "/usr/bin:/bin" } });
  if (watchdog.pid !== undefined) groups?.setApart(watchdog.pid);
  return watchdog;
}
