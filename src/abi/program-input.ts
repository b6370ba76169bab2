// What a program is given as its standard input, in a form that JSON can hold.
import { z } from "zod";
import { OsError } from "./errors.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "./limits.ts";

/** Text, which the program gets as UTF-8, or any bytes. */
export const programInputSchema = z.union([
  // Half a character stands for no bytes: it could only be given as something else.
  z.string().refine((text) => text.isWellFormed(), "is not text: it holds half a character. Give its bytes as base64"),
  z.strictObject({ base64: z.base64() }),
]);
export type ProgramInput = z.infer<typeof programInputSchema>;

/** How many bytes the program gets. */
export function programInputBytes(input: ProgramInput): number {
  if (typeof input === "string") return new TextEncoder().encode(input).length;
  const { base64 } = input;
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return (base64.length * 3) / 4 - padding;
}

/** The one error of both sides that hold the limit: whoever reads the input, and the kernel. `size`: how much it is, in words. */
export const programInputTooLarge = (size: string): OsError =>
  new OsError(
    "limit_exceeded",
    `The standard input is ${size}; at most ${PROGRAM_INPUT_BYTES_MAX} bytes (program_input_bytes) can be recorded, so nothing was run. Put the data into a file and give its folder as the workspace (--workspace FOLDER): the program finds it there.`,
    { data: { limit: "program_input_bytes", max: PROGRAM_INPUT_BYTES_MAX } },
  );
