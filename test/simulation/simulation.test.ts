// The simulation: seeded histories with a crash at every journal write, and with several crashes at random ones.
//
// A failure prints its seed and crashes; `npm run sim -- --seed N` plays that seed again, every crash of it.
// SEEDS in the environment sets how many seeds are played.
import { describe, expect, it } from "vitest";
import { Chance } from "./chance.ts";
import { type Crash, simulate } from "./simulate.ts";

const SEEDS = Number(process.env["SEEDS"] ?? 12);
const FIRST_SEED = 1;
const FATES = ["crash_before", "crash_after"] as const;

/** Where a history went wrong: its crashes, and the invariants that it broke. */
async function faultsOf(seed: number, crashes: readonly Crash[]): Promise<string[]> {
  const { faults } = await simulate(seed, crashes);
  return faults.map((fault) => `seed ${seed}, crashes ${JSON.stringify(crashes)}: ${fault}`);
}

describe("simulation", () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed += 1) {
    it(`seed ${seed}: a crash at every journal write`, async () => {
      const { appends, faults } = await simulate(seed);
      expect(faults).toEqual([]);
      expect(appends).toBeGreaterThan(10);
      for (let append = 0; append < appends; append += 1)
        for (const fate of FATES) expect(await faultsOf(seed, [{ append, fate }])).toEqual([]);
    }, 120_000);

    it(`seed ${seed}: several crashes`, async () => {
      const chance = new Chance(seed);
      for (let round = 0; round < 10; round += 1) {
        const places = Array.from({ length: 2 + chance.below(6) }, () => chance.below(120)).sort((a, b) => a - b);
        const histories = places.map((append) => ({ append, fate: chance.pick(FATES) }));
        expect(await faultsOf(seed, histories)).toEqual([]);
      }
    }, 120_000);
  }

  it("sees a fault: an effect whose intent is not written is performed twice somewhere", async () => {
    const found = new Set<string>();
    for (let seed = FIRST_SEED; seed < FIRST_SEED + 5 && found.size === 0; seed += 1) {
      const { appends } = await simulate(seed, [], { unplugIntent: true });
      for (let append = 0; append < appends; append += 1) {
        const { faults } = await simulate(seed, [{ append, fate: "crash_before" }], { unplugIntent: true });
        for (const fault of faults) if (fault.startsWith("I2")) found.add(fault);
      }
    }
    expect(found.size).toBeGreaterThan(0);
  }, 120_000);
});
