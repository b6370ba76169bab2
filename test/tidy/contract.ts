// Nothing in the contract is for show: every entry of a table in `src/abi` is used by code that acts on it.
// A field that nobody reads is a promise to the user that nobody keeps.
import type { Node } from "oxc-parser";
import { fault, nameOf, parse, shippedCode, walk } from "./source.ts";
import type { Fault, Planted, Rule, SourceFile } from "./source.ts";
import { usageOf } from "./usage.ts";
import type { Usage } from "./usage.ts";

type Entry = { readonly name: string; readonly offset: number };

/** How names are used by code outside `src/abi`, in all files but the table's own, and everywhere. */
type Usages = { readonly outside: Usage; readonly elsewhere: Usage; readonly everywhere: Usage };

type Table = {
  readonly file: string;
  readonly what: string;
  readonly entries: (file: SourceFile) => readonly Entry[];
  /** What the entry lacks; undefined if it is used. */
  readonly lacks: (name: string, usage: Usages) => string | undefined;
  readonly planted: readonly Planted[];
};

const readOutside = (name: string, { outside }: Usages): string | undefined =>
  outside.fieldsRead.has(name) ? undefined : "is read by no code outside src/abi";

function checkTable(table: Table, files: readonly SourceFile[]): readonly Fault[] {
  const shipped = shippedCode(files);
  const file = shipped.find(({ path }) => path === table.file);
  const entries = file === undefined ? [] : table.entries(file);
  if (file === undefined || entries.length === 0) {
    const remedy = "if it has moved, say where in test/tidy/contract.ts: this check saw nothing";
    return [{ path: table.file, line: 1, what: `no ${table.what} found`, remedy }];
  }
  const usages: Usages = {
    outside: usageOf(shipped.filter(({ path }) => !path.startsWith("src/abi/"))),
    elsewhere: usageOf(shipped.filter((other) => other !== file)),
    everywhere: usageOf(shipped),
  };
  return entries.flatMap(({ name, offset }) => {
    const lack = table.lacks(name, usages);
    const remedy = "make it work, or take it out of the contract until it does";
    return lack === undefined ? [] : [fault(file, offset, `${table.what} "${name}" ${lack}`, remedy)];
  });
}

/** The declaration of a constant or type of this name, or undefined. */
function declaration(file: SourceFile, name: string): Node | undefined {
  let found: Node | undefined;
  walk(parse(file).program, (node) => {
    if (node.type !== "VariableDeclarator" && node.type !== "TSTypeAliasDeclaration") return;
    if (nameOf(node.id) === name) found ??= node;
  });
  return found;
}

function collect(
  from: Node | undefined,
  pick: (node: Node, ancestors: readonly Node[]) => Node | undefined,
): readonly Entry[] {
  const entries = new Map<string, Entry>();
  if (from === undefined) return [];
  walk(from, (node, ancestors) => {
    const picked = pick(node, ancestors);
    const name = picked === undefined ? undefined : nameOf(picked);
    if (picked !== undefined && name !== undefined && !entries.has(name))
      entries.set(name, { name, offset: picked.start });
  });
  return [...entries.values()];
}

/** Members of a type, at any depth. */
const typeMembers = (name: string) => (file: SourceFile) =>
  collect(declaration(file, name), (node) => (node.type === "TSPropertySignature" ? node.key : undefined));

/** The values that a literal member takes in the variants of a union. */
const variants = (name: string, member: string) => (file: SourceFile) =>
  collect(declaration(file, name), (node, ancestors) => {
    const signature = ancestors[ancestors.length - 3];
    const isTag =
      node.type === "Literal" && signature?.type === "TSPropertySignature" && nameOf(signature.key) === member;
    return isTag ? node : undefined;
  });

/** The keys of the object that a constant is, one level deep. */
const keys = (name: string) => (file: SourceFile) => {
  const table = declaration(file, name);
  return collect(table, (node, ancestors) => {
    const objects = ancestors.filter(({ type }) => type === "ObjectExpression");
    return node.type === "Property" && objects.length === 1 ? node.key : undefined;
  });
};

/** The keys of all schemas within the constants named, or within the whole file. */
const schemaKeys =
  (...names: readonly string[]) =>
  (file: SourceFile) =>
    (names.length === 0 ? [parse(file).program] : names.map((name) => declaration(file, name))).flatMap((from) =>
      collect(from, (node, ancestors) => {
        const holder = ancestors[ancestors.length - 2];
        if (node.type !== "Property" || holder === undefined) return undefined;
        return isSchema(holder) || holder.type === "VariableDeclarator" ? node.key : undefined;
      }),
    );

