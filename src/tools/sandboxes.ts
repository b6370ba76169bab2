// All kinds of sandboxes behind one face: the weakest driver that gives the level that is asked for, tested before its first use.
//
// Boundary: knows drivers and the self-test only by their ports.
//
// Invariants:
//   X1. Nothing starts in a driver that has not passed its self-test, or whose posture is below the one that is accepted. A test that
//       fails or cannot be made leaves the driver unused.
//   X2. At most `concurrency` sandboxes run at once; the others wait in the order in which they came. Lasting ones do not count:
//       a server or an agent that held a place for ever would have what it waits for wait for ever.
//   X3. A refusal names each driver, and what it lacks.
//   X4. A driver out of which something got is not used again until a full test is asked for. One on which there was no verdict is tested
//       anew by itself.
//   X5. A driver that cannot run here is looked at again when no other gives the level that is asked for: what it lacks may have
//       been started or installed meanwhile. Who is served by another does not wait for that.
import { OsError } from "../abi/errors.ts";
import { isAtLeast, ISOLATION_LEVELS, POSTURES, type Posture } from "../abi/isolation.ts";
import { isUndecided, RETEST_MS } from "../lib/verdicts.ts";
import type { Clock } from "../ports/clock.ts";
import type { Finished, Sandbox, Sandboxes, SandboxProcess, SandboxSpec } from "../ports/sandbox.ts";
import type { SelfTest, SelfTestReport } from "../ports/sandbox.ts";

export type SandboxesOptions = {
  readonly drivers: readonly Sandbox[];
  readonly selfTest: SelfTest;
  /** The weakest that is accepted. */
  readonly posture: Exclude<Posture, "none">;
  /** Sandboxes at once. */
  readonly concurrency: number;
  readonly clock: Clock;
};

type Options = { readonly signal?: AbortSignal };

export function createSandboxes(options: SandboxesOptions): Sandboxes {
  return new TestedSandboxes(options);
}

class TestedSandboxes implements Sandboxes {
  readonly #options: SandboxesOptions;
  /** Weakest first. */
  readonly #drivers: readonly Sandbox[];
  readonly #reports = new Map<Sandbox, Promise<SelfTestReport>>();
  readonly #places: Places;

