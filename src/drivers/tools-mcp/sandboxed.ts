// Starting a server's program in a sandbox.
//
// Invariants:
//   B1. What it sees is what visible.ts names, its way out is one door for as long as it lives, and its secrets are placeholders.
//   B2. A limit that ends it is named.
//   B3. What it has written is its own again at its next start, and no other server's.
import { mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import type { SourceConfig } from "../../abi/config.ts";
import {
  limitText,
  type LimitMet,
  placeholderOf,
  type SandboxLimits,
  type SandboxLimitsPart,
} from "../../abi/isolation.ts";
import type { Door, Egress } from "../../ports/egress.ts";
import type { SandboxExit, Sandboxes, SandboxProcess } from "../../ports/sandbox.ts";
import type { EgressNotes } from "../../ports/tools.ts";
import { fetchesInVain, OFFLINE } from "./fetching.ts";
import type { Launch, Program } from "./launch.ts";
import { unseenPaths, visibleTo } from "./visible.ts";

/** What servers in sandboxes are given by the rest of the system. */
export type Sandboxing = {
  readonly sandboxes: Sandboxes;
  /** What the configuration allows each sandbox; a source can only have less. */
  readonly limits: SandboxLimits;
  /** A folder's entries without dot files, the data folder and what else nobody inside may see. */
  readonly openEntries: (folder: string) => readonly string[];
  /** Where what servers keep lies, a folder for each; made when one keeps something. */
  readonly keptFolder: string;
};

export type SandboxedOptions = Sandboxing & {
  readonly egress: Egress;
  /** Through its door, over its life. */
  readonly bytesMax: number;
  readonly source: string;
  /** Where in the configuration its grants stand. */
  readonly key: string;
  readonly program: Program;
  /** Where commands are looked up on this machine. */
  readonly path: string;
  readonly grant: Omit<Extract<SourceConfig, { type: "mcp-stdio" }>["sandbox"], "read" | "write"> & {
    /** Absolute. */
    readonly read: readonly string[];
    readonly write: readonly string[];
  };
  readonly notes: EgressNotes;
};

/**
 * A server's life is not a call, which has a time of its own: how long it lives, computes and speaks is bounded only where the
 * source itself says so. The longest that a timer takes.
 */
const UNBOUNDED_MS = 2 ** 31 - 1;
const UNBOUNDED_BYTES = Number.MAX_SAFE_INTEGER;

const FIELDS: Readonly<Record<LimitMet, keyof SandboxLimits>> = {
  cpu: "cpuMs",
  memory: "memoryBytes",
  processes: "processes",
  disk: "diskBytes",
  wall: "wallMs",
  output: "outputBytes",
};

function limitsOf(limits: SandboxLimits, own: SandboxLimitsPart): SandboxLimits {
  const least = (name: "cpus" | "memoryBytes" | "processes" | "diskBytes"): number =>
    Math.min(limits[name], own[name] ?? limits[name]);
  return {
    cpus: least("cpus"),
    memoryBytes: least("memoryBytes"),
    processes: least("processes"),
    diskBytes: least("diskBytes"),
    cpuMs: own.cpuMs ?? UNBOUNDED_MS,
    wallMs: own.wallMs ?? UNBOUNDED_MS,
    outputBytes: own.outputBytes ?? UNBOUNDED_BYTES,
  };
}

function howItEnded(exit: SandboxExit, key: string): string {
  switch (exit.kind) {
    case "exited":
      return `exited with code ${exit.code}`;
    case "crashed":
      return `was ended by ${exit.signal}`;
    case "killed":
      return "was ended";
    case "limit":
      return `was ended: it ${limitText(exit.limit, exit.max)} (${key}.limits.${FIELDS[exit.limit]}, at most sandbox.limits.${FIELDS[exit.limit]})`;
  }
}

/** In a sandbox of the level `process`. */
export const inSandbox =
  (options: SandboxedOptions): Launch =>
  async (signal) => {
    const { source, key, program, grant, sandboxes, path, openEntries } = options;
    signal.throwIfAborted();
    const seen = visibleTo({ program, path, read: grant.read, write: grant.write, openEntries });
    const door = await openDoor(options);
    let started: SandboxProcess;
    try {
      signal.throwIfAborted();
      started = await sandboxes.start(
        {
          owner: `tools.${source}`,
          level: "process",
          command: [seen.command, ...program.args],
          ...(seen.cwd === undefined ? {} : { cwd: seen.cwd }),
          env: {
            PATH: seen.path,
            ...(fetchesInVain({ command: program.command, egress: grant.egress }) ? OFFLINE : {}),
            ...Object.fromEntries(grant.secrets.map((name) => [name, placeholderOf(name)])),
            ...program.env,
          },
          mounts: seen.mounts,
          workspace: grant.keep ? { folder: keptOf(options), quota: "none" } : undefined,
          limits: limitsOf(options.limits, grant.limits),
          lastingUser: `tools.${source}`,
          lasting: true,
          door,
        },
        { signal },
      );
    } catch (error) {
      await door?.close();
      throw error;
    }
    const unseen = unseenPaths(program, seen.mounts);
    const ended = started.exit.then(async (exit) => {
      await door?.close();
      const how = howItEnded(exit, key);
      if (exit.kind !== "exited" || unseen.length === 0) return how;
      return `${how}; it cannot see ${unseen.join(", ")} (${key}.read grants more)`;
    });
    const kill = (): void => void started.kill();
    return {
      pid: started.pid,
      stdin: started.stdin as Writable,
      stdout: started.stdout as Readable,
      stderr: started.stderr as Readable,
      ended,
      ask: kill,
      kill,
    };
  };

/** Made at the first start; the sandbox gives it to the server's user. */
function keptOf({ keptFolder, source }: SandboxedOptions): string {
  const folder = join(keptFolder, source);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return realpathSync(folder);
}

async function openDoor({ source, grant, egress, notes, bytesMax }: SandboxedOptions): Promise<Door | undefined> {
  if (grant.egress.length === 0) return undefined;
  const { egress: rules, secrets } = grant;
  return egress.open({ owner: `tools.${source}`, rules, secrets, notes, bytesMax });
}
