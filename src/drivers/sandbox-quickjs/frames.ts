// What passes between the host of snippets and the child that interprets them, one JSON message each way for each run.
import { z } from "zod";

export type Order = {
  readonly source: string;
  readonly timeoutMs: number;
  readonly memoryBytes: number;
  readonly resultBytesMax: number;
  readonly consoleBytesMax: number;
  readonly sourceBytesMax: number;
};

/** The child is written by us and runs code that is not: what it says is checked all the same. */
export const replySchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("ready") }),
  z.strictObject({ kind: z.literal("value"), json: z.string() }),
  z.strictObject({ kind: z.literal("failed"), code: z.string(), message: z.string() }),
]);
export type Reply = z.infer<typeof replySchema>;
