// The entry of the benchmarks.
// Usage: npm run bench                            lists them
//        npm run bench -- NAME [--json] [--data FILE] [--folder DIR] [options of the benchmark]
//
// Prints tables for people. With --json the last line of standard output is one object:
//   { "bench": NAME, "measures": { name_with_unit_last: number or null }, "environment": { … } }
// Exit status: 0 when the benchmark ran to its end, whatever its figures; 2 when something that it needs is missing.
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { Missing, type Benchmark, type Result } from "./benchmark.ts";
import { describeEnvironment, doubtOf, type Environment } from "./environment.ts";
import { Scratch } from "./scratch.ts";
import { bombs } from "./suites/bombs.ts";
import { budget } from "./suites/budget.ts";
import { capacity } from "./suites/capacity.ts";
import { crash } from "./suites/crash.ts";
import { dispatch } from "./suites/dispatch.ts";
import { egress } from "./suites/egress.ts";
import { fair } from "./suites/fair.ts";
import { flood } from "./suites/flood.ts";
import { growth } from "./suites/growth.ts";
import { leftovers } from "./suites/leftovers.ts";
import { limits } from "./suites/limits.ts";
import { power } from "./suites/power.ts";
import { recorded } from "./suites/recorded.ts";
import { replay } from "./suites/replay.ts";
import { sandbox } from "./suites/sandbox.ts";
import { syscall } from "./suites/syscall.ts";
import { figure, formatTable } from "./table.ts";

const BENCHMARKS: readonly Benchmark[] = [
  recorded,
  crash,
  power,
  syscall,
  growth,
  replay,
  capacity,
  flood,
  fair,
  budget,
  limits,
  dispatch,
  bombs,
  egress,
  sandbox,
  leftovers,
];

const GENERAL = {
  json: "print one JSON object as the last line",
  folder: "where the data is put while it runs, by default the system's temporary folder",
} as const;

function listing(): string {
  const width = Math.max(...BENCHMARKS.map(({ name }) => name.length));
  const lines = BENCHMARKS.flatMap(({ name, doc, options }) => [
    `  ${name.padEnd(width)}  ${doc}`,
    ...Object.entries(options).map(
      ([option, of]) =>
        `  ${" ".repeat(width)}    --${option}  ${of.doc}${of.default === undefined ? "" : ` (${of.default})`}`,
    ),
  ]);
  const general = Object.entries(GENERAL).map(([option, doc]) => `  --${option}  ${doc}`);
  return ["Benchmarks: npm run bench -- NAME [options]", "", ...lines, "", "Every benchmark takes:", ...general].join(
    "\n",
  );
}

function benchmarkNamed(name: string): Benchmark {
  const found = BENCHMARKS.find((benchmark) => benchmark.name === name);
  if (found === undefined)
    throw new Missing(
      `There is no benchmark "${name}". There are: ${BENCHMARKS.map((benchmark) => benchmark.name).join(", ")}.`,
    );
  return found;
}

function readOptions(
  benchmark: Benchmark,
  args: readonly string[],
): Readonly<Record<string, string | boolean | undefined>> {
  const own = Object.fromEntries(
    Object.entries(benchmark.options).map(
      ([name, option]) =>
        [name, { type: "string", ...(option.default === undefined ? {} : { default: option.default }) }] as const,
    ),
  );
  const options: ParseArgsOptionsConfig = { ...own, json: { type: "boolean" }, folder: { type: "string" } };
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values as Record<
      string,
      string | boolean | undefined
    >;
  } catch (error) {
    throw new Missing(
      `${error instanceof Error ? error.message : String(error)} The options of ${benchmark.name} are listed by: npm run bench`,
    );
  }
}

function report(benchmark: Benchmark, result: Result, environment: Environment): void {
  for (const table of result.tables) console.log(`\n${formatTable(table)}`);
  const rows = Object.entries(result.measures).map(([name, value]) => [name, figure(value)]);
  console.log(`\n${formatTable({ title: `Measures of ${benchmark.name}`, columns: ["measure", "value"], rows })}`);
  for (const note of result.notes) console.log(`\n! ${note}`);
  console.log(
    `\n${Object.entries(environment)
      .map(([name, value]) => `${name}: ${value}`)
      .join("; ")}`,
  );
}

async function runBenchmark(benchmark: Benchmark, args: readonly string[]): Promise<void> {
  const { json, folder, ...rest } = readOptions(benchmark, args);
  const options = Object.fromEntries(
    Object.entries(rest).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
  const scratch = new Scratch(typeof folder === "string" ? folder : undefined);
  const leave = (status: number): void => void scratch.close().then(() => process.exit(status));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => leave(130));
  // A fault of the benchmark's own must not leave servers and mounts behind.
  process.once("uncaughtException", (error) => {
    console.error(error);
    leave(1);
  });
  try {
    const surroundings = describeEnvironment(scratch.path);
    const result = await benchmark.run({ options, scratch, progress: (line) => console.error(line) });
    const environment = { ...surroundings, ...result.environment };
    const doubt = doubtOf(surroundings);
    report(benchmark, doubt === null ? result : { ...result, notes: [...result.notes, doubt] }, environment);
    if (json === true) console.log(JSON.stringify({ bench: benchmark.name, measures: result.measures, environment }));
  } finally {
    await scratch.close();
  }
}

const [name, ...args] = process.argv.slice(2);
try {
  if (name === undefined || name === "--help") console.log(listing());
  else await runBenchmark(benchmarkNamed(name), args);
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
