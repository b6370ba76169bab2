// How large a thing may grow. What guards against the long tail; medians look after themselves.
import type { Function as FunctionNode, Node } from "oxc-parser";
import { codeLines, fault, isCode, isTest, lineAt, nameOf, parse, walk } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

const FILE_LINES_MAX = 400;
const TEST_FILE_LINES_MAX = 600;
const FUNCTION_LINES_MAX = 70;
const NESTING_MAX = 4;
const PARAMETERS_MAX = 4;

/** Generated files may be as long as they come: path and reason. */
const EXEMPT: ReadonlyMap<string, string> = new Map();

const code = (files: readonly SourceFile[]): readonly SourceFile[] =>
  files.filter(({ path }) => isCode(path) && !EXEMPT.has(path));

function checkFileSize(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) => {
    const most = isTest(file.path) ? TEST_FILE_LINES_MAX : FILE_LINES_MAX;
    const lines = [...codeLines(file)];
    if (lines.length <= most) return [];
    const what = `${lines.length} lines of code, at most ${most} (blank and comment lines are free)`;
    return [
      { path: file.path, line: lines[most] ?? 1, what, remedy: "split the file by concept; aim under 200 lines" },
    ];
  });
}

type AnyFunction = FunctionNode | Extract<Node, { type: "ArrowFunctionExpression" }>;

const isFunction = (node: Node): node is AnyFunction =>
  node.type === "FunctionDeclaration" || node.type === "FunctionExpression" || node.type === "ArrowFunctionExpression";

function checkFunctionSize(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) => {
    const lines = codeLines(file);
    const faults: Fault[] = [];
    walk(parse(file).program, (node, ancestors) => {
      if (!isFunction(node)) return;
      const length = lengthOf(file, node, lines);
      if (length <= FUNCTION_LINES_MAX) return;
      const what = `${functionName(node, ancestors)} has ${length} lines of code, at most ${FUNCTION_LINES_MAX}`;
      faults.push(fault(file, node.start, what, "take a step with a name of its own out of it"));
    });
    return faults;
  });
}

/** Lines of code of a function. The blocks of a test suite count for themselves and not for what holds them. */
function lengthOf(file: SourceFile, node: AnyFunction, lines: ReadonlySet<number>): number {
  const own = new Set<number>();
  const span = (from: number, to: number): readonly number[] => {
    const [first, last] = [lineAt(file.text, from), lineAt(file.text, to)];
    return [...Array(last - first + 1).keys()].map((at) => first + at).filter((line) => lines.has(line));
  };
  for (const line of span(node.start, node.end)) own.add(line);
  if (!isTest(file.path)) return own.size;
  walk(node, (inner, ancestors) => {
    const parent = ancestors[ancestors.length - 1];
    if (inner !== node && isFunction(inner) && parent !== undefined && isTestBlock(parent))
      for (const line of span(inner.start, inner.end)) own.delete(line);
  });
  return own.size;
}

const TEST_BLOCKS = /^(describe|suite|it|test|before|after|beforeAll|beforeEach|afterAll|afterEach)\b/;

const isTestBlock = (parent: Node): boolean => parent.type === "CallExpression" && TEST_BLOCKS.test(calleeText(parent));

function calleeText(node: Node): string {
  if (node.type === "CallExpression") return calleeText(node.callee);
  if (node.type === "MemberExpression") return calleeText(node.object);
  return nameOf(node) ?? "";
}

function functionName(node: AnyFunction, ancestors: readonly Node[]): string {
  if (node.id?.name !== undefined) return `function ${node.id.name}`;
  const parent = ancestors[ancestors.length - 1];
  if (parent?.type === "VariableDeclarator") return `function ${nameOf(parent.id) ?? "without a name"}`;
  if (parent?.type === "MethodDefinition" || parent?.type === "Property") return `method ${nameOf(parent.key) ?? ""}`;
  return "a function without a name";
}

const NESTS = [
  "IfStatement",
  "ForStatement",
  "ForInStatement",
  "ForOfStatement",
  "WhileStatement",
  "DoWhileStatement",
  "SwitchStatement",
  "TryStatement",
];

function checkNesting(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) => {
    const faults: Fault[] = [];
    walk(parse(file).program, (node, ancestors) => {
      if (!NESTS.includes(node.type) || isElseIf(node, ancestors)) return;
      const depth = nestingOf([...ancestors, node]);
      if (depth <= NESTING_MAX) return;
      const remedy = "return early, or give the inner part a function of its own; aim at 3";
      faults.push(fault(file, node.start, `statements nested ${depth} deep, at most ${NESTING_MAX}`, remedy));
    });
    return faults;
  });
}

function nestingOf(chain: readonly Node[]): number {
  const start = chain.findLastIndex(isFunction) + 1;
  const inner = chain.slice(start);
  return inner.filter((node, at) => NESTS.includes(node.type) && !isElseIf(node, inner.slice(0, at))).length;
}