const isSchema = (node: Node): boolean =>
  node.type === "CallExpression" &&
  node.callee.type === "MemberExpression" &&
  ["object", "strictObject", "looseObject"].includes(nameOf(node.callee.property) ?? "");

const exportedConstants = (file: SourceFile): readonly Entry[] =>
  parse(file).program.body.flatMap((node) =>
    node.type === "ExportNamedDeclaration" && node.declaration?.type === "VariableDeclaration"
      ? node.declaration.declarations.map(({ id }) => ({ name: nameOf(id) ?? "", offset: id.start }))
      : [],
  );

const schemaSample = (name: string): string =>
  `import { z } from "zod";\nexport const ${name} = z.strictObject({\n  used: z.int(),\n  unused: z.strictObject({\n    deep: z.int(),\n  }),\n});\n`;

const schemaPlanted = (file: string, name: string): readonly Planted[] => [
  {
    what: "a key that is only declared, only written, and only read in a test",
    files: {
      [file]: schemaSample(name),
      "src/kernel/k.ts": "export const k = (c) => c.used + c.unused;\nexport const w = { deep: 1 };\n",
      "src/kernel/k.test.ts": "expect(k.deep);\n",
    },
    faults: [`${file}:5`],
  },
  {
    what: "keys that are read as a member, taken apart and looked up",
    files: {
      [file]: schemaSample(name),
      "src/kernel/k.ts":
        'export const k = (c) => c.used;\nexport function f({ unused }) {\n  return unused["deep"];\n}\n',
    },
    faults: [],
  },
  { what: "a table that has moved away", files: { "src/kernel/k.ts": "export const k = 1;\n" }, faults: [`${file}:1`] },
];

const EVENT_SAMPLE =
  'export type EventHeader =\n  | { readonly kind: "a.done"; readonly who: string }\n  | { readonly kind: "b.done"; readonly why: string };\n';

