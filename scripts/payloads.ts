// Writes docs/sandbox-payloads.md: each hostile payload of the self-test, and what became of it in each sandbox of this machine.
//
// `node scripts/payloads.ts` runs them all and writes the page; a driver that does not run here leaves the page as it was, and is named.
// Each runtime of containers is a column of its own; an engine that is not here has none.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEgress } from "../src/drivers/egress-proxy/egress.ts";
import { createBubblewrap } from "../src/drivers/sandbox-bubblewrap/sandbox.ts";
import { createOci } from "../src/drivers/sandbox-oci/sandbox.ts";
import { createSelfTest, PAYLOADS } from "../src/drivers/selftest/selftest.ts";
import type { Sandbox, SelfTestReport } from "../src/ports/sandbox.ts";

export const PAGE = join(import.meta.dirname, "..", "docs", "sandbox-payloads.md");
const MADE =
  "<!-- Written by scripts/payloads.ts. Change the payloads in src/drivers/selftest, then run `npm run payloads`. -->";
const UIDS = { from: 310_000, to: 310_999 };

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;

/** What the page must say of each payload, whatever the machine: its row up to what became of it. */
export const rowsWanted = (): readonly string[] =>
  PAYLOADS.map(({ name, tries, expected = "contained" }) => row([`\`${name}\``, tries, expected]));

/** A driver in one of its ways, as the page calls it. */
type Tried = { readonly name: string; readonly sandbox: Sandbox; readonly mayLack: boolean };

function pageOf(reports: readonly SelfTestReport[]): string {
  const found = ({ verdicts }: SelfTestReport, name: string): string => {
    const verdict = verdicts.find(({ payload }) => payload === name);
    return verdict === undefined ? "not run" : verdict.verdict;
  };
  const escapes = reports.map(
    ({ driver, verdicts }) =>
      `${driver}: ${verdicts.filter(({ expected }) => !expected).length} of ${verdicts.length - 1}`,
  );
  return [
    MADE,
    "",
    "# What is tried against sandboxes",
    "",
    "Each driver of [sandboxes](guide/isolation.md) is given these hostile programs before it is used; one that does not end as it must, and",
    "the driver is off. `reeve doctor --full` runs them on your machine. They show what was tried, and prove nothing about faults of the",
    "kernel, which these drivers share with the host.",
    "",
    "`contained`: it came to nothing, or was ended by the limit that it tried, which was named. `surface`: it reached the kernel and nothing",
    "beyond, as a program that may run native code does. A control runs some of them without a sandbox, where they must get out.",
    "",
    `Payloads: ${PAYLOADS.length}. Not as required: ${escapes.join(", ")}.`,
    "",
    row(["payload", "tries to", "required", ...reports.map(({ driver }) => driver)]),
    row(["---", "---", "---", ...reports.map(() => "---")]),
    ...PAYLOADS.map(({ name }, at) =>
      [rowsWanted()[at] ?? "", ...reports.map((report) => ` ${found(report, name)} |`)].join(""),
    ),
    "",
  ].join("\n");
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "reeve-payloads-"));
  const egress = createEgress({ secrets: {}, secretOf: () => undefined });
  const test = createSelfTest({ folder: join(folder, "verdicts"), version: "docs", nowMs: Date.now, egress });
  const container = (runtime: "runc" | "podman" | "docker", at: number): Tried => ({
    name: runtime,
    mayLack: runtime !== "runc",
    sandbox: createOci({
      ...{ folder: join(folder, runtime), runtime },
      uids: { from: UIDS.from + 1_000 * at, to: UIDS.to + 1_000 * at },
    }),
  });
  const tried: readonly Tried[] = [
    {
      ...{ name: "bubblewrap", mayLack: false },
      sandbox: createBubblewrap({
        ...{ folder: join(folder, "bubblewrap"), uids: UIDS, warm: { shell: 0, python: 0, node: 0 } },
      }),
    },
    ...(["runc", "podman", "docker"] as const).map((runtime, at) => container(runtime, at + 1)),
  ];
  try {
    const reports: SelfTestReport[] = [];
    for (const { name, sandbox, mayLack } of tried) {
      const { posture, reason } = await sandbox.state();
      if (posture === "none" && !mayLack)
        throw new Error(`${name} does not run here, so the page is left as it was: ${reason}`);
      if (posture === "none") console.error(`${name} does not run here, so it has no column: ${reason}`);
      else reports.push({ ...(await test.run(sandbox, "full")), driver: name });
    }
    writeFileSync(PAGE, pageOf(reports));
    const bad = reports.flatMap(({ driver, verdicts }) =>
      verdicts.filter(({ expected }) => !expected).map(({ payload, detail }) => `${driver}: ${payload}: ${detail}`),
    );
    for (const line of bad) console.error(line);
    process.exitCode = bad.length === 0 ? 0 : 1;
  } finally {
    await Promise.all(tried.map(({ sandbox }) => sandbox.close()));
    await egress.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Rows of the page as it stands, without what became of each. */
export const rowsWritten = (): readonly string[] =>
  readFileSync(PAGE, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => `${line.split(" | ").slice(0, 3).join(" | ")} |`);

if (import.meta.main) await main();
