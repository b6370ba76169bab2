// The built-in tools `shell` and `python`: a program's text, run in a sandbox in the process's workspace.
import { z } from "zod";
import { callMs } from "./bounds.ts";
import { type JobPorts, runJob } from "./job.ts";
import { type BuiltinTool, builtinTool } from "./tool.ts";

/** A program's text travels in the arguments of the interpreter, which the system bounds at 128 KiB. */
const TEXT_CHARACTERS_MAX = 100_000;

const WHERE =
  "It runs in a sandbox, in your workspace (the folder that it starts in), which stays between calls; of the network it reaches only what you were granted.";

/**
 * What they change is their own workspace, kept before each call: repeating one puts that back first. They are `write`, and
 * what they send goes through the rules of the way out.
 */
export const DECLARED = { effect: "write", idempotency: "key", isolation: "process" } as const;

export const shellTool = (ports: JobPorts): BuiltinTool =>
  builtinTool({
    name: "shell",
    description: `Runs a shell command (sh). ${WHERE}`,
    input: z.strictObject({
      command: z.string().min(1).max(TEXT_CHARACTERS_MAX).describe("The command, as for `sh -c`."),
      input: z.string().optional().describe("Text for its standard input."),
    }),
    declared: { ...DECLARED, timeoutMs: callMs(ports.limits), summary: "shell: {command}" },
    run: ({ command, input }, options) =>
      runJob(ports, { command: ["sh", "-c", command], input, warm: "shell" }, options),
  });

export const pythonTool = (ports: JobPorts): BuiltinTool =>
  builtinTool({
    name: "python",
    description: `Runs a program in Python 3 (the system's). ${WHERE}`,
    input: z.strictObject({
      code: z.string().min(1).max(TEXT_CHARACTERS_MAX).describe("The program. What it prints is the answer."),
      input: z.string().optional().describe("Text for its standard input."),
    }),
    declared: { ...DECLARED, timeoutMs: callMs(ports.limits), summary: "python: {code}" },
    run: ({ code, input }, options) =>
      runJob(ports, { command: ["python3", "-c", code], input, warm: "python" }, options),
  });