function isElseIf(node: Node, ancestors: readonly Node[]): boolean {
  const parent = ancestors[ancestors.length - 1];
  return node.type === "IfStatement" && parent?.type === "IfStatement" && parent.alternate === node;
}

function checkParameters(files: readonly SourceFile[]): readonly Fault[] {
  return code(files).flatMap((file) => {
    const faults: Fault[] = [];
    walk(parse(file).program, (node) => {
      if (!isFunction(node) && node.type !== "TSMethodSignature" && node.type !== "TSFunctionType") return;
      const count = node.params.filter((parameter) => nameOf(parameter) !== "this").length;
      if (count <= PARAMETERS_MAX) return;
      const remedy = "pass at most three, then one object of options";
      faults.push(fault(file, node.start, `${count} parameters, at most ${PARAMETERS_MAX}`, remedy));
    });
    return faults;
  });
}

const lines = (count: number, line = "a();"): string => `${line}\n`.repeat(count);
const longFunction = (count: number): string => `function f() {\n${lines(count - 2)}}\n`;

export const shapeRules: readonly Rule[] = [
  {
    name: "size: files of at most 400 lines of code, tests 600",
    check: checkFileSize,
    planted: [
      {
        what: "one line too many, in code and in a test",
        files: {
          "src/kernel/k.ts": `// head\n\n${lines(401)}`,
          "src/kernel/k.test.ts": lines(601),
        },
        faults: ["src/kernel/k.ts:403", "src/kernel/k.test.ts:601"],
      },
      {
        what: "as many as allowed, with blank lines and comments beside",
        files: {
          "src/kernel/k.ts": `/*\n a\n b */\n${lines(400)}${lines(50, "// why")}${lines(50, "")}`,
          "src/kernel/k.test.ts": lines(600),
        },
        faults: [],
      },
    ],
  },
  {
    name: "size: functions of at most 70 lines of code",
    check: checkFunctionSize,
    planted: [
      {
        what: "a function, a method and an arrow of 71 lines, and a test of 71",
        files: {
          "src/kernel/f.ts": `\n${longFunction(71)}`,
          "src/kernel/m.ts": `class M {\n  m() {\n${lines(69)}  }\n}\n`,
          "src/kernel/a.ts": `export const a = () => {\n${lines(69)}};\n`,
          "src/kernel/t.test.ts": `describe("x", () => {\n  it("y", () => {\n${lines(69)}  });\n});\n`,
        },
        faults: ["src/kernel/f.ts:2", "src/kernel/m.ts:2", "src/kernel/a.ts:1", "src/kernel/t.test.ts:2"],
      },
      {
        what: "70 lines, and a suite of many tests",
        files: {
          "src/kernel/f.ts": longFunction(70),
          "src/kernel/t.test.ts": `describe.each([1])("x", () => {\n${lines(30, 'it("y", () => {\n  a();\n  b();\n});')}});\n`,
        },
        faults: [],
      },
    ],
  },
  {
    name: "size: statements nested at most 4 deep",
    check: checkNesting,
    planted: [
      {
        what: "five deep",
        files: {
          "src/kernel/k.ts":
            "if (a) {\n for (;;) {\n  while (b) {\n   try {\n    switch (c) {}\n   } finally {}\n  }\n }\n}\n",
        },
        faults: ["src/kernel/k.ts:5"],
      },
      {
        what: "four deep, a long else-if, and an inner function that starts afresh",
        files: {
          "src/kernel/k.ts":
            "if (a) for (;;) while (b) if (c) d();\nif (a) b();\nelse if (c) d();\nelse if (e) f();\nelse if (g) h();\nelse if (i) if (j) k();\nif (a) if (b) if (c) if (d) e(() => {\n  if (f) g();\n});\n",
        },
        faults: [],
      },
    ],
  },
  {
    name: "size: at most 3 parameters and an options object",
    check: checkParameters,
    planted: [
      {
        what: "five, in a function, a method, an interface and a function type",
        files: {
          "src/kernel/k.ts":
            "function f(a, b, c, d, e) {}\nclass C { m(a, b, c, d, ...e) {} }\ninterface I { m(a: 1, b: 1, c: 1, d: 1, e: 1): void }\ntype F = (a: 1, b: 1, c: 1, d: 1, e: 1) => void;\n",
        },
        faults: ["src/kernel/k.ts:1", "src/kernel/k.ts:2", "src/kernel/k.ts:3", "src/kernel/k.ts:4"],
      },
      {
        what: "four, and `this` beside them",
        files: { "src/kernel/k.ts": "function f(this: X, a, b, c, { d, e, f }) {}\n" },
        faults: [],
      },
    ],
  },
];
