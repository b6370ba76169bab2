// Goal: a reason that several layers are lacking for is read once. Method: layers as a driver has them.
import { expect, test } from "vitest";
import { textOf } from "./lacking.ts";

test("what is lacking for one reason is named together, and the reason once", () => {
  const lacking = [
    { name: "unique user ids", detail: "not root" },
    { name: "memory limit", detail: "not ours" },
    { name: "process limit", detail: "not ours" },
  ];
  expect(textOf(lacking)).toBe("no unique user ids (not root); no memory limit, no process limit (not ours)");
  expect(textOf([])).toBe("");
});