const TABLES: readonly Table[] = [
  {
    file: "src/abi/events.ts",
    what: "event kind",
    entries: variants("EventHeader", "kind"),
    lacks: (name, { outside }) => {
      if (!outside.wordsWritten.has(name)) return "is written by no code";
      return outside.wordsRead.has(name) ? undefined : "is read by no code: nothing follows from it";
    },
    planted: [
      {
        what: "a kind that is never written, and one that is never read",
        files: {
          "src/abi/events.ts": EVENT_SAMPLE,
          "src/kernel/k.ts": 'export const k = { kind: "b.done" };\nswitch (x) {\n  case "a.done":\n}\n',
        },
        faults: ["src/abi/events.ts:2", "src/abi/events.ts:3"],
      },
      {
        what: "kinds that are written and read",
        files: {
          "src/abi/events.ts": EVENT_SAMPLE,
          "src/kernel/k.ts":
            'export const k = y ? "a.done" : "b.done";\nif (x === "a.done") f();\nconst t = { "b.done": f };\n',
        },
        faults: [],
      },
    ],
  },
  {
    file: "src/abi/events.ts",
    what: "event field",
    entries: typeMembers("EventHeader"),
    lacks: readOutside,
    planted: [
      {
        what: "a field that is written and never read",
        files: {
          "src/abi/events.ts": EVENT_SAMPLE,
          "src/kernel/k.ts": 'export const k = { kind: "a.done", who: 1, why: 2 };\nf(e.kind, e.who);\ne.why = 3;\n',
        },
        faults: ["src/abi/events.ts:3"],
      },
      {
        what: "fields that are read",
        files: { "src/abi/events.ts": EVENT_SAMPLE, "src/kernel/k.ts": "const { kind, who } = e;\nf(e.why);\n" },
        faults: [],
      },
    ],
  },
  {
    file: "src/abi/errors.ts",
    what: "error code",
    entries: keys("ERRORS"),
    lacks: (name, { outside }) =>
      outside.wordsWritten.has(name) || outside.wordsRead.has(name)
        ? undefined
        : "is raised by no code outside src/abi",
    planted: [
      {
        what: "a code that nobody raises",
        files: {
          "src/abi/errors.ts":
            "export const ERRORS = {\n  denied: { status: 403 },\n  lost: { status: 500 },\n} as const satisfies T;\n",
          "src/abi/syscalls.ts": 'export const S = { x: { errors: ["lost"] } };\n',
          "src/kernel/k.ts": 'throw new OsError("denied", "");\nexport type L = "lost";\n',
        },
        faults: ["src/abi/errors.ts:3"],
      },
      {
        what: "codes that are raised",
        files: {
          "src/abi/errors.ts": "export const ERRORS = {\n  denied: { status: 403 },\n};\n",
          "src/kernel/k.ts": 'throw new OsError("denied", "");\n',
        },
        faults: [],
      },
    ],
  },
  {
    file: "src/abi/errors.ts",
    what: "error column",
    entries: typeMembers("Row"),
    lacks: readOutside,
    planted: [
      {
        what: "a column that nobody reads",
        files: {
          "src/abi/errors.ts": "type Row = {\n  readonly status: number;\n  readonly exit: number;\n};\n",
          "src/gateway/g.ts": "f(ERRORS[code].status);\n",
        },
        faults: ["src/abi/errors.ts:3"],
      },
      {
        what: "a column that is read",
        files: { "src/abi/errors.ts": "type Row = { readonly exit: number };\n", "src/cli/c.ts": "f(row.exit);\n" },
        faults: [],
      },
    ],
  },
  {
    file: "src/abi/limits.ts",
    what: "limit",
    entries: exportedConstants,
    lacks: (name, { elsewhere }) => (elsewhere.identifiers.has(name) ? undefined : "bounds nothing: no code uses it"),
    planted: [
      {
        what: "a limit that is not even imported, and one that is imported for nothing",
        files: {
          "src/abi/limits.ts": "export const A_MAX = 1;\nexport const B_MAX = 2;\nexport const C_MAX = 3;\n",
          "src/kernel/k.ts": 'import { A_MAX, C_MAX } from "../abi/limits.ts";\nexport const k = A_MAX;\n',
        },
        faults: ["src/abi/limits.ts:2", "src/abi/limits.ts:3"],
      },
      {
        what: "limits that bound code and schemas",
        files: {
          "src/abi/limits.ts": "export const A_MAX = 1;\nexport const B_MAX = 2;\n",
          "src/abi/s.ts": 'import { A_MAX } from "./limits.ts";\nexport const s = z.int().max(A_MAX);\n',
          "src/kernel/k.ts": 'import { B_MAX } from "../abi/limits.ts";\nexport const k = B_MAX;\n',
        },
        faults: [],
      },
    ],
  },
  {
    file: "src/abi/config.ts",
    what: "configuration key",
    entries: schemaKeys(),
    lacks: readOutside,
    planted: schemaPlanted("src/abi/config.ts", "configSchema"),
  },
  {
    file: "src/abi/agents.ts",
    what: "agent manifest key",
    entries: schemaKeys("budgetSchema", "agentManifestSchema"),
    lacks: readOutside,
    planted: schemaPlanted("src/abi/agents.ts", "agentManifestSchema"),
  },
  {
    file: "src/abi/tools.ts",
    what: "tool manifest key",
    entries: schemaKeys("toolManifestSchema"),
    lacks: readOutside,
    planted: schemaPlanted("src/abi/tools.ts", "toolManifestSchema"),
  },
  {
    file: "src/abi/syscalls.ts",
    what: "system call column",
    entries: (file) => [...typeMembers("Row")(file), ...typeMembers("Http")(file)],
    // `callers` is read in the contract itself, which derives from it the lists of calls that the doors and the kernel use.
    lacks: (name, { everywhere }) => (everywhere.fieldsRead.has(name) ? undefined : "is read by no code"),
    planted: [
      {
        what: "a column that no code reads",
        files: {
          "src/abi/syscalls.ts":
            "type Http = { readonly path: string };\ntype Row = {\n  readonly right: Right;\n  readonly http?: Http;\n};\n",
          "src/gateway/g.ts": "f(row.http.path);\nconst row = { right: 1 };\n",
        },
        faults: ["src/abi/syscalls.ts:3"],
      },
      {
        what: "columns that are read",
        files: {
          "src/abi/syscalls.ts": "type Row = { readonly right: Right; readonly http?: Http };\n",
          "src/gateway/g.ts": "const { http, right } = rowOf(name);\n",
        },
        faults: [],
      },
    ],
  },
];

export const contractRules: readonly Rule[] = TABLES.map((table) => ({
  name: `contract: every ${table.what} is used`,
  check: (files) => checkTable(table, files),
  planted: table.planted,
}));