  constructor(options: SandboxesOptions) {
    this.#options = options;
    this.#drivers = options.drivers.toSorted(
      (a, b) => ISOLATION_LEVELS.indexOf(a.level) - ISOLATION_LEVELS.indexOf(b.level),
    );
    this.#places = new Places(options.concurrency);
  }

  async ready(level: SandboxSpec["level"]): Promise<void> {
    await this.#driverFor({ level });
  }

  async start(spec: SandboxSpec, options: Options = {}): Promise<SandboxProcess> {
    const driver = await this.#driverFor(spec);
    if (spec.lasting === true) return driver.start(spec, options);
    await this.#places.take(options.signal);
    try {
      const running = await driver.start(spec, options);
      void running.exit.then(
        () => this.#places.giveBack(),
        () => this.#places.giveBack(),
      );
      return running;
    } catch (error) {
      this.#places.giveBack();
      throw error;
    }
  }

  async run(spec: SandboxSpec, { input, signal, onOutput }: Parameters<Sandboxes["run"]>[1]): Promise<Finished> {
    const running = await this.start(spec, { signal });
    running.stdin.end(input ?? "");
    const [exit, stdout, stderr] = await Promise.all([
      running.exit,
      textOf(running.stdout, onOutput),
      textOf(running.stderr, onOutput),
    ]);
    return { exit, stdout, stderr };
  }

  async report(set?: "full"): Promise<readonly SelfTestReport[]> {
    return Promise.all(
      this.#drivers.map(async (driver) => {
        const report = set === undefined ? this.#tested(driver, "again") : this.#test(driver, set);
        return report.catch(async (error: unknown) => untested(driver, this.#options.clock.nowMs(), error));
      }),
    );
  }

  async close(): Promise<void> {
    this.#places.close();
    await Promise.all(this.#drivers.map((driver) => driver.close()));
  }

  async #driverFor({ level }: Pick<SandboxSpec, "level">): Promise<Sandbox> {
    const lacks: { readonly name: string; reason: string }[] = [];
    for (const driver of this.#drivers) {
      const reason = isAtLeast(driver.level, level)
        ? await this.#lackOf(driver)
        : `it gives the level ${driver.level} only`;
      if (reason === undefined) return driver;
      lacks.push({ name: driver.name, reason });
    }
    for (const [at, driver] of this.#drivers.entries()) {
      if (!isAtLeast(driver.level, level) || !(await this.#mayHaveCome(driver))) continue;
      const reason = await this.#lackOf(driver, "again");
      if (reason === undefined) return driver;
      lacks[at] = { name: driver.name, reason };
    }
    const told =
      lacks.length === 0
        ? "There is no driver of sandboxes on this machine."
        : lacks.map(({ name, reason }) => `${name}: ${reason.replace(/\.$/, "")}.`).join(" ");
    throw new OsError(
      "isolation_unavailable",
      `No sandbox of the level ${level} can be had here, so nothing was run. ${told} \`reeve doctor\` shows more.`,
      { data: { level, drivers: lacks } },
    );
  }

  /** Whether it could not run here when it was last looked at. */
  async #mayHaveCome(driver: Sandbox): Promise<boolean> {
    const report = await this.#reports.get(driver)?.catch(() => undefined);
    return report?.state.posture === "none";
  }

  /** Why a driver may not be used; undefined if it may. */
  async #lackOf(driver: Sandbox, look?: "again"): Promise<string | undefined> {
    try {
      return lackOf(await this.#tested(driver, look), this.#options.posture);
    } catch (error) {
      return `its self-test could not be made (${messageOf(error)})`;
    }
  }

  /** `again`: one that could not run here a while ago is looked at anew. */
  async #tested(driver: Sandbox, look?: "again"): Promise<SelfTestReport> {
    const known = this.#reports.get(driver);
    if (known === undefined) return this.#test(driver, "quick");
    const report = await known;
    const isOpen = isUndecided(report.verdicts) || (look === "again" && report.state.posture === "none");
    if (!isOpen || this.#options.clock.nowMs() < report.atMs + RETEST_MS) return report;
    // Of those that come here at once, the first has it tested.
    return this.#reports.get(driver) === known ? this.#test(driver, "quick") : this.#tested(driver, look);
  }

  #test(driver: Sandbox, set: "quick" | "full"): Promise<SelfTestReport> {
    const report = this.#judge(driver, set);
    this.#reports.set(driver, report);
    // What could not be tested may be at the next time.
    report.catch(() => this.#reports.get(driver) === report && this.#reports.delete(driver));
    return report;
  }

  async #judge(driver: Sandbox, set: "quick" | "full"): Promise<SelfTestReport> {
    const state = await driver.state();
    if (state.posture !== "none") return this.#options.selfTest.run(driver, set);
    const { name, level } = driver;
    const atMs = this.#options.clock.nowMs();
    return { driver: name, level, state, passed: false, set, verdicts: [], tookMs: 0, atMs };
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function lackOf({ state, passed, verdicts }: SelfTestReport, accepted: Posture): string | undefined {
  if (state.posture === "none") return state.reason;
  if (!passed) {
    const failed = verdicts.filter(({ expected }) => !expected);
    const told = failed.map(({ payload, verdict, detail }) => `${payload} ${verdict} (${detail})`).join(", ");
    return isUndecided(verdicts)
      ? `its self-test came to no verdict, as on a machine that is too busy: ${told}. Nothing got out; it is tested anew when it is asked for after ${RETEST_MS / 1_000} s`
      : `it failed its self-test: ${told === "" ? "no verdict was found" : told}`;
  }
  if (POSTURES.indexOf(state.posture) <= POSTURES.indexOf(accepted)) return undefined;
  return `its posture is ${state.posture} and the configuration asks for ${accepted} (sandbox.posture): ${state.reason}`;
}

/** The report on a driver whose test came to no end. */
async function untested(driver: Sandbox, atMs: number, error: unknown): Promise<SelfTestReport> {
  const reason = `The self-test could not be made: ${messageOf(error)}`;
  const state = await driver.state().catch(() => ({ layers: [], fingerprint: "" }));
  return {
    driver: driver.name,
    level: driver.level,
    state: { ...state, posture: "none", reason },
    passed: false,
    set: "quick",
    verdicts: [],
    tookMs: 0,
    atMs,
  };
}

/** All that a stream says until it ends or breaks off. `hear` is told as it comes, in whole characters. */
function textOf(stream: NodeJS.ReadableStream, hear?: (text: string) => void): Promise<string> {
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const decoder = new TextDecoder();
  stream.on("data", (chunk: Buffer | string) => {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes);
    if (hear === undefined) return;
    const text = decoder.decode(bytes, { stream: true });
    if (text !== "") hear(text);
  });
  for (const event of ["end", "close", "error"]) stream.once(event, () => resolve(Buffer.concat(chunks).toString()));
  return promise;
}

type Waiter = { readonly begin: () => void; readonly refuse: (error: OsError) => void };

/** How many may run at once, and who waits. */
class Places {
  #free: number;
  readonly #waiting = new Set<Waiter>();
  #closed = false;

  constructor(size: number) {
    this.#free = size;
  }

  async take(signal?: AbortSignal): Promise<void> {
    if (this.#closed) throw new OsError("cancelled", "The sandbox was not started: Reeve is ending.");
    if (signal?.aborted === true) throw givenUp();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const { promise, resolve: begin, reject: refuse } = Promise.withResolvers<void>();
    const waiter = { begin, refuse };
    const leave = (): void => {
      this.#waiting.delete(waiter);
      refuse(givenUp());
    };
    this.#waiting.add(waiter);
    signal?.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  giveBack(): void {
    const [first] = this.#waiting;
    if (first === undefined) return void (this.#free += 1);
    this.#waiting.delete(first);
    first.begin();
  }

  close(): void {
    this.#closed = true;
    for (const { refuse } of this.#waiting)
      refuse(new OsError("cancelled", "The sandbox was not started: Reeve is ending."));
    this.#waiting.clear();
  }
}

const givenUp = (): OsError => new OsError("cancelled", "The sandbox was not started: its caller gave up.");
