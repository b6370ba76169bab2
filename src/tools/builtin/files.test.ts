// Goal: a model reads, changes and finds text in the workspace, and is told plainly what did not work; each change keeps
// what stood before.
// Method: a workspace of a Map.
import { expect, test } from "vitest";
import { caller } from "../../../test/caller.ts";
import { OsError } from "../../abi/errors.ts";
import { sandboxLimitsSchema } from "../../abi/isolation.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { CallOptions, ToolOutcome } from "../../ports/tools.ts";
import type { FileEntry, Workspace } from "../../ports/workspace.ts";
import { filesTools } from "./files.ts";
import type { WorkspacePorts } from "./call-workspace.ts";

const encoder = new TextEncoder();

function scene(initial: Readonly<Record<string, string | Uint8Array>>, { kept = false, others = false } = {}) {
  const files = new Map(
    Object.entries(initial).map(([path, text]) => [path, typeof text === "string" ? encoder.encode(text) : text]),
  );
  const log: string[] = [];
  const missing = (path: string): OsError => new OsError("not_found", `There is no file ${path}.`);
  const list = (folder: string): FileEntry[] => {
    const prefix = folder === "." ? "" : `${folder}/`;
    const names = new Set(
      [...files.keys()]
        .filter((path) => path.startsWith(prefix))
        .map((path) => path.slice(prefix.length).split("/")[0] ?? ""),
    );
    return [...names].sort().map((name) => {
      const bytes = files.get(prefix + name);
      return { path: prefix + name, kind: bytes === undefined ? "folder" : "file", sizeBytes: bytes?.length ?? 0 };
    });
  };
  const workspace: Workspace = {
    folder: "/w",
    uid: null,
    quota: "none",
    snapshot: async () => (log.push("kept"), !kept),
    putBack: async () => (log.push("put back"), !others),
    read: async (path) => files.get(path) ?? Promise.reject(missing(path)),
    write: async (path, bytes) => void files.set(path, bytes),
    remove: async (path) => void files.delete(path),
    list: async (path) => list(path),
    close: async () => {},
  };
  const workspaces = { open: async () => workspace };
  const ports = { workspaces, limits: sandboxLimitsSchema.parse({}) } as unknown as WorkspacePorts;
  const tools = new Map(filesTools(ports).map((tool) => [tool.name, tool]));
  const options: CallOptions = { ...caller(), key: "k", signal: new AbortController().signal };
  const call = async (name: string, args: JsonObject, signal = options.signal): Promise<ToolOutcome> =>
    tools.get(name)?.run(args, { ...options, signal }) ?? Promise.reject(new Error(name));
  const text = async (name: string, args: JsonObject): Promise<string> => {
    const outcome = await call(name, args);
    return "content" in outcome ? outcome.content.text : outcome.kind;
  };
  return { files, log, call, text, said: (path: string) => new TextDecoder().decode(files.get(path)) };
}

test("a file is read with the numbers of its lines, a part of it where asked; what is no text is described", async () => {
  const { text } = scene({ "a.txt": "one\ntwo\nthree\n", empty: "", "b.bin": new Uint8Array([0, 1, 255]) });
  expect(await text("read", { path: "a.txt" })).toBe("1\tone\n2\ttwo\n3\tthree");
  expect(await text("read", { path: "a.txt", from: 2, lines: 1 })).toBe("2\ttwo\n(1 more lines: from 3)");
  expect(await text("read", { path: "a.txt", from: 9 })).toBe("(the file has 3 lines)");
  expect(await text("read", { path: "empty" })).toBe("(the file is empty)");
  expect(await text("read", { path: "b.bin" })).toBe("b.bin is no text: 3 bytes.");
  expect(await text("read", { path: "gone" })).toBe("There is no file gone.");
});

