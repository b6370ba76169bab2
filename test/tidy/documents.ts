// Documents drift unless something holds them to the tree: folders, links, paths, scripts and promises.
import { posix } from "node:path";
import { fault, isCode, isShipped } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

const isMarkdown = ({ path }: SourceFile): boolean => path.endsWith(".md");
const find = (files: readonly SourceFile[], path: string): SourceFile | undefined =>
  files.find((file) => file.path === path);

const missing = (path: string): readonly Fault[] => [
  { path, line: 1, what: "the document does not exist", remedy: "write it: this check has nothing to look at" },
];

function checkFolders(files: readonly SourceFile[]): readonly Fault[] {
  const architecture = find(files, "ARCHITECTURE.md");
  if (architecture === undefined) return missing("ARCHITECTURE.md");
  const folders = new Set(files.filter(({ path }) => isShipped(path)).flatMap(({ path }) => foldersOf(path)));
  return [...folders]
    .filter((folder) => !architecture.text.includes(folder))
    .map((folder) =>
      fault(architecture, 0, `${folder} is not named`, "say what the folder is for, in the map of the house"),
    );
}

/** `src/kernel` of a file there; for a driver its own folder as well. */
function foldersOf(path: string): readonly string[] {
  const [root = "", zone, name, ...rest] = path.split("/");
  if (root !== "src" || zone === undefined || name === undefined) return [];
  return zone === "drivers" && rest.length > 0 ? [`src/${zone}`, `src/${zone}/${name}`] : [`src/${zone}`];
}

/** The text with fenced blocks blanked out, offsets kept: what stands in them is an example. */
const prose = (text: string): string =>
  text.replace(/^(```|~~~)[\s\S]*?^\1.*$/gm, (block) => block.replace(/[^\n]/g, " "));

function checkLinks(files: readonly SourceFile[]): readonly Fault[] {
  return files.filter(isMarkdown).flatMap((file) =>
    [
      ...prose(file.text)
        .replace(/`[^`\n]*`/g, (code) => " ".repeat(code.length))
        .matchAll(/\]\(\s*<?([^)\s>]+)/g),
    ].flatMap((match) => {
      const target = match[1] ?? "";
      const broken = /^[a-z][a-z0-9+.-]*:/i.test(target) ? undefined : brokenLink(file, target, files);
      return broken === undefined
        ? []
        : [fault(file, match.index, `the link to "${target}" ${broken}`, "mend the link, or take it out")];
    }),
  );
}

function brokenLink(from: SourceFile, target: string, files: readonly SourceFile[]): string | undefined {
  const [link = "", anchor] = target.split("#");
  const path = link === "" ? from.path : posix.normalize(posix.join(posix.dirname(from.path), decodeURI(link)));
  if (!exists(path, files)) return `leads to nothing: there is no ${path}`;
  const document = find(files, path);
  if (anchor === undefined || document === undefined || !isMarkdown(document)) return undefined;
  return headings(document.text).includes(anchor) ? undefined : `leads to no heading of ${path}`;
}

function exists(path: string, files: readonly SourceFile[]): boolean {
  const folder = path.endsWith("/") ? path : `${path}/`;
  return path === "." || files.some((file) => file.path === path || file.path.startsWith(folder));
}

/** Anchors as code hosts make them from headings. */
const headings = (text: string): readonly string[] =>
  [...prose(text).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-"),
  );

const PATH_IN_CODE = /`((?:src|test|docs|examples|bench|console|scripts|\.ci)\/[\w./-]*)`/g;

function checkPaths(files: readonly SourceFile[]): readonly Fault[] {
  return files
    .filter(isMarkdown)
    .flatMap((file) =>
      [...prose(file.text).matchAll(PATH_IN_CODE)]
        .filter(([, path = ""]) => !exists(path, files))
        .map(({ index, 1: path }) =>
          fault(file, index, `\`${path}\` does not exist`, "name what is there, in the words of the tree"),
        ),
    );
}

function checkScripts(files: readonly SourceFile[]): readonly Fault[] {
  const manifest = find(files, "package.json");
  if (manifest === undefined) return missing("package.json");
  const { scripts } = JSON.parse(manifest.text) as { readonly scripts?: Readonly<Record<string, string>> };
  const known = Object.keys(scripts ?? {});
  return files
    .filter(isMarkdown)
    .flatMap((file) =>
      [...file.text.matchAll(/\bnpm (?:run |(?=test\b|start\b))([a-z][a-z:]*)/g)]
        .filter(([, name = ""]) => !known.includes(name))
        .map(({ index, 1: name }) =>
          fault(file, index, `package.json has no script "${name}"`, "mend the document or add the script"),
        ),
    );
}

