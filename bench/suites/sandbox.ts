// What it costs to run a program in a hardened sandbox: beside plain bubblewrap, runc and Anthropic's sandbox-runtime, interleaved.
//
// A start runs `true` and counts from the call to the known end, Reeve's with its control groups made and removed. A warm job counts
// from the call to the first byte of the answer, and so does the cold start that it is compared with.
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createBubblewrap } from "../../src/drivers/sandbox-bubblewrap/sandbox.ts";
import { createSelfTest } from "../../src/drivers/selftest/selftest.ts";
import { createSnippets } from "../../src/drivers/sandbox-quickjs/snippets.ts";
import type { Sandbox, SandboxSpec, Snippets } from "../../src/ports/sandbox.ts";
import { countOption, Missing, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { ensurePeers } from "../installation.ts";
import { hardened, plain, runc, type SandboxRuntime, specOf, type Start } from "../sandbox-contenders.ts";
import { medianOrNull, quantile } from "../statistics.ts";
import { figure, type Table } from "../table.ts";

const WARM_UP_ROUNDS = 3;
const FLIGHT_ROUNDS = 4;
/** A sandbox that waits for its job has long started by then. */
const REFILL_MS = 120;

type Sample = { readonly name: string; readonly start: Start; readonly ms: number[] };

const sample = (name: string, start: Start): Sample => ({ name, start, ms: [] });

async function timed(work: () => Promise<void>): Promise<number> {
  const fromMs = performance.now();
  await work();
  return performance.now() - fromMs;
}

/** Each once in every round, another one first each time. */
async function interleave(samples: readonly Sample[], rounds: number): Promise<void> {
  for (let round = -WARM_UP_ROUNDS; round < rounds; round += 1) {
    for (let at = 0; at < samples.length; at += 1) {
      const one = samples[(at + Math.abs(round)) % samples.length];
      if (one === undefined) continue;
      const ms = await timed(one.start);
      if (round >= 0) one.ms.push(ms);
    }
  }
}

/** From the call to the first byte that the program says; its end is waited for and not counted. */
async function answer(sandbox: Sandbox, spec: SandboxSpec): Promise<number> {
  const fromMs = performance.now();
  const running = await sandbox.start(spec);
  running.stderr.resume();
  running.stdin.end();
  await new Promise((resolve) => running.stdout.once("data", resolve));
  const ms = performance.now() - fromMs;
  running.stdout.resume();
  await running.exit;
  return ms;
}

async function answers(
  sandbox: Sandbox,
  rounds: number,
): Promise<{ readonly cold: number[]; readonly warm: number[] }> {
  const job = specOf(["python3", "-c", "print(6 * 7)"]);
  const cold: number[] = [];
  const warm: number[] = [];
  // The first of the warm ones finds none waiting.
  for (let round = -1; round < rounds; round += 1) {
    const coldMs = await answer(sandbox, job);
    await delay(REFILL_MS);
    const warmMs = await answer(sandbox, { ...job, warm: "python" });
    await delay(REFILL_MS);
    if (round < 0) continue;
    cold.push(coldMs);
    warm.push(warmMs);
  }
  return { cold, warm };
}

/** So many a second, `inFlight` at a time. */
async function throughput(start: Start, count: number, inFlight: number): Promise<number> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await start();
    }
  };
  const ms = await timed(async () => {
    await Promise.all(Array.from({ length: inFlight }, worker));
  });
  return (count * 1_000) / ms;
}

async function throughputs(
  samples: readonly Sample[],
  count: number,
  inFlight: number,
): Promise<Map<string, number[]>> {
  const rates = new Map(samples.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < FLIGHT_ROUNDS; round += 1) {
    const order = round % 2 === 0 ? samples : samples.toReversed();
    for (const { name, start } of order)
      rates.get(name)?.push(await throughput(start, Math.ceil(count / FLIGHT_ROUNDS), inFlight));
  }
  return rates;
}

const snippet = (snippets: Snippets): Start => {
  const { limits } = specOf(["true"]);
  return async () => {
    const result = await snippets.run("return 6 * 7", {
      inputJson: "null",
      limits,
      signal: new AbortController().signal,
    });
    if (result.kind !== "value") throw new Error(`a snippet ended as ${JSON.stringify(result)}`);
  };
};

async function peers(
  context: Context,
  notes: string[],
): Promise<{ runc: Start | null; srt: Start | null; srtVersion: string }> {
  const runtime = await runc(await context.scratch.folder("runc"));
  if (runtime === null) notes.push("runc is not installed here (apt install runc), or does not run.");
  // By its address: it stands on a package that is installed for benchmarks alone.
  const { openSandboxRuntime } = (await import(new URL("../peers/sandbox-runtime.ts", import.meta.url).href)) as {
    readonly openSandboxRuntime: () => Promise<SandboxRuntime | string>;
  };
  const srt = await openSandboxRuntime();
  if (typeof srt === "string") {
    notes.push(`sandbox-runtime does not run here: ${srt} (apt install socat ripgrep).`);
    return { runc: runtime, srt: null, srtVersion: "none" };
  }
  context.scratch.defer(srt.close);
  return { runc: runtime, srt: srt.start, srtVersion: srt.version };
}

