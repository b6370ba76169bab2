// The scheduler under larger simulated workloads, and many more of them than in src/scheduler/scheduler.test.ts.
//
// SCHEDULER_SEEDS in the environment sets how many seeds are played, SEED the first; a failure prints its seed.
import { expect, it } from "vitest";
import { simulateScheduler } from "./scheduler.ts";

const SEEDS = Number(process.env["SCHEDULER_SEEDS"] ?? 1000);
const FIRST_SEED = Number(process.env["SEED"] ?? 100_000);
const SIZES = [
  { roots: 4, steps: 5, horizonMs: 1500 },
  { roots: 12, steps: 6, horizonMs: 4000 },
  { roots: 24, steps: 8, horizonMs: 8000 },
];

it(`S1 to S9 hold in workloads of ${SEEDS} seeds, small and large`, async () => {
  const faults: string[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS && faults.length < 20; seed += 1)
    for (const size of SIZES) {
      const outcome = await simulateScheduler(seed, { size });
      for (const fault of outcome.faults) faults.push(`seed ${seed}, ${size.roots} roots, ${fault}`);
    }
  expect(faults).toEqual([]);
});
