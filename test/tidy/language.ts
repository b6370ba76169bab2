// The part of the language that is used here, where neither the compiler nor the linter draws the line.
import type { Node } from "oxc-parser";
import { nameOf, fault, isCode, parse, walk } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

const code = (files: readonly SourceFile[]): readonly SourceFile[] => files.filter(({ path }) => isCode(path));

function checkParses(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) =>
    parse(file).errors.map((message) => fault(file, 0, `does not parse: ${message}`, "mend the syntax")),
  );
}

function checkExports(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) =>
    parse(file).program.body.flatMap((node) => {
      if (node.type === "ExportAllDeclaration")
        return [fault(file, node.start, "export *", "name each export, and import from the file that holds it")];
      if (node.type !== "ExportDefaultDeclaration" && !reexportsDefault(node)) return [];
      if (mayExportDefault(file.path)) return [];
      return [
        fault(
          file,
          node.start,
          "a default export",
          "export it under its name: a default is called otherwise everywhere",
        ),
      ];
    }),
  );
}

const reexportsDefault = (node: Node): boolean =>
  node.type === "ExportNamedDeclaration" && node.specifiers.some(({ exported }) => nameOf(exported) === "default");

/** Agents and configurations are modules with a default export, and so are the settings of tools. */
const mayExportDefault = (path: string): boolean =>
  /^(examples|bench)\//.test(path) || /\.config\.(ts|mts|js|mjs)$/.test(path) || /(^|\/)fixtures\//.test(path);

function checkAny(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) => {
    const faults: Fault[] = [];
    walk(parse(file).program, (node) => {
      if (node.type === "TSAnyKeyword")
        faults.push(fault(file, node.start, "any", "say what it is; `unknown` and a check where nobody knows"));
    });
    return faults;
  });
}

const SUPPRESSION =
  /^\s*(@ts-(?:ignore|nocheck|expect-error)|(?:oxlint|eslint)-disable\S*|oxfmt-ignore|prettier-ignore|(?:v8|c8|istanbul) ignore)(.*)$/s;
const REASON_CHARACTERS_MIN = 10;

function checkSuppressions(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) =>
    parse(file).comments.flatMap(({ value, start }) => {
      const [, what, rest = ""] = SUPPRESSION.exec(value.replace(/^\*/, "")) ?? [];
      if (what === undefined) return [];
      if (what === "@ts-ignore" || what === "@ts-nocheck")
        return [
          fault(file, start, what, "use @ts-expect-error with a reason, which fails once it is no longer needed"),
        ];
      // The linter takes what stands after `--` as the reason; elsewhere all the text is the reason.
      const reason = what.includes("lint") ? (rest.split(" -- ")[1] ?? "") : rest;
      if (reason.replace(/^[\s:-]+/, "").trim().length >= REASON_CHARACTERS_MIN) return [];
      const form = what.includes("lint") ? `${what} rule -- reason` : `${what} reason`;
      return [fault(file, start, `${what} without a reason`, `say why it is right here: \`${form}\``)];
    }),
  );
}

// Put together, so that this file does not suppress anything itself.
const directive = (name: string, rest: string): string => `// ${name}${rest}\n`;

export const languageRules: readonly Rule[] = [
  {
    name: "language: every file parses",
    check: checkParses,
    planted: [
      { what: "half a function", files: { "src/kernel/k.ts": "function f( {\n" }, faults: ["src/kernel/k.ts:1"] },
      { what: "a whole one", files: { "src/kernel/k.ts": "function f() {}\n" }, faults: [] },
    ],
  },
  {
    name: "language: no `export *`, no default export but where a tool or user demands it",
    check: checkExports,
    planted: [
      {
        what: "barrels and defaults",
        files: {
          "src/kernel/a.ts": '\nexport * from "./b.ts";\nexport type * from "./b.ts";\nexport * as b from "./b.ts";\n',
          "src/kernel/b.ts": "export default 1;\n",
          "src/kernel/c.ts": "const c = 1;\nexport { c as default };\n",
        },
        faults: [
          "src/kernel/a.ts:2",
          "src/kernel/a.ts:3",
          "src/kernel/a.ts:4",
          "src/kernel/b.ts:1",
          "src/kernel/c.ts:2",
        ],
      },
      {
        what: "agents, configurations, fixtures and named exports",
        files: {
          "examples/refunds/agent.ts": "export default 1;\n",
          "vitest.config.ts": "export default {};\n",
          "test/e2e/fixtures/agents/a.ts": "export default 1;\n",
          "src/kernel/k.ts": 'export { b } from "./b.ts";\nexport const word = "export * from";\n',
        },
        faults: [],
      },
    ],
  },
  {
    name: "language: no any",
    check: checkAny,
    planted: [
      {
        what: "in a parameter, a cast and a type argument, in tests too",
        files: {
          "src/kernel/k.ts": "export function f(a: any) {}\nexport const b = f as any;\n",
          "src/kernel/k.test.ts": "const m: Map<string, any> = new Map();\n",
        },
        faults: ["src/kernel/k.ts:1", "src/kernel/k.ts:2", "src/kernel/k.test.ts:1"],
      },
      {
        what: "the word in text, names and members",
        files: {
          "src/kernel/k.ts":
            "// any\nexport const any = 'any';\nexport const x = Promise.any([]);\nexport type U = unknown;\n",
        },
        faults: [],
      },
    ],
  },
  {
    name: "language: a suppression needs a reason",
    check: checkSuppressions,
    planted: [
      {
        what: "without a reason, with too short a one, and those that are never right",
        files: {
          "src/kernel/k.ts": [
            directive("@ts-expect-error", ""),
            directive("@ts-ignore", " because it is so and not otherwise"),
            directive("oxlint-disable-next-line", " no-console"),
            directive("eslint-disable", " no-console -- ok"),
            directive("oxfmt-ignore", ""),
          ].join(""),
        },
        faults: [1, 2, 3, 4, 5].map((line) => `src/kernel/k.ts:${line}`),
      },
      {
        what: "with a reason, and comments that only speak of them",
        files: {
          "src/kernel/k.ts": [
            directive("@ts-expect-error", " the types of this release lack the field"),
            directive("oxlint-disable-next-line", " no-console -- this is the terminal's own file"),
            directive("We never use", " @ts-ignore here."),
          ].join(""),
        },
        faults: [],
      },
    ],
  },
];
