// Goal: the page of payloads says what is tried. Method: its rows against the payloads, but for what became of them on a machine.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { PAGE, rowsWanted, rowsWritten } from "./payloads.ts";

it("docs/sandbox-payloads.md lists every payload with its required verdict: otherwise run `npm run payloads`", () => {
  expect(rowsWritten()).toEqual(rowsWanted());
});

it("shows no payload that got out, or was not run", () => {
  const rows = readFileSync(PAGE, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  const other = rows.filter((line) => {
    const [required, ...found] = line
      .split(" | ")
      .slice(2)
      .map((cell) => cell.replace(/ \|$/, ""));
    return found.length === 0 || found.some((verdict) => verdict !== required);
  });
  expect(other).toEqual([]);
});

it("has at least 45 payloads", () => {
  expect(rowsWanted().length).toBeGreaterThanOrEqual(45);
});
