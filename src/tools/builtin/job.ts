// One program run for a process: in a sandbox, in the process's workspace, with its way out and its placeholders for secrets.
//
// Invariants:
//   J1. The workspace is kept as it stood before the job, so what the job does there can be taken back.
//   J2. A job that is dispatched again (its key says so) begins where the first one did: the workspace is put back. Where
//       the first one may have sent something, it is not run again, and its outcome stays unknown.
//   J3. A limit that ends the job is named in its outcome; so is the end of its process.
//   J4. However much it printed, its outcome is told; of what is too long a part.
import { errorRecord, OsError } from "../../abi/errors.ts";
import { limitText, placeholderOf, type SandboxLimits } from "../../abi/isolation.ts";
import type { ToolContent } from "../../abi/tools.ts";
import type { Door, Egress } from "../../ports/egress.ts";
import type { Finished, Sandboxes, SandboxSpec } from "../../ports/sandbox.ts";
import type { CallOptions, EgressNotes, ToolOutcome } from "../../ports/tools.ts";
import type { Workspace } from "../../ports/workspace.ts";
import { tightest } from "./bounds.ts";
import { inWorkspace, keep, OTHERS_SINCE, type WorkspacePorts, putBack } from "./call-workspace.ts";
import { shortened } from "./text.ts";

export type JobPorts = WorkspacePorts & { readonly sandboxes: Sandboxes; readonly egress: Egress };

export type Job = {
  readonly command: readonly [string, ...string[]];
  readonly input?: string | Uint8Array | undefined;
  readonly warm?: SandboxSpec["warm"];
  /** How its end is told; to a model, if nothing is said. */
  readonly tell?: Tell;
};

/** What a program said, and what is known of its end. */
type Said = { readonly stdout: string; readonly stderr: string } & Readonly<Record<string, string | number>>;
export type Tell = (how: string, said: Said) => ToolContent;

/** What a door writes, as events of the call. */
export const egressNotes = ({ notes, call }: Pick<CallOptions, "notes" | "call">): EgressNotes => ({
  requested: ({ request, ...header }) => notes({ kind: "egress.requested", call, ...header }, { request }),
  ended: (header) => notes({ kind: "egress.ended", call, ...header }),
});

/** Runs the job for the process that calls. Nothing of it is left when this resolves. */
export async function runJob(ports: JobPorts, job: Job, options: CallOptions): Promise<ToolOutcome> {
  let started = false;
  try {
    return await inWorkspace(ports, options, async (workspace) => {
      const reason = await prepare(workspace, options);
      if (reason !== undefined) return { kind: "unknown", reason };
      const door = await openDoor(ports.egress, options);
      started = true;
      try {
        return await runIn({ ports, workspace, door }, job, options);
      } finally {
        await door?.close();
      }
    });
  } catch (error) {
    if (!started || OsError.is(error, "isolation_unavailable"))
      return { kind: "not_performed", error: errorRecord(error, "tool_unavailable") };
    return { kind: "unknown", reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Keeps the workspace, or puts it back for a job that was begun before; answers why that one cannot be begun again. */
async function prepare(workspace: Workspace, options: CallOptions): Promise<string | undefined> {
  if (!(await keep(workspace, options))) return undefined;
  if (options.process.manifest.egress.length > 0)
    return "it was begun before, and may have sent something to where it may reach";
  return (await putBack(workspace, options)) ? undefined : OTHERS_SINCE;
}

type Place = { readonly ports: JobPorts; readonly workspace: Workspace; readonly door: Door | undefined };

async function runIn({ ports, workspace, door }: Place, job: Job, options: CallOptions): Promise<ToolOutcome> {
  const { pid, manifest } = options.process;
  const limits = tightest(ports.limits, manifest.limits);
  const spec: SandboxSpec = {
    owner: pid,
    level: "process",
    command: job.command,
    env: Object.fromEntries(manifest.secrets.map((name) => [name, placeholderOf(name)])),
    mounts: [],
    workspace,
    limits,
    door,
    warm: job.warm,
  };
  const { signal, output } = options;
  const finished = await ports.sandboxes.run(spec, { input: job.input, signal, onOutput: output });
  return outcomeOf(finished, limits, job.tell ?? tellModel);
}

async function openDoor(egress: Egress, options: CallOptions): Promise<Door | undefined> {
  const { pid, manifest } = options.process;
  if (manifest.egress.length === 0) return undefined;
  return egress.open({
    owner: pid,
    rules: manifest.egress,
    secrets: manifest.secrets,
    notes: egressNotes(options),
  });
}

function outcomeOf({ exit, stdout, stderr }: Finished, limits: SandboxLimits, tell: Tell): ToolOutcome {
  const { cpuMs, memoryPeakBytes } = exit;
  const used = { ...(cpuMs === null ? {} : { cpuMs }), ...(memoryPeakBytes === null ? {} : { memoryPeakBytes }) };
  const said = { stdout, stderr, ...used };
  switch (exit.kind) {
    case "exited":
      return { kind: "done", content: tell(`exit status ${exit.code}`, { exitCode: exit.code, ...said }) };
    case "crashed":
      return { kind: "failed", content: tell(`ended by ${exit.signal}`, { signal: exit.signal, ...said }) };
    case "limit": {
      const why = `ended: it ${limitText(exit.limit, exit.max)}. Ask for less at a time`;
      return { kind: "failed", content: tell(why, { limit: exit.limit, max: exit.max, ...said }) };
    }
    case "killed":
      return { kind: "unknown", reason: `it was ended before it was done, within ${limits.wallMs} ms` };
  }
}

/** A model reads the text. */
const tellModel: Tell = (how, { stdout, stderr, ...known }) => {
  const said = { stdout: shortened(stdout), stderr: shortened(stderr) };
  const parts = [said.stdout, said.stderr === "" ? "" : `[standard error]\n${said.stderr}`, `[${how}]`];
  return {
    text: parts
      .filter((part) => part !== "")
      .map((part) => part.replace(/\n$/, ""))
      .join("\n"),
    data: { ...said, ...known },
  };
};
