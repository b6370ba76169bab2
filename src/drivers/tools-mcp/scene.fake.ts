// What tests of MCP servers hand to the driver: real sandboxes where the machine has bubblewrap, a door that stays shut, and the
// processes of a server as the machine sees them, in whatever namespace they live.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sandboxLimitsSchema } from "../../abi/isolation.ts";
import type { DoorSpec, Egress } from "../../ports/egress.ts";
import type { Sandbox, SelfTestReport } from "../../ports/sandbox.ts";
import { createSandboxes } from "../../tools/sandboxes.ts";
import { createEgress } from "../egress-proxy/egress.ts";
import { openEntries } from "../program-module/grants.ts";
import { createBubblewrap } from "../sandbox-bubblewrap/sandbox.ts";
import { systemClock } from "../system/clock.ts";
import type { McpDeps } from "./connection.ts";

/** Sandboxes of native code can be had here: a Linux with bubblewrap. */
export const HAS_BUBBLEWRAP = process.platform === "linux" && spawnSync("bwrap", ["--version"]).status === 0;

export type Logged = {
  readonly owner: string;
  readonly kind: "requested" | "ended";
  readonly event: Readonly<Record<string, unknown>>;
};

export type Scene = {
  readonly deps: McpDeps;
  /** Doors that were asked for. */
  readonly doors: DoorSpec[];
  readonly notices: string[];
  /** What stands in the log. */
  readonly logged: Logged[];
  close(): Promise<void>;
};

/** The self-test has a suite of its own. */
async function believed(sandbox: Sandbox): Promise<SelfTestReport> {
  const state = await sandbox.state();
  const { name: driver, level } = sandbox;
  return { driver, level, state, passed: state.posture !== "none", set: "quick", verdicts: [], tookMs: 0, atMs: 0 };
}

type More = Partial<McpDeps> & { readonly egress?: Egress };

export function openScene(folder: string, { egress: given, ...more }: More = {}): Scene {
  const own = mkdtempSync(join(tmpdir(), "reeve-scene-"));
  const driver = createBubblewrap({
    folder: own,
    uids: { from: 300_000, to: 301_000 },
    lasting: { file: join(own, "users.json"), range: { from: 301_001, to: 301_100 } },
  });
  const sandboxes = createSandboxes({
    drivers: [driver],
    selfTest: { run: believed },
    posture: "reduced",
    concurrency: 1,
    clock: systemClock,
  });
  const doors: DoorSpec[] = [];
  const notices: string[] = [];
  // What Reeve itself asks for goes the real way.
  const asking = createEgress({ secrets: {}, secretOf: () => undefined, folder: own });
  const logged: Logged[] = [];
  const egress: Egress = {
    open: async (spec) => {
      doors.push(spec);
      const door = mkdtempSync(join(own, "door-"));
      const close = async (): Promise<void> => rmSync(door, { recursive: true, force: true });
      return { folder: door, env: { DOOR: "open" }, wrap: (command) => command, mounts: [], close };
    },
    request: () => Promise.reject(new Error("nothing here asks by itself")),
    stream: (...asked) => asking.stream(...asked),
    close: () => asking.close(),
  };
  const sandboxing = {
    sandboxes,
    limits: sandboxLimitsSchema.parse({}),
    openEntries: (path: string) => openEntries(path, []),
    keptFolder: join(own, "kept"),
  };
  return {
    deps: {
      environment: process.env,
      folder,
      version: "0.0.0",
      sandboxing,
      egress: given ?? egress,
      log: (owner) => ({
        requested: async (event) => void logged.push({ owner, kind: "requested", event }),
        ended: async (event) => void logged.push({ owner, kind: "ended", event }),
      }),
      serverBytesMax: 2 ** 30,
      loginFolder: join(own, "oauth"),
      onNotice: (message) => void notices.push(message),
      ...more,
    },
    doors,
    notices,
    logged,
    close: async () => {
      await egress.close();
      await sandboxes.close();
      rmSync(own, { recursive: true, force: true });
    },
  };
}

/** Living processes of this machine that have `mark` on their command line. */
export function processesWith(mark: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const marked = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(mark);
        const alive = !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
        return marked && alive ? [Number(pid)] : [];
      } catch {
        // It is over.
        return [];
      }
    });
}