test("what is written stands there, and what stood before is kept first", async () => {
  const { call, said, log } = scene({});
  expect(await call("write", { path: "x/y.txt", content: "héllo" })).toMatchObject({
    kind: "done",
    content: { text: "Wrote x/y.txt: 6 bytes." },
  });
  expect(said("x/y.txt")).toBe("héllo");
  expect(log).toEqual(["kept"]);
});

test("an edit replaces a text that stands there once, or all of them where that is said", async () => {
  const { text, said } = scene({ f: "a b a $& c" });
  expect(await text("edit", { path: "f", old: "b", new: "$&" })).toBe("Edited f: one place.");
  expect(said("f")).toBe("a $& a $& c");
  expect(await text("edit", { path: "f", old: "a", new: "x" })).toContain("2 times");
  expect(await text("edit", { path: "f", old: "z", new: "x" })).toContain("does not stand in f");
  expect(await text("edit", { path: "f", old: "a", new: "aa", all: true })).toBe("Edited f: 2 places.");
  expect(said("f")).toBe("aa $& aa $& c");
});

test("an edit keeps the line ends of a file, which a model is not shown", async () => {
  const { text, said } = scene({ f: "\ufeffone\r\ntwo\r\n", mixed: "one\r\ntwo\n" });
  expect(await text("read", { path: "f" })).not.toContain("\r");
  expect(await text("edit", { path: "f", old: "one\ntwo", new: "1\n2\n3" })).toBe("Edited f: one place.");
  expect(said("f")).toBe("1\r\n2\r\n3\r\n");
  expect(await text("edit", { path: "mixed", old: "two\n", new: "2\n" })).toBe("Edited mixed: one place.");
  expect(said("mixed")).toBe("one\r\n2\n");
});

test("an edit that does not fit says why, and where", async () => {
  const { text } = scene({ f: "a\nb\nx\na\nb\n", hidden: "pay\u200bment due" });
  expect(await text("edit", { path: "f", old: "a\nb", new: "x" })).toContain("lines 1, 4");
  expect(await text("edit", { path: "f", old: "1\ta", new: "x" })).toContain("without the numbers of lines");
  expect(await text("read", { path: "hidden" })).toContain("not shown stand in line 1");
  expect(await text("edit", { path: "hidden", old: "payment", new: "x" })).toContain("not shown to you");
});

test("an edit that would make more of a file than is written is refused", async () => {
  const { text, said } = scene({ f: "a".repeat(100_000) });
  const asked = text("edit", { path: "f", old: "a", new: "b".repeat(100_000), all: true });
  expect(await asked).toContain("10000000000 characters");
  expect(said("f")).toHaveLength(100_000);
});

test("a change that was begun before begins again from how it stood before it", async () => {
  const { text, log } = scene({ f: "a" }, { kept: true });
  await text("edit", { path: "f", old: "a", new: "b" });
  expect(log).toEqual(["kept", "put back"]);
});

test("begun again after other calls have worked there, their work stays: a file is written again, an edit is not known", async () => {
  const { call, said } = scene({ f: "a", g: "theirs" }, { kept: true, others: true });
  expect(await call("write", { path: "f", content: "b" })).toMatchObject({ kind: "done" });
  expect(said("f")).toBe("b");
  expect(await call("edit", { path: "g", old: "theirs", new: "mine" })).toMatchObject({
    kind: "unknown",
    reason: expect.stringContaining("other calls") as string,
  });
  expect(said("g")).toBe("theirs");
});

test("folders are listed, deep and by pattern", async () => {
  const { text } = scene({ "a.ts": "1", "s/b.ts": "22", "s/c.md": "" });
  expect(await text("list", {})).toBe("a.ts\t1\ns/");
  expect(await text("list", { deep: true })).toBe("a.ts\t1\ns/\ns/b.ts\t2\ns/c.md\t0");
  expect(await text("list", { glob: "**/*.ts" })).toBe("a.ts\t1\ns/b.ts\t2");
  expect(await text("list", { glob: "*.py" })).toBe("(nothing fits)");
});

