// Goal: a sandbox without control groups is over when nothing of it lives, and not before. Method: a child whose own child is dead, or lives,
// and whose status nobody takes, as on a machine whose first process does not.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { needs } from "../../test/needs.ts";
import { LooseBounds } from "./loose-bounds.ts";

const started: ChildProcess[] = [];
afterEach(() => started.splice(0).forEach((child) => child.kill("SIGKILL")));

const stateOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "")[0] ?? "";

/** The bounds of a child that takes no status, and its first child; told to end, `kill` is done to that one. */
async function familyOf(kill: (first: number) => void): Promise<{ bounds: LooseBounds; first: number }> {
  const parent = spawn("/bin/sh", ["-c", "sleep 1000 & echo $!; exec sleep 1000"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  started.push(parent);
  const [said] = (await once(parent.stdout, "data")) as [Buffer];
  const first = Number(said.toString());
  const child = { pid: parent.pid, exitCode: null, signalCode: null, kill: () => kill(first) };
  return { bounds: new LooseBounds(child as unknown as ChildProcess), first };
}

needs("Linux", process.platform === "linux")("the bounds of a sandbox without control groups", () => {
  it("do not wait for somebody to take the status of what is dead", async () => {
    const { bounds, first } = await familyOf((pid) => process.kill(pid, "SIGKILL"));
    await bounds.remove();
    expect(stateOf(first)).toBe("Z");
  });

  it("wait for what lives", async () => {
    const { bounds, first } = await familyOf(() => {});
    let over = false;
    const removed = bounds.remove().then(() => (over = true));
    for (let turns = 0; turns < 100; turns += 1) await turn();
    expect(over).toBe(false);
    process.kill(first, "SIGKILL");
    await removed;
    expect(stateOf(first)).toBe("Z");
  });
});
