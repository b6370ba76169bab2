// Goal: docs/reference says what the tables in the source say.
import { expect, test } from "vitest";
import { ERROR_CODES } from "../src/abi/errors.ts";
import { SYSCALLS } from "../src/abi/syscalls.ts";
import { referencePages, stalePages } from "./reference.ts";

test("every call and every error has its place", () => {
  const pages = referencePages();
  for (const name of Object.keys(SYSCALLS)) expect(pages.get("syscalls.md")).toContain(`\n## ${name}\n`);
  for (const code of ERROR_CODES) expect(pages.get("errors.md")).toContain(`\n## ${code}\n`);
  for (const text of pages.values()) expect(text).not.toMatch(/undefined|\[object Object\]/);
});

test("no page is stale (if one is: npm run reference)", () => {
  expect(stalePages()).toEqual([]);
});