function checkClaims(files: readonly SourceFile[]): readonly Fault[] {
  const readme = find(files, "README.md");
  if (readme === undefined) return missing("README.md");
  const promises = new Map(
    [...readme.text.matchAll(/\bK([0-9]+)\b/g)].reverse().map(({ 1: number, index }) => [number ?? "", index]),
  );
  if (promises.size === 0)
    return [
      fault(
        readme,
        0,
        "no promise (K1, K2, …) is named",
        "say what is promised, each with its number: this check saw nothing",
      ),
    ];
  return [...promises]
    .filter(
      ([number]) => !files.some(({ path }) => path.startsWith(`test/claims/k${number}-`) && path.endsWith(".test.ts")),
    )
    .map(([number, index]) => {
      const what = `K${number} is promised and no test/claims/k${number}-*.test.ts shows it`;
      return fault(readme, index, what, "write the test that fails when the part is unplugged, or promise it later");
    });
}

function checkHeads(files: readonly SourceFile[]): readonly Fault[] {
  return files
    .filter(({ path, text }) => isCode(path) && /^(src|test|bench|console|scripts)\//.test(path) && text.trim() !== "")
    .filter(({ text }) => !/^(#!.*\n)?\s*(\/\/|\/\*)/.test(text))
    .map((file) => fault(file, 0, "no head comment", "open the file with what it is and where its boundary runs"));
}

const ARCHITECTURE = "The kernel is in src/kernel, drivers in src/drivers.\n";

export const documentRules: readonly Rule[] = [
  {
    name: "documents: ARCHITECTURE.md names every folder of src",
    check: checkFolders,
    planted: [
      {
        what: "a primitive and a driver that it does not know",
        files: { "ARCHITECTURE.md": ARCHITECTURE, "src/tools/t.ts": "", "src/drivers/new/n.ts": "" },
        faults: ["ARCHITECTURE.md:1", "ARCHITECTURE.md:1"],
      },
      { what: "no such document", files: { "src/tools/t.ts": "" }, faults: ["ARCHITECTURE.md:1"] },
      {
        what: "all named",
        files: { "ARCHITECTURE.md": ARCHITECTURE, "src/kernel/k.ts": "", "src/main.ts": "" },
        faults: [],
      },
    ],
  },
  {
    name: "documents: links lead somewhere",
    check: checkLinks,
    planted: [
      {
        what: "a file, a folder and a heading that are not there",
        files: {
          "docs/a.md": "# A b\n[x](../src/gone.ts)\n[y](b/)\n[z](#a-c)\n[w](c.md#no)\n",
          "docs/c.md": "# Yes\n",
        },
        faults: ["docs/a.md:2", "docs/a.md:3", "docs/a.md:4", "docs/a.md:5"],
      },
      {
        what: "links that hold, outer links, examples",
        files: {
          "docs/a.md":
            "# A: `b`\n[x](../src/k.ts) [f](../src) [z](#a-b) [w](c.md#yes) [h](https://x.y/z)\n`[q](gone.md)`\n```md\n[r](gone.md)\n```\n",
          "docs/c.md": "# Yes\n",
          "src/k.ts": "",
        },
        faults: [],
      },
    ],
  },
  {
    name: "documents: paths in them exist",
    check: checkPaths,
    planted: [
      {
        what: "a path in code that is gone",
        files: { "README.md": "a\nSee `src/gone.ts`.\n" },
        faults: ["README.md:2"],
      },
      {
        what: "a path that is there, and a pattern",
        files: { "README.md": "`src/k.ts` `src/` `test/*.ts`\n", "src/k.ts": "" },
        faults: [],
      },
    ],
  },
  {
    name: "documents: npm scripts in them exist",
    check: checkScripts,
    planted: [
      {
        what: "a script that package.json lacks",
        files: {
          "package.json": '{"scripts":{"test":""}}',
          "README.md": "`npm test`\n`npm run sim -- --seed 1`\n`npm start`\n",
        },
        faults: ["README.md:2", "README.md:3"],
      },
      {
        what: "scripts that it has",
        files: {
          "package.json": '{"scripts":{"test":"","test:long":""}}',
          "README.md": "`npm ci && npm test`, `npm run test:long`\n",
        },
        faults: [],
      },
    ],
  },
  {
    name: "documents: every promise of the README has its test",
    check: checkClaims,
    planted: [
      {
        what: "a promise without a test",
        files: { "README.md": "\nK1 one door, K2 durable. K2 again.\n", "test/claims/k1-one-door.test.ts": "" },
        faults: ["README.md:2"],
      },
      { what: "a README that promises nothing", files: { "README.md": "Hello.\n" }, faults: ["README.md:1"] },
      {
        what: "promises with tests",
        files: { "README.md": "K1\n", "test/claims/k1-one-door.test.ts": "" },
        faults: [],
      },
    ],
  },
  {
    name: "documents: every file of code opens with what it is",
    check: checkHeads,
    planted: [
      {
        what: "code from the first line",
        files: { "src/kernel/k.ts": "export const k = 1;\n// later\n" },
        faults: ["src/kernel/k.ts:1"],
      },
      {
        what: "a head, behind a shebang too",
        files: {
          "src/kernel/k.ts": "// The k.\nexport const k = 1;\n",
          "src/main.ts": "#!/usr/bin/env node\n// Boot.\n",
        },
        faults: [],
      },
    ],
  },
];
