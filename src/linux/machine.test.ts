// Goal: a verdict of the self-test holds for the machine that it was made on. Method: fingerprints of one machine, and of others.
import { expect, test } from "vitest";
import type { Layout } from "./cgroup-layout.ts";
import { fingerprintOf } from "./machine.ts";

test("a fingerprint is another one for other facts of the driver, and for other groups of the machine", () => {
  const layout = (...duties: ("memory" | "pids")[]): Layout =>
    ({
      hierarchies: [{ version: 2, folder: "/sys/fs/cgroup", duties: new Set(duties) }],
      lacks: {},
    }) as unknown as Layout;
  const own = fingerprintOf({ driver: 1 }, layout("memory", "pids"));
  expect(fingerprintOf({ driver: 1 }, layout("pids", "memory"))).toBe(own);
  for (const other of [
    fingerprintOf({ driver: 2 }, layout("memory", "pids")),
    fingerprintOf({ driver: 1 }, layout("memory")),
    fingerprintOf({ driver: 1 }, { ...layout("memory", "pids"), hierarchies: [] }),
  ])
    expect(other).not.toBe(own);
});
