// What `reeve doctor` says of sandboxes: a row for each driver, from the report of its self-test, and one for each server of tools that
// the configuration keeps out of them.
import type { SourceConfig } from "../abi/config.ts";
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

/** A source or a server that runs with the rights of whoever runs Reeve. */
export function unisolatedChecks(tools: Readonly<Record<string, SourceConfig>>): readonly Check[] {
  const warning = (name: string, key: string): Check => ({
    name: `tools.${name}`,
    state: "warning",
    detail: `runs with your rights: ${key} is "none"`,
  });
  return Object.entries(tools).flatMap(([name, source]): readonly Check[] => {
    if (source.type === "mcp-stdio")
      return source.isolation === "none" ? [warning(name, `tools.${name}.isolation`)] : [];
    if (source.type !== "mcp-json") return [];
    const servers = Object.entries(source.isolation).filter(([, isolation]) => isolation === "none");
    return servers.map(([server]) => warning(`${name}: ${server}`, `tools.${name}.isolation of ${server}`));
  });
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
