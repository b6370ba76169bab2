// Goal: a glob fits what people expect of it, and no glob or expression holds anybody up. Method: lists of globs with paths, and
// globs that are made to be slow; the last would not end within the time of a test.
import { describe, expect, it } from "vitest";
import { globPattern } from "./pattern.ts";

describe("a glob", () => {
  it.each([
    ["*.ts", ["a.ts", ".ts.ts"], ["a.ts"]],
    ["**/*.ts", ["a.ts", "s/a.ts", "s/t/a.ts", ".h/a.ts", "s/.a.ts", "a.tsx"], ["a.ts", "s/a.ts", "s/t/a.ts"]],
    ["src/**", ["src", "src/a", "src/b/c", "src/.d", "srcx/a"], ["src/a", "src/b/c"]],
    ["src/**/a.ts", ["src/a.ts", "src/x/y/a.ts", "a.ts"], ["src/a.ts", "src/x/y/a.ts"]],
    [".git*/*.yml", [".github/a.yml", ".git/b.yml", "git/c.yml"], [".github/a.yml", ".git/b.yml"]],
    ["a?c", ["abc", "a/c", "ac"], ["abc"]],
    ["?a", [".a", "ba"], ["ba"]],
    ["[!a-c]x", ["dx", "ax", "/x"], ["dx"]],
    ["[]]", ["]", "a"], ["]"]],
    ["*.{ts,md}", ["a.ts", "a.md", "a.js", ".ts"], ["a.ts", "a.md"]],
    ["{src,test}/{a,b}*", ["src/a1", "test/b", "src/c"], ["src/a1", "test/b"]],
    ["{*,x}", [".a", "a", "x"], ["a", "x"]],
    ["a+(b).$^|c", ["a+(b).$^|c", "abbxc"], ["a+(b).$^|c"]],
    ["\\*", ["*", "a"], ["*"]],
    ["*", ["a\nb", "a/b"], ["a\nb"]],
    ["é*", ["été", "ete"], ["été"]],
  ])("%s", (glob, paths, fitting) => {
    const { fits } = globPattern(glob);
    expect(paths.filter(fits)).toEqual(fitting);
  });

  it.each(["{a,b", "[a", "x{"])("%s is refused, with what is not closed", (glob) => {
    expect(() => globPattern(glob)).toThrow(/is not closed/);
  });

  it("takes no longer for being made to be slow", () => {
    expect(globPattern(`${"*a".repeat(90)}b`).fits("a".repeat(4_000))).toBe(false);
    expect(globPattern("{a,b}".repeat(40)).fits("ab".repeat(20))).toBe(true);
    expect(globPattern("**/".repeat(60)).fits("a/".repeat(200))).toBe(true);
  });
});
