// What things may be called. A vague name is where the next thing without a home is put.
import { posix } from "node:path";
import type { Node } from "oxc-parser";
import { fault, isCode, nameOf, parse, walk } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

const VAGUE = ["utils", "util", "helpers", "helper", "common", "misc", "internals", "manager"];
/** The files that a package's users import; the only ones that may be called `index.ts`. */
const PUBLIC_DOORS: readonly string[] = ["src/sdk/index.ts"];
/** Folders that hold code of ours; documents and settings have their own customs. */
const HOUSE = /^(src|test|bench|console|examples|scripts)\//;
const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*$/;

const vagueWord = (name: string): string | undefined =>
  name
    .toLowerCase()
    .split(/[-_.]/)
    .find((word) => VAGUE.includes(word));

function checkFileNames(files: readonly SourceFile[]): readonly Fault[] {
  const house = files.filter(({ path }) => HOUSE.test(path) && isCode(path));
  return house.flatMap((file) => {
    const remedy = "name it after the thing it holds, a noun of the domain in kebab-case";
    const folders = posix.dirname(file.path).split("/");
    const name = posix.basename(file.path).replace(/(\.[a-z-]+)+$/, "");
    const vague = [...folders, name].map(vagueWord).find((word) => word !== undefined);
    if (vague !== undefined) return [fault(file, 0, `the path holds the vague word "${vague}"`, remedy)];
    if (name === "index" && !PUBLIC_DOORS.includes(file.path)) return [fault(file, 0, "index says nothing", remedy)];
    return KEBAB.test(name) ? [] : [fault(file, 0, `"${name}" is not in kebab-case`, remedy)];
  });
}

const BANNED_PARTS: readonly { readonly pattern: RegExp; readonly what: string }[] = [
  { pattern: /Impl([A-Z]|$)/, what: "ends in Impl" },
  { pattern: /[a-z]Base$|^Base[A-Z]/, what: "is a Base" },
  { pattern: /Abstract[A-Z]/, what: "is Abstract" },
  { pattern: /(Manager|Helpers?|Utils?)([A-Z]|$)/, what: "holds a vague word" },
];

function checkDeclaredNames(files: readonly SourceFile[]): readonly Fault[] {
  return files
    .filter(({ path }) => isCode(path))
    .flatMap((file) => {
      const faults: Fault[] = [];
      walk(parse(file).program, (node) => {
        const name = declaredName(node);
        const what = name === undefined ? undefined : badPart(node, name);
        const remedy = "name it after what it is, and the interface after the face it shows";
        if (what !== undefined) faults.push(fault(file, node.start, `"${name}" ${what}`, remedy));
      });
      return faults;
    });
}

function declaredName(node: Node): string | undefined {
  switch (node.type) {
    case "ClassDeclaration":
    case "FunctionDeclaration":
    case "TSInterfaceDeclaration":
    case "TSTypeAliasDeclaration":
    case "VariableDeclarator":
      return node.id === null ? undefined : nameOf(node.id);
    default:
      return undefined;
  }
}

function badPart(node: Node, name: string): string | undefined {
  const typeLike = node.type === "TSInterfaceDeclaration" || node.type === "TSTypeAliasDeclaration";
  if (typeLike && /^I[A-Z][a-z]/.test(name)) return "carries the I of an interface";
  return BANNED_PARTS.find(({ pattern }) => pattern.test(name))?.what;
}

export const nameRules: readonly Rule[] = [
  {
    name: "names: files after what they hold",
    check: checkFileNames,
    planted: [
      {
        what: "vague rooms, vague files, index files and other cases",
        files: {
          "src/lib/utils.ts": "",
          "test/helpers.ts": "",
          "src/kernel/internals/x.ts": "",
          "src/kernel/lock-manager.ts": "",
          "src/kernel/index.ts": "",
          "src/kernel/processTable.ts": "",
          "bench/common/x.mjs": "",
        },
        faults: [
          "src/lib/utils.ts:1",
          "test/helpers.ts:1",
          "src/kernel/internals/x.ts:1",
          "src/kernel/lock-manager.ts:1",
          "src/kernel/index.ts:1",
          "src/kernel/processTable.ts:1",
          "bench/common/x.mjs:1",
        ],
      },
      {
        what: "domain nouns, a public door, tests with their suffixes",
        files: {
          "src/kernel/process-table.ts": "",
          "src/kernel/process-table.property.test.ts": "",
          "src/sdk/index.ts": "",
          "test/types/agent.test-d.ts": "",
          "test/claims/k1-one-door.test.ts": "",
          "docs/common.md": "",
        },
        faults: [],
      },
    ],
  },
  {
    name: "names: no Impl, Base, Abstract, Manager, Helper, Util, I-prefix",
    check: checkDeclaredNames,
    planted: [
      {
        what: "each of them",
        files: {
          "src/kernel/k.ts":
            "class StoreImpl {}\nabstract class StoreBase {}\nclass BaseStore {}\ninterface IStore {}\nexport type IState = 1;\nfunction dateUtil() {}\nexport const lockManager = 1;\nclass AbstractStore {}\n",
        },
        faults: [1, 2, 3, 4, 5, 6, 7, 8].map((line) => `src/kernel/k.ts:${line}`),
      },
      {
        what: "words that only look alike",
        files: {
          "src/kernel/k.ts":
            "interface Identity {}\ninterface IO {}\ntype Implied = 1;\nconst database = 1;\nclass Simplex {}\nconst baseUrl = 1;\n",
        },
        faults: [],
      },
    ],
  },
];
