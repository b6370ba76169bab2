// Who may import whom. The table is the architecture; ARCHITECTURE.md shows it to people.
import { importsOf } from "./imports.ts";
import type { Import } from "./imports.ts";
import { fault, isShipped, isTest, shippedCode } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

const CONTRACT = ["src/ports", "src/abi", "src/lib"] as const;

/** Zone by zone, what it may import beside itself. A zone with a star stands for each folder in that place. */
const DIRECTION: Readonly<Record<string, readonly string[]>> = {
  "src/lib": [],
  "src/abi": ["src/lib"],
  "src/ports": ["src/abi", "src/lib"],
  "src/kernel": CONTRACT,
  "src/scheduler": CONTRACT,
  "src/memory": CONTRACT,
  "src/models": CONTRACT,
  "src/tools": CONTRACT,
  "src/identity": CONTRACT,
  "src/observability": CONTRACT,
  "src/governance": CONTRACT,
  // What several kinds of sandboxes on Linux stand on.
  "src/linux": CONTRACT,
  "src/drivers/*": [...CONTRACT, "src/linux"],
  "src/gateway": CONTRACT,
  "src/sdk": ["src/abi"],
  "src/cli": ["src/sdk", "src/abi"],
  console: ["src/sdk", "src/abi"],
  // The composition root: the list of parts, the command line on the real terminal, and the program that starts it. Nothing else may import them.
  "src/boot.ts": ["*"],
  "src/boot-isolation.ts": ["*"],
  "src/boot-tools.ts": ["*"],
  "src/command-line.ts": ["*"],
  "src/main.ts": ["src/command-line.ts"],
};

/** What starts the rest, and is imported by what starts it alone. */
const STARTED: ReadonlySet<string> = new Set(["src/main.ts", "src/command-line.ts"]);

/** The zone of a path, as a key of the table and as the folder that it names; undefined if the table has none. */
export function zoneOf(path: string): { readonly key: string; readonly folder: string } | undefined {
  for (const key of Object.keys(DIRECTION)) {
    if (path === key || path.startsWith(`${key}/`)) return { key, folder: key };
    if (!key.endsWith("/*")) continue;
    const rest = path.startsWith(key.slice(0, -1)) ? path.slice(key.length - 1) : "";
    const name = rest.split("/")[0] ?? "";
    if (name !== "" && rest.includes("/")) return { key, folder: key.slice(0, -1) + name };
  }
  return undefined;
}

function checkDirection(files: readonly SourceFile[]): readonly Fault[] {
  return shippedCode(files).flatMap((file) => {
    if (zoneOf(file.path) === undefined) return [strayFile(file)];
    return importsOf(file).flatMap((edge) => checkEdge(edge));
  });
}

const strayFile = (file: SourceFile): Fault =>
  fault(
    file,
    0,
    "the file stands in no folder of the direction table",
    "move it into one, or add the folder to DIRECTION in test/tidy/direction.ts and to ARCHITECTURE.md",
  );

function checkEdge(edge: Import): readonly Fault[] {
  const { from, target, offset, specifier } = edge;
  if (target === undefined) return [];
  const own = zoneOf(from.path);
  const other = zoneOf(target);
  if (own === undefined || own.folder === other?.folder) return isTest(target) ? [leaf(edge)] : [];
  const allowed = DIRECTION[own.key] ?? [];
  if (isTest(target) || !isShipped(target)) return [leaf(edge)];
  if ((allowed.includes("*") && !STARTED.has(target)) || (other !== undefined && allowed.includes(other.key)))
    return [];
  const may = allowed.length === 0 ? "imports no other folder" : `may import only ${allowed.join(", ")}`;
  const remedy = `${own.folder} ${may}: take it as a port handed over by boot.ts, or move the shared part below both`;
  return [fault(from, offset, `${own.folder} imports "${specifier}" of ${other?.folder ?? target}`, remedy)];
}

const leaf = ({ from, offset, specifier }: Import): Fault =>
  fault(
    from,
    offset,
    `shipped code imports "${specifier}", which does not ship`,
    "tests, examples and benchmarks are leaves: move what is needed into src",
  );

function checkCycles(files: readonly SourceFile[]): readonly Fault[] {
  const shipped = shippedCode(files);
  const byPath = new Map(shipped.map((file) => [file.path, file]));
  const edges = new Map(
    shipped.map((file) => [file, importsOf(file).filter(({ target }) => byPath.has(target ?? ""))]),
  );
  const done = new Set<SourceFile>();
  const faults: Fault[] = [];
  const visit = (file: SourceFile, trail: readonly Import[]): void => {
    for (const edge of edges.get(file) ?? []) {
      const next = byPath.get(edge.target ?? "");
      if (next === undefined) continue;
      const at = next === file ? trail.length : trail.findIndex(({ from }) => from === next);
      if (at !== -1) faults.push(cycle([...trail.slice(at), edge]));
      else if (!done.has(next)) visit(next, [...trail, edge]);
    }
    done.add(file);
  };
  for (const file of shipped) if (!done.has(file)) visit(file, []);
  return faults;
}

