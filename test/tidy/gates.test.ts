// The gates that are other people's tools: formatter, linter, compiler and the search for dead code.
//
// Method: a small project with this repository's own settings and scripts is made in a folder of its own. As it is, every
// gate lets it pass; with a fault planted, the gate must stop it and say which fault it is. A linter whose type-aware half
// is missing, or a checker that sees no files, is silent and exits with 0: that is what is tested for here.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const SETTINGS = ["tsconfig.json", ".oxlintrc.json", ".oxfmtrc.json", "knip.json"];

const CLEAN = {
  "src/main.ts": '// Boot.\nimport { answer } from "./answer.ts";\n\nprocess.exitCode = answer();\n',
  "src/answer.ts": "// The answer.\n\nexport const answer = (): number => 0;\n",
};

const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly scripts: unknown };
const folders: string[] = [];
let clean = "";

function project(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "reeve-gates-"));
  folders.push(folder);
  for (const file of SETTINGS) cpSync(join(root, file), join(folder, file));
  writeFileSync(
    join(folder, "package.json"),
    `${JSON.stringify({ name: "gates", type: "module", scripts }, null, 2)}\n`,
  );
  // Without a slash, since here it is a link and no folder.
  writeFileSync(join(folder, ".gitignore"), "node_modules\n");
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const [path, text] of Object.entries({ ...CLEAN, ...files })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

function gate(script: string, folder: string): { readonly passed: boolean; readonly output: string } {
  const { status, stdout, stderr } = spawnSync("npm", ["run", "--silent", script], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  return { passed: status === 0, output: stdout + stderr };
}

/** What the linter has to say, and the code that gives it reason to. */
const LINT_FAULTS = {
  "(no-floating-promises)": "export const late = async (): Promise<void> => {};\nlate();\n",
  "(no-misused-promises)": "export const all = [1].filter(async () => true);\n",
  "(no-unsafe-assignment)": 'export const parsed: { a: 1 } = JSON.parse("1");\n',
  "(switch-exhaustiveness-check)":
    'export function f(x: "a" | "b"): void {\n  switch (x) {\n    case "a":\n      throw new Error(x);\n  }\n}\n',
  "(return-await)":
    "const g = async (): Promise<number> => 1;\nexport async function f(): Promise<number> {\n  try {\n    return g();\n  } catch {\n    return 2;\n  }\n}\n",
  "(consistent-type-imports)": 'import { Stats } from "node:fs";\nexport type S = Stats;\n',
  "(no-console)": 'console.log("x");\n',
  "(no-empty)": "export function f(): void {\n  try {\n    f();\n  } catch {}\n}\n",
  "Unused oxlint-disable": [
    "// oxlint",
    "-disable-next-line eqeqeq -- nothing here needs it\nexport const one = 1;\n",
  ].join(""),
};

describe("the gates", () => {
  beforeAll(() => {
    clean = project({});
  });
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  it.each(["format", "lint", "types", "knip"])("%s lets a clean project pass", (script) => {
    const { passed, output } = gate(script, clean);
    expect(passed, output).toBe(true);
  });

  it("run under the Node that the package brings, whatever Node npm itself runs under", () => {
    const { status, stdout } = spawnSync("npm", ["exec", "--", "node", "--version"], { cwd: clean, encoding: "utf8" });
    expect({ status, major: stdout.trim().split(".")[0] }).toEqual({ status: 0, major: "v26" });
  });

  it("lint stops each planted fault, those that need types included", () => {
    const faults: Record<string, string> = {};
    for (const [at, text] of Object.values(LINT_FAULTS).entries()) faults[`src/fault-${at}.ts`] = text;
    const { passed, output } = gate("lint", project(faults));
    expect(passed).toBe(false);
    expect(Object.keys(LINT_FAULTS).filter((said) => !output.includes(said))).toEqual([]);
  });

  it("types stops what Node cannot run, and what may be undefined", () => {
    const { passed, output } = gate(
      "types",
      project({
        "src/answer.ts":
          "enum Word {\n  yes,\n}\nconst list = [1];\nexport const answer = (): number => list[0];\nexport { Word };\n",
      }),
    );
    expect(passed).toBe(false);
    expect(output).toContain("TS1294");
    expect(output).toContain("TS2322");
  });

  it("format stops a file that is not formatted", () => {
    const { passed, output } = gate("format", project({ "src/answer.ts": "export const answer = ()=>0\n" }));
    expect(passed).toBe(false);
    expect(output).toContain("src/answer.ts");
  });

  it("knip stops a dead file and a dead export", () => {
    const { passed, output } = gate(
      "knip",
      project({
        "src/dead.ts": "export const dead = 1;\n",
        "src/answer.ts": "export const answer = (): number => 0;\nexport const unheard = 1;\n",
      }),
    );
    expect(passed).toBe(false);
    expect(output).toContain("src/dead.ts");
    expect(output).toContain("unheard");
  });
});
