// For whom tests call tools: a process with an agent of no special rights, whose journal keeps nothing.
import { agentManifestSchema, type AgentManifest } from "../src/abi/agents.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { CallOptions, NoteHeader } from "../src/ports/tools.ts";

const CALLER_PID = "p_000000000001" as ProcessId;

/** What a source is told of the caller; `noted` gathers what it writes into the journal. */
export function caller(
  manifest: Partial<AgentManifest> = {},
  noted: NoteHeader[] = [],
): Pick<CallOptions, "process" | "call" | "notes" | "output"> {
  const whole = agentManifestSchema.parse({ name: "tester", description: "Calls tools.", ...manifest });
  return {
    process: { pid: CALLER_PID, manifest: whole },
    call: 0,
    notes: async (header) => void noted.push(header),
    output: () => {},
  };
}