function cycle(ring: readonly Import[]): Fault {
  const last = ring[ring.length - 1];
  if (last === undefined) throw new Error("a cycle has at least one import");
  const names = [...ring.map(({ from }) => from.path), last.target].join(" → ");
  return fault(
    last.from,
    last.offset,
    `import cycle: ${names}`,
    "move what both need into a file of its own, types too",
  );
}

export const directionRules: readonly Rule[] = [
  {
    name: "direction: folders import only what the table allows",
    check: checkDirection,
    planted: [
      {
        what: "a layer reaching up, by type, dynamic, re-export and type expression",
        files: {
          "src/abi/a.ts": 'import type { K } from "../kernel/k.ts";\nexport const a: K = 1;\n',
          "src/lib/l.ts": 'export const l = await import("../abi/a.ts");\n',
          "src/ports/p.ts": '\nexport type { K } from "../kernel/k.ts";\n',
          "src/sdk/s.ts": 'export type S = import("../ports/p.ts").K;\n',
          "src/kernel/k.ts": "export type K = number;\n",
        },
        faults: ["src/abi/a.ts:1", "src/lib/l.ts:1", "src/ports/p.ts:2", "src/sdk/s.ts:1"],
      },
      {
        what: "what starts the rest, imported by the rest",
        files: {
          "src/boot.ts": 'import "./command-line.ts";\n',
          "src/command-line.ts": 'import "./main.ts";\n',
          "src/main.ts": 'import "./command-line.ts";\nimport "./boot.ts";\n',
        },
        faults: ["src/boot.ts:1", "src/command-line.ts:1", "src/main.ts:2"],
      },
      {
        what: "siblings: kernel and primitives, two drivers",
        files: {
          "src/kernel/k.ts": 'import { t } from "../models/t.ts";\nexport const k = t;\n',
          "src/models/t.ts": 'import { g } from "../governance/g.ts";\nexport const t = g;\n',
          "src/governance/g.ts": "export const g = 1;\n",
          "src/drivers/one/a.ts": 'import { b } from "../two/b.ts";\nexport const a = b;\n',
          "src/drivers/two/b.ts": "export const b = 1;\n",
          "src/linux/x.ts": 'import "../drivers/two/b.ts";\n',
          "src/tools/x.ts": 'import "../linux/x.ts";\n',
        },
        faults: [
          "src/kernel/k.ts:1",
          "src/models/t.ts:1",
          "src/drivers/one/a.ts:1",
          "src/linux/x.ts:1",
          "src/tools/x.ts:1",
        ],
      },
      {
        what: "shipped code that imports a test or a fixture, and a file outside the house",
        files: {
          "src/kernel/k.ts": 'import "./k.test.ts";\nimport "../../test/needs.ts";\n',
          "src/kernel/k.test.ts": "",
          "test/needs.ts": "",
          "src/extra/x.ts": "export const x = 1;\n",
        },
        faults: ["src/kernel/k.ts:1", "src/kernel/k.ts:2", "src/extra/x.ts:1"],
      },
      {
        what: "what is allowed, and the word `import` in a string",
        files: {
          "src/boot.ts": "export {};\n",
          "src/main.ts": 'await import("./command-line.ts");\n',
          "src/command-line.ts":
            'import "./boot.ts";\nimport "./kernel/k.ts";\nimport "./drivers/one/a.ts";\nimport "./cli/c.ts";\n',
          "src/kernel/k.ts":
            'import type { P } from "../ports/p.ts";\nexport const k: P = "import x from \'../tools/t.ts\'";\n',
          "src/kernel/k.test.ts": 'import "../drivers/one/a.ts";\n',
          "src/ports/p.ts": 'import { a } from "../abi/a.ts";\nexport type P = typeof a;\n',
          "src/abi/a.ts": "export const a = 'x' as string;\n",
          "src/drivers/one/a.ts": 'import "./b.ts";\nimport "../../abi/a.ts";\nimport "../../linux/x.ts";\n',
          "src/linux/x.ts": 'import "../ports/p.ts";\n',
          "src/drivers/one/b.ts": "export {};\n",
          "src/cli/c.ts": 'import "../sdk/s.ts";\n',
          "src/sdk/s.ts": 'import "../abi/a.ts";\n',
        },
        faults: [],
      },
    ],
  },
  {
    name: "cycles: no ring of imports, types included",
    check: checkCycles,
    planted: [
      {
        what: "a ring of three, one link a type",
        files: {
          "src/lib/a.ts": 'import { b } from "./b.ts";\nexport const a = b;\n',
          "src/lib/b.ts": 'export * as c from "./c.ts";\nexport const b = 1;\n',
          "src/lib/c.ts": '// c\nimport type { a } from "./a.ts";\nexport type C = typeof a;\n',
        },
        faults: ["src/lib/c.ts:2"],
      },
      {
        what: "a file that imports itself",
        files: { "src/lib/a.ts": 'import "./a.ts";\n' },
        faults: ["src/lib/a.ts:1"],
      },
      {
        what: "a diamond",
        files: {
          "src/lib/a.ts": 'import "./b.ts";\nimport "./c.ts";\n',
          "src/lib/b.ts": 'import "./d.ts";\n',
          "src/lib/c.ts": 'import "./d.ts";\n',
          "src/lib/d.ts": "export {};\n",
        },
        faults: [],
      },
    ],
  },
];
