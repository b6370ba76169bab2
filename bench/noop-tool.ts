// Tools that do nothing, in the kernel's own process: what is left is what the kernel costs.
//
// Each call notes when it was entered. From one entry to the next of one process is a whole step: the tool's return, the
// durable outcome, the answer to the program, the program's next call and its way to the tool.
import { z } from "zod";
import { tool } from "../src/sdk/author.ts";

let entriesMs: number[] = [];

/** The times of entry since the last call of this. */
export function takeEntriesMs(): number[] {
  const taken = entriesMs;
  entriesMs = [];
  return taken;
}

/** A step begins. */
export function noteEntry(): void {
  entriesMs.push(performance.now());
}

const noop = (name: "read" | "write") =>
  tool({
    name,
    description: "Does nothing.",
    effect: name,
    // As many at once as there are processes: waiting for a turn is not what is measured.
    concurrency: 10_000,
    input: z.object({}),
    run: () => {
      noteEntry();
      return "ok";
    },
  });

export const read = noop("read");
export const write = noop("write");