test("lines are found by text and by expression; an expression that would take for ever does not", async () => {
  const { text } = scene({
    "a.txt": "Order 12\nnothing\norder 7\n",
    "b.txt": `${"a".repeat(40)}!`,
    "c.bin": new Uint8Array([0]),
  });
  expect(await text("search", { text: "order" })).toBe("a.txt:3: order 7");
  expect(await text("search", { text: "order", ignoreCase: true })).toBe("a.txt:1: Order 12\na.txt:3: order 7");
  expect(await text("search", { text: "^[Oo]rder \\d{2}$", regex: true })).toBe("a.txt:1: Order 12");
  expect(await text("search", { text: "^(a+)+$", regex: true })).toBe("Nothing found in 3 files.");
  expect(await text("search", { text: "(?=x)", regex: true })).toContain("RE2");
  expect(await text("search", { text: "order", glob: "b*" })).toBe("Nothing found in 1 files.");
});

/** How often others got their turn while it lasted. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let over = false;
  const turn = (): void => {
    turns += 1;
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await work;
  over = true;
  return turns;
}

test("a search over long texts gives others their turn, and ends when it is given up", async () => {
  const line = `${"ab".repeat(500)}\n`;
  const { text, call } = scene({ long: line.repeat(12) });
  expect(await turnsDuring(text("search", { text: "[ab]{0,400}[xyz]", regex: true }))).toBeGreaterThan(5);
  const controller = new AbortController();
  const asked = call("search", { text: "[ab]{0,400}[xyz]", regex: true }, controller.signal);
  setImmediate(() => controller.abort());
  expect(await asked).toMatchObject({ content: { text: expect.stringContaining("the time was up") as string } });
});

test("of a line that is too long for an expression the beginning is looked at, and that is said", async () => {
  const { text } = scene({ long: `needle${"a".repeat(2_000_000)}` });
  expect(await text("search", { text: "n[e]{2}dle", regex: true })).toMatch(
    /^long:1: needlea+\n\(of lines longer than/,
  );
});

test("lines have their numbers, however many may be looked at in one go", async () => {
  const { text } = scene({ f: `\n${`${"a".repeat(999)}\n`.repeat(300)}needle\nneedle` });
  expect(await text("search", { text: "n[e]{2}dle", regex: true })).toBe("f:302: needle\nf:303: needle");
});

test("an expression whose copies would fill the memory is refused", async () => {
  const { text } = scene({ f: "a" });
  expect(await text("search", { text: "[ab]{1000}".repeat(50), regex: true })).toContain("repetitions");
  expect(await text("search", { text: "\\pL{900}\\pL{900}", regex: true })).toBe("Nothing found in 1 files.");
});

test("what Git keeps is not looked through, but where it is asked for", async () => {
  const { text } = scene({ ".git/config": "needle", "sub/.git/x": "needle", "a.txt": "needle" });
  expect(await text("search", { text: "needle" })).toBe("a.txt:1: needle");
  expect(await text("search", { text: "needle", path: ".git" })).toBe(".git/config:1: needle");
  expect(await text("list", { deep: true })).toBe(".git/\na.txt\t6\nsub/\nsub/.git/");
});

test("a name stands on one line, and hides nothing", async () => {
  const { text } = scene({ "a\nb.txt": "needle", "re\u202etxt.exe": "" });
  expect(await text("list", {})).toBe("a\\u{000a}b.txt\t6\nre\\u{202e}txt.exe\t0");
  expect(await text("search", { text: "needle" })).toBe("a\\u{000a}b.txt:1: needle");
});

test("a listing and a search are cut where they would be more than can be answered with", async () => {
  const long = Array.from({ length: 600 }, (_, at) => [`${"d".repeat(250)}${at}`, `${"x".repeat(500)}\n`] as const);
  const { text } = scene(Object.fromEntries(long));
  expect(await text("list", {})).toMatch(/narrow it down\)$/);
  expect(await text("search", { text: "x" })).toMatch(/narrow it down\)$/);
});
