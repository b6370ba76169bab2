// What `reeve doctor` says of sandboxes: a row for each driver, from the report of its self-test.
import type { Posture } from "../abi/isolation.ts";
import { POSTURES } from "../abi/isolation.ts";
import type { Check } from "../abi/reports.ts";
import type { SelfTestReport } from "../ports/sandbox.ts";

/** Verdicts that are told by name; the others are counted. */
const TOLD_MAX = 5;

/** `accepted`: the weakest posture that the configuration takes. */
export function sandboxChecks(
  reports: readonly SelfTestReport[],
  accepted: Exclude<Posture, "none">,
): readonly Check[] {
  return reports.map((report) => ({ name: `sandbox ${report.driver}`, ...judgementOf(report, accepted) }));
}

function judgementOf(report: SelfTestReport, accepted: Posture): Pick<Check, "state" | "detail"> {
  const { level, state, passed } = report;
  if (state.posture === "none") return { state: "off", detail: `${level}: it does not run here. ${state.reason}` };
  const gives = `${level}, ${state.posture}: ${testOf(report)}`;
  if (!passed) return { state: "failed", detail: `${gives}. It is not used: ${faultsOf(report)}.` };
  if (state.posture === "strong") return { state: "ok", detail: gives };
  if (POSTURES.indexOf(state.posture) <= POSTURES.indexOf(accepted))
    return { state: "warning", detail: `${gives}. It is used without all of its layers: ${state.reason}` };
  const remedy = `Mend that, or accept it with \`sandbox: { posture: "${state.posture}" }\`.`;
  return { state: "warning", detail: `${gives}. It is not used: ${state.reason.replace(/\.$/, "")}. ${remedy}` };
}

function testOf({ verdicts, set, atMs, tookMs }: SelfTestReport): string {
  const held = verdicts.filter(({ expected }) => expected).length;
  const when = new Date(atMs).toISOString().replace(/\.\d+Z$/, "Z");
  return `${held} of ${verdicts.length} payloads ended as they must (${set} set, ${when}, ${(tookMs / 1_000).toFixed(1)} s)`;
}

function faultsOf({ verdicts }: SelfTestReport): string {
  const faults = verdicts.filter(({ expected }) => !expected);
  if (faults.length === 0) return "its test came to no end";
  const told = faults.slice(0, TOLD_MAX).map(({ payload, verdict, detail }) => `${payload} ${verdict} (${detail})`);
  const more = faults.length > TOLD_MAX ? [`and ${faults.length - TOLD_MAX} more`] : [];
  return [...told, ...more].join(", ");
}
