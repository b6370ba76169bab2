// Plays simulated histories from the command line: `npm run sim -- --seed N [--seeds COUNT]`, each with a crash at every
// journal write. Prints the faults, and ends with 1 if there was any.
import { parseArgs } from "node:util";
import { simulate } from "../test/simulation/simulate.ts";

const { values } = parseArgs({
  options: { seed: { type: "string", default: "1" }, seeds: { type: "string", default: "1" } },
});
const first = Number(values.seed);
let faulty = 0;
for (let seed = first; seed < first + Number(values.seeds); seed += 1) {
  const { appends, faults } = await simulate(seed);
  let histories = 1;
  const report = (where: string, found: readonly string[]): void => {
    if (found.length === 0) return;
    faulty += 1;
    process.stdout.write(`seed ${seed}, ${where}:\n${found.map((fault) => `  ${fault}\n`).join("")}`);
  };
  report("no crash", faults);
  for (let append = 0; append < appends; append += 1) {
    for (const fate of ["crash_before", "crash_after"] as const) {
      histories += 1;
      report(`${fate} at append ${append}`, (await simulate(seed, [{ append, fate }])).faults);
    }
  }
  process.stdout.write(`seed ${seed}: ${histories} histories, ${appends} appends each without a crash\n`);
}
process.exitCode = faulty > 0 ? 1 : 0;
