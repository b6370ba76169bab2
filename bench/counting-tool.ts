// Tools that count how often they were run: one byte a run in the file that REEVE_BENCH_RUNS names.
import { appendFileSync } from "node:fs";
import { z } from "zod";
import { tool } from "../src/sdk/author.ts";

const counting = (name: "read" | "write") =>
  tool({
    name,
    description: "Counts that it was run.",
    effect: name,
    concurrency: 1_000,
    input: z.object({}),
    run: () => {
      appendFileSync(process.env["REEVE_BENCH_RUNS"] ?? "", ".");
      return "counted";
    },
  });

export const read = counting("read");
export const write = counting("write");
