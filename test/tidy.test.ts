// Style that executes: the architecture, the sizes, the names and the documents, held to the tree.
//
// Method: each rule in `tidy/` is a pure function from files to faults. It is run on the real tree, where it must find
// nothing, and on made-up trees with planted faults, where it must find exactly those: a check that cannot be seen
// to fail is no check.
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { contractRules } from "./tidy/contract.ts";
import { directionRules } from "./tidy/direction.ts";
import { documentRules } from "./tidy/documents.ts";
import { languageRules } from "./tidy/language.ts";
import { lockRules } from "./tidy/lock.ts";
import { nameRules } from "./tidy/names.ts";
import { platformRules } from "./tidy/platform.ts";
import { shapeRules } from "./tidy/shape.ts";
import { isCode, isShipped } from "./tidy/source.ts";
import type { Fault, Planted, SourceFile } from "./tidy/source.ts";
import { readTree } from "./tidy/tree.ts";
import { wordRules } from "./tidy/words.ts";

const RULES = [
  ...directionRules,
  ...platformRules,
  ...shapeRules,
  ...nameRules,
  ...languageRules,
  ...contractRules,
  ...documentRules,
  ...lockRules,
  ...wordRules,
];

const tree = readTree(fileURLToPath(new URL("..", import.meta.url)));

const asFiles = (files: Planted["files"]): readonly SourceFile[] =>
  Object.entries(files).map(([path, text]) => ({ path, text }));

const place = ({ path, line }: Fault): string => `${path}:${line}`;
const report = (found: Fault): string => `${place(found)}  ${found.what}\n    → ${found.remedy}`;

describe("the tree", () => {
  it("was read: the checks have something to look at", () => {
    const paths = tree.map(({ path }) => path);
    expect(paths).toContain("package.json");
    expect(paths).toContain("src/abi/syscalls.ts");
    expect(paths).toContain("test/tidy.test.ts");
    expect(paths.filter(isShipped).length).toBeGreaterThan(20);
    expect(paths.filter((path) => isCode(path) && !isShipped(path)).length).toBeGreaterThan(5);
    expect(paths.filter((path) => path.includes("node_modules/"))).toEqual([]);
  });

  for (const { name, check } of RULES)
    it(name, () => {
      expect(check(tree).map(report).join("\n"), "faults").toBe("");
    });
});

describe("the checks are seen to fail, and to pass", () => {
  it("each has made-up trees with faults, and without", () => {
    const untried = RULES.filter(({ planted }) => new Set(planted.map(({ faults }) => faults.length > 0)).size < 2);
    expect(untried.map(({ name }) => name)).toEqual([]);
  });

  for (const { name, check, planted } of RULES)
    for (const { what, files, faults } of planted)
      it(`${name}: ${what}`, () => {
        const found = check(asFiles(files));
        expect(found.map(place).sort()).toEqual([...faults].sort());
        expect(found.filter(({ what: said, remedy }) => said === "" || remedy === "")).toEqual([]);
      });
});
