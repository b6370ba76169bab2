// What must not stand in any file: paths of one machine, and notes that only their writer can follow.
import { fault } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

type Banned = { readonly pattern: RegExp; readonly what: string; readonly remedy: string; readonly except?: RegExp };

// Each pattern is written so that it does not find itself.
const BANNED: readonly Banned[] = [
  {
    pattern: /(?<![\w.-])\/(?:work|root|home|Users)\/[\w.-]+/g,
    what: "a path of one machine",
    remedy: "use a path relative to the repository, or a folder from mkdtemp",
  },
  {
    pattern: /\b[A-Z]:\\Users\\\w+/g,
    what: "a path of one machine",
    remedy: "use a path relative to the repository, or a folder from mkdtemp",
  },
  {
    pattern: /(?:\.\.\/)+shared\b|\bshared\/(?:recorded|reference|agentdojo|locomo|hooks)\b/g,
    what: "a path to data that users do not have",
    remedy: "only benchmarks read such data, and take its place as --data",
    except: /^bench\//,
  },
  {
    pattern: /\bDESIGN(?:\.md\b|\s+(?:section\s+)?\d)|\b(?:style|peers|sandboxes|stores-and-engines)\.md\b/g,
    what: "a reference to a document that is not here",
    remedy: "say the reason itself, or link to ARCHITECTURE.md or docs/",
  },
  {
    pattern: /\bissue\s+#?\d+\b|\(#\d+\)/gi,
    what: "the number of an issue",
    remedy: "say the reason itself: a reader has only the tree",
  },
  {
    pattern: /\b(?:T(?:ODO)|F(?:IXME)|X(?:XX)|H(?:ACK))\b/g,
    what: "a note for later",
    remedy: "do it now, or say plainly in the document what is not there yet",
  },
  {
    pattern: /\bhttps?:\/\/(?:[\w-]+\.)*(?:registry|artifactory|nexus|verdaccio)\.[\w.-]+/gi,
    what: "the host of a package registry",
    remedy: "leave the registry to the user's own npm settings",
  },
];

/** Texts of others, kept as they are. */
const KEPT = /^LICENSE$|(^|\/)(package-lock\.json|THIRD-PARTY[\w.-]*)$/;
/** Notices that the lock file may not carry either. */
const LOCK = /(^|\/)package-lock\.json$/;

function checkWords(files: readonly SourceFile[]): readonly Fault[] {
  return files.flatMap((file) => {
    const banned = KEPT.test(file.path)
      ? BANNED.filter(() => LOCK.test(file.path)).filter(({ what }) => what.includes("registry"))
      : BANNED;
    return banned
      .filter(({ except }) => except?.test(file.path) !== true)
      .flatMap(({ pattern, what, remedy }) =>
        [...file.text.matchAll(pattern)].map(({ 0: found, index }) => fault(file, index, `${what}: ${found}`, remedy)),
      );
  });
}

function checkWhitespace(files: readonly SourceFile[]): readonly Fault[] {
  return files
    .filter(({ path, text }) => !KEPT.test(path) && text !== "")
    .flatMap((file) => {
      const faults = [...file.text.matchAll(/\r/g)]
        .slice(0, 1)
        .map(({ index }) => fault(file, index, "a carriage return", "end lines with LF"));
      if (!file.text.endsWith("\n"))
        faults.push(fault(file, file.text.length, "no newline at the end", "end the file with a newline"));
      return faults;
    });
}

// Put together here, so that this file passes its own check.
const path = (...parts: readonly string[]): string => ["", ...parts].join("/");
const join = (...parts: readonly string[]): string => parts.join("");

export const wordRules: readonly Rule[] = [
  {
    name: "words: nothing that holds only on one machine or for one writer",
    check: checkWords,
    planted: [
      {
        what: "each of them",
        files: {
          "src/kernel/k.ts": `// see ${path("work", "main")}\nconst a = "${path("root", "x")}";\nconst b = "${path("home", "me")}";\n`,
          "docs/a.md": `\`..${path("shared", "recorded")}\`\n${join("As DESI", "GN 6 says, see sty", "le.md.")}\n`,
          "test/a.test.ts": join("// for iss", "ue 2 (", "#17)\n// TO", "DO: later\n"),
          "package-lock.json": join('"resolved": "http://npm.regis', 'try.example.com/x.tgz"\n'),
        },
        faults: [
          "src/kernel/k.ts:1",
          "src/kernel/k.ts:2",
          "src/kernel/k.ts:3",
          "docs/a.md:1",
          "docs/a.md:2",
          "docs/a.md:2",
          "test/a.test.ts:1",
          "test/a.test.ts:1",
          "test/a.test.ts:2",
          "package-lock.json:1",
        ],
      },
      {
        what: "words that only look alike, and a benchmark that names its data",
        files: {
          "src/kernel/k.ts":
            "// The work/rest ratio of a shared root; design is hard. An issue of 12 pages.\nconst a = '/v1/home';\nconst c = '#123';\n",
          "bench/recorded.ts": `const data = "..${path("shared", "recorded")}";\n`,
          "package-lock.json": '"funding": "https://opencollective.com/x"\n',
        },
        faults: [],
      },
    ],
  },
  {
    name: "words: LF and a newline at the end",
    check: checkWhitespace,
    planted: [
      { what: "CRLF, and no end", files: { "a.md": "x\r\ny\r\n", "b.ts": "x\ny" }, faults: ["a.md:1", "b.ts:2"] },
      { what: "as it should be", files: { "a.md": "x\ny\n", "empty.txt": "" }, faults: [] },
    ],
  },
];
