// The tool behind `reeve exec`: one program with its arguments.
//
// Its answer is for programs: the text says how the program ended, and what it said stands in the data alone, up to what an answer
// may hold. Beyond that the beginning is left out, and how much that was is told: a program does not fail for having said much.
import { z } from "zod";
import { TOOL_RESULT_BYTES_MAX } from "../../abi/limits.ts";
import { type ProgramInput, programInputSchema } from "../../abi/program-input.ts";
import { begun } from "./beginning.ts";
import { type JobPorts, runJob, type Tell } from "./job.ts";
import { DECLARED } from "./programs.ts";
import { type BuiltinTool, builtinTool } from "./tool.ts";

/** What a command agent's program has done: its command, run. For the system's own use. */
export const execTool = (ports: JobPorts): BuiltinTool =>
  builtinTool({
    name: "exec",
    description: "Runs a program with its arguments.",
    input: z.strictObject({
      command: z.tuple([z.string().min(1)], z.string()),
      input: programInputSchema.optional(),
    }),
    declared: { ...DECLARED, timeoutMs: 24 * 3600_000, summary: "run {command}" },
    run: ({ command, input }, options) =>
      runJob(ports, { command: begun(command), input: bytesIn(input), tell }, options),
  });

const bytesIn = (input: ProgramInput | undefined): string | Uint8Array | undefined =>
  typeof input === "object" ? Buffer.from(input.base64, "base64") : input;

/** Bytes of JSON for both outputs; the rest is for all else that an answer says. */
const OUTPUT_BYTES_MAX = TOOL_RESULT_BYTES_MAX - 4096;

const tell: Tell = (how, { stdout, stderr, ...used }) => {
  const heardErr = endOf(stderr, Math.max(OUTPUT_BYTES_MAX / 4, OUTPUT_BYTES_MAX - bytesOf(stdout)));
  const heardOut = endOf(stdout, OUTPUT_BYTES_MAX - bytesOf(heardErr));
  const leftOut = stdout.length - heardOut.length + stderr.length - heardErr.length;
  return {
    text: `[${how}]`,
    data: { ...used, stdout: heardOut, stderr: heardErr, ...(leftOut === 0 ? {} : { leftOutCharacters: leftOut }) },
  };
};

const encoder = new TextEncoder();
const bytesOf = (text: string): number => encoder.encode(JSON.stringify(text)).length;

/** The text, or as much of its end as fits; whole characters. */
function endOf(text: string, bytesMax: number): string {
  let kept = text;
  for (let bytes = bytesOf(kept); bytes > bytesMax; bytes = bytesOf(kept)) {
    const from = Math.ceil(kept.length * (1 - bytesMax / bytes)) || 1;
    kept = kept.slice(from).replace(/^[\uDC00-\uDFFF]/, "");
  }
  return kept;
}