/** A peer that breaks off is left out, with a note; it must not keep the others from being measured. */
async function works(one: Sample, notes: string[]): Promise<boolean> {
  try {
    await one.start();
    return true;
  } catch (error) {
    notes.push(`${one.name} failed: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

const ratio = (one: number | null, other: number | null): number | null =>
  one === null || other === null ? null : one / other;

function tableOf(title: string, rows: readonly (readonly [string, readonly number[]])[]): Table {
  return {
    title,
    columns: ["", "min ms", "p50 ms", "p95 ms", "runs"],
    rows: rows.map(([name, ms]) => [
      name,
      figure(Math.min(...ms)),
      figure(quantile(ms, 0.5)),
      figure(quantile(ms, 0.95)),
      String(ms.length),
    ]),
  };
}

async function measure(context: Context): Promise<Result> {
  const rounds = countOption(context, "rounds");
  const count = countOption(context, "count", FLIGHT_ROUNDS);
  const inFlight = countOption(context, "in-flight");
  ensurePeers();
  const notes: string[] = [];
  const sandbox = createBubblewrap({
    folder: join(await context.scratch.folder("sandbox"), "driver"),
    uids: { from: 200_000, to: 265_535 },
    warm: { shell: 0, python: 1, node: 0 },
  });
  context.scratch.defer(() => sandbox.close());
  const { posture, reason } = await sandbox.state();
  if (posture === "none") throw new Missing(`Sandboxes cannot be measured here: ${reason}`);
  if (posture === "reduced") notes.push(`The sandboxes are not whole here: ${reason}`);
  const snippets = createSnippets({ concurrency: 1 });
  context.scratch.defer(() => snippets.close());
  const others = await peers(context, notes);
  const bwrap = sample("bwrap, plain", plain("true"));
  const reeve = sample("Reeve, hardened", hardened(sandbox, ["true"]));
  const container = sample("runc", others.runc ?? (() => Promise.reject(new Error("it is not here"))));
  const runtime = sample("sandbox-runtime", others.srt ?? (() => Promise.reject(new Error("it is not here"))));
  const quick = sample("QuickJS, fresh", snippet(snippets));
  const candidates = [
    bwrap,
    reeve,
    quick,
    ...(others.runc === null ? [] : [container]),
    ...(others.srt === null ? [] : [runtime]),
  ];
  const samples: Sample[] = [];
  for (const candidate of candidates) if (await works(candidate, notes)) samples.push(candidate);
  context.progress(`${rounds} rounds of ${samples.map(({ name }) => name).join("; ")} …`);
  await interleave(samples, rounds);
  context.progress("jobs for a Python that waits …");
  const python = await answers(sandbox, Math.ceil(rounds / 2));
  context.progress(`${count} starts, ${inFlight} in flight …`);
  const rates = await throughputs([bwrap, reeve], count, inFlight);
  const p50 = ({ ms }: Sample): number | null => medianOrNull(ms);
  const rate = ({ name }: Sample): number | null => medianOrNull(rates.get(name) ?? []);
  context.progress("the payloads of the self-test …");
  const tried = await attack(sandbox, await context.scratch.folder("verdicts"), notes);
  const measures = {
    ...tried,
    start_p50_ms: p50(reeve),
    start_bwrap_ratio: ratio(p50(reeve), p50(bwrap)),
    start_runc_ratio: ratio(p50(reeve), p50(container)),
    start_srt_ratio: ratio(p50(reeve), p50(runtime)),
    warm_python_ratio: ratio(medianOrNull(python.warm), medianOrNull(python.cold)),
    quickjs_ratio: ratio(p50(quick), p50(bwrap)),
    throughput_bwrap_ratio: ratio(rate(reeve), rate(bwrap)),
  };
  return {
    measures,
    tables: tablesOf({ samples, python, rates, inFlight }),
    notes,
    environment: { posture, sandbox_runtime: others.srtVersion },
  };
}

type Attack = Readonly<Record<"payloads" | "escapes" | "selftest_s" | "limits_not_held", number>>;

/** All payloads of the self-test; `selftest_s` is its quick set, as at each start. What gave no verdict counts as an escape. */
async function attack(tested: Sandbox, folder: string, notes: string[]): Promise<Attack> {
  const selfTest = createSelfTest({ folder, version: "bench", nowMs: () => Date.now() });
  const { verdicts } = await selfTest.run(tested, "full");
  const failed = verdicts.filter(({ expected }) => !expected);
  for (const { payload, verdict, detail } of failed) notes.push(`The payload ${payload}: ${verdict}, ${detail}`);
  const ofLimits = failed.filter(({ detail }) => /\blimit of\b/.test(detail));
  const quick = await selfTest.run(tested, "quick");
  return {
    payloads: verdicts.length,
    escapes: failed.length - ofLimits.length,
    selftest_s: quick.tookMs / 1_000,
    limits_not_held: ofLimits.length,
  };
}

type Measured = {
  readonly samples: readonly Sample[];
  readonly python: { readonly cold: readonly number[]; readonly warm: readonly number[] };
  readonly rates: ReadonlyMap<string, readonly number[]>;
  readonly inFlight: number;
};

const tablesOf = ({ samples, python, rates, inFlight }: Measured): Table[] => [
  tableOf(
    "One start of `true`, from the call to the end",
    samples.map(({ name, ms }) => [name, ms]),
  ),
  tableOf("A job for Python, from the call to the answer", [
    ["cold", python.cold],
    ["warm", python.warm],
  ]),
  {
    title: `Starts a second, ${inFlight} in flight`,
    columns: ["", "a second"],
    rows: [...rates].map(([name, each]) => [name, figure(medianOrNull(each))]),
  },
];

export const sandbox: Benchmark = {
  name: "sandbox",
  doc: "Starts of hardened sandboxes, beside plain bwrap, runc and Anthropic's sandbox-runtime",
  options: {
    rounds: { default: "60", doc: "starts of each" },
    count: { default: "200", doc: "starts of each in the measure of throughput" },
    "in-flight": { default: "4", doc: "at once there" },
  },
  run: measure,
};
