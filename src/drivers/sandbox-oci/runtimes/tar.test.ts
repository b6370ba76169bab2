// Goal: an archive of a root is what other programs take it for. Method: tar reads it.
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { rootEntries, rootParts } from "../contents/root.ts";
import { tarOf } from "./tar.ts";

test("an archive of a root is what tar reads it as, and the same each time", () => {
  const parts = rootParts(rootEntries({ image: undefined, etc: "/etc" }));
  const archive = tarOf(parts);
  const listed = execFileSync("tar", ["--numeric-owner", "-tvf", "-"], { input: archive, encoding: "utf8" });
  const lines = listed.trim().split("\n");
  expect(lines).toHaveLength(parts.length);
  expect(lines.filter((line) => !line.includes(" 0/0 "))).toEqual([]);
  expect(listed).toMatch(/^drwxrwxrwt .* tmp\/$/m);
  expect(listed).toMatch(/^drwxr-xr-x .* usr\/$/m);
  expect(listed).toMatch(/^lrwxrwxrwx .* var\/tmp -> \.\.\/tmp$/m);
  expect(Buffer.compare(archive, tarOf(parts))).toBe(0);
  expect(() => tarOf([{ path: "x".repeat(100), kind: "folder", mode: 0o755 }])).toThrow(/shorter/);
});
