// The self-test: hostile payloads against any driver of sandboxes. A driver is believed only after it has held them.
//
// The quick set runs at each start; the full set once for each fingerprint, whose verdicts are kept (verdicts.ts). What is of the quick set
// is then run twice, unless the driver has one way only: a sandbox may be started in another one where what it is shown lies in a folder
// that is closed to others.
//
// What tries a layer that the driver says is not in force is not run: nothing would hold it, and it would have its way with the machine.
//
// Payloads that do no harm come first, in the sandbox and as a control without one. Only where the sandbox holds these it is given the
// others: a sandbox that is none would let them loose on the machine.
//
// Invariants:
//   T1. It passes only if every payload of the set had its expected verdict, and the control its escapes. Whatever goes wrong on the
//       way is a failure.
//   T2. A quick test passes only under a fingerprint whose full test has passed; where there is none it becomes a full one.
import { performance } from "node:perf_hooks";
import { OsError } from "../../abi/errors.ts";
import type { Egress } from "../../ports/egress.ts";
import type { Sandbox, SelfTest, SelfTestReport, Verdict } from "../../ports/sandbox.ts";
import { controlEscapes } from "./control.ts";
import { silent, type Payload } from "./payload.ts";
import { NETWORK_PROBES } from "./probes-network.ts";
import { KERNEL_PROBES } from "./probes.ts";
import { PROGRAMS } from "./programs.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import { tryPayloads, unheldVerdict, verdictOf, type Means } from "./run.ts";
import { SCRIPTS } from "./scripts.ts";
import { Verdicts } from "./verdicts.ts";

export type SelfTestOptions = {
  /** Where verdicts are kept. */
  readonly folder: string;
  /** Of Reeve. */
  readonly version: string;
  readonly nowMs: () => number;
  /** With it the ways out are tried as well. */
  readonly egress?: Egress | undefined;
};

export const PAYLOADS: readonly Payload[] = [...KERNEL_PROBES, ...NETWORK_PROBES, ...SCRIPTS, ...PROGRAMS];
const isHarmless = ({ control }: Payload): boolean => control === true;
const hasDoor = (payload: Payload): boolean => payload.kind === "script" && payload.door === true;
const isQuick = (payload: Payload): boolean =>
  payload.kind === "program" ? payload.set === "quick" : !hasDoor(payload);

export function createSelfTest(options: SelfTestOptions): SelfTest {
  const means = (): Means => ({ architecture: architecture(), egress: options.egress });
  const verdicts = new Verdicts(
    options.folder,
    `${options.version}${options.egress === undefined ? "" : " with egress"}`,
  );
  return {
    run: async (sandbox, set) => {
      const begunMs = performance.now();
      const kept = set === "full" ? undefined : await verdicts.read(sandbox);
      const report = await test(sandbox, means(), kept?.verdicts);
      const whole = { ...report, tookMs: Math.round(performance.now() - begunMs), atMs: options.nowMs() };
      if (whole.set === "full") await verdicts.write(sandbox, whole);
      return whole;
    },
  };
}

/** `kept`: verdicts of an earlier full test, for the payloads that are not run now; without them the test is full. */
async function test(
  sandbox: Sandbox,
  means: Means,
  kept: readonly Verdict[] | undefined,
): Promise<Omit<SelfTestReport, "tookMs" | "atMs">> {
  const state = await sandbox.state();
  const all = PAYLOADS.filter((payload) => means.egress !== undefined || !hasDoor(payload));
  const due = kept === undefined ? all : all.filter(isQuick);
  const unheld = due.flatMap((payload) => unheldVerdict(payload, state) ?? []);
  const payloads = due.filter(({ name }) => !unheld.some(({ payload }) => payload === name));
  const harmless = payloads.filter(isHarmless);
  const [control, first] = await Promise.all([controlEscapes(harmless, means), tryPayloads(sandbox, harmless, means)]);
  const judged = first.map(verdictOf);
  const broken = judged.filter(({ expected }) => !expected);
  const others = payloads.filter((payload) => !isHarmless(payload));
  const rest =
    broken.length === 0
      ? await tryPayloads(sandbox, others, means)
      : others.map((payload) => ({ payload, found: silent(`not tried, since ${toldOf(broken)}`) }));
  const tried = [...judged, ...rest.map(verdictOf), ...unheld];
  const isHeld = tried.every(({ expected }) => expected);
  const isTwice = kept === undefined && isHeld && state.oneWay !== true;
  const fresh = isTwice ? await testHidden(sandbox, { means, payloads, tried }) : tried;
  const found = all.flatMap(({ name }) =>
    [fresh, kept ?? []].flatMap((list) => list.filter(({ payload }) => payload === name)).slice(0, 1),
  );
  const verdicts = [control, ...found];
  const complete = found.length === all.length;
  return {
    ...{ driver: sandbox.name, level: sandbox.level, state, verdicts },
    set: kept === undefined ? "full" : "quick",
    passed: complete && verdicts.every(({ expected }) => expected),
  };
}

/**
 * Once more, with all that the sandbox is shown where only Reeve finds it, for which a driver may have a way of its own. Answers with
 * the worse of both verdicts.
 */
async function testHidden(
  sandbox: Sandbox,
  { means, payloads, tried }: { means: Means; payloads: readonly Payload[]; tried: readonly Verdict[] },
): Promise<readonly Verdict[]> {
  const again = await tryPayloads(sandbox, payloads.filter(isQuick), { ...means, lies: "hidden" });
  const failed = again.map(verdictOf).filter(({ expected }) => !expected);
  return tried.map((verdict) => {
    const worse = failed.find(({ payload }) => payload === verdict.payload);
    return worse === undefined
      ? verdict
      : { ...worse, detail: `${worse.detail} (started with files that only Reeve finds)` };
  });
}

/** Why a sandbox is given nothing that could do harm. */
function toldOf(broken: readonly Verdict[]): string {
  const named = (which: readonly Verdict[]): string => which.map(({ payload }) => payload).join(", ");
  const out = broken.filter(({ verdict }) => verdict !== "no_verdict");
  return out.length > 0 ? `it did not hold ${named(out)}` : `there was no verdict on ${named(broken)}`;
}

function architecture(): Architecture {
  if (process.arch === "x64" || process.arch === "arm64") return process.arch;
  throw new OsError("isolation_unavailable", `The self-test has no payloads for the architecture ${process.arch}.`);
}
