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

function scene(initial: Readonly<Record<string, string | Uint8Array>>, { kept = false } = {}) {
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
    read: async (path) => files.get(path) ?? Promise.reject(missing(path)),
    write: async (path, bytes) => void files.set(path, bytes),
    remove: async (path) => void files.delete(path),
    list: async (path) => list(path),
    close: async () => {},
  };
  const workspaces = { open: async () => workspace, rollback: async () => void log.push("put back") };
  const ports = { workspaces, limits: sandboxLimitsSchema.parse({}) } as unknown as WorkspacePorts;
  const tools = new Map(filesTools(ports).map((tool) => [tool.name, tool]));
  const options: CallOptions = { ...caller(), key: "k", signal: new AbortController().signal };
  const call = async (name: string, args: JsonObject): Promise<ToolOutcome> =>
    tools.get(name)?.run(args, options) ?? Promise.reject(new Error(name));
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

test("a change that was begun before begins again from how it stood before it", async () => {
  const { text, log } = scene({ f: "a" }, { kept: true });
  await text("edit", { path: "f", old: "a", new: "b" });
  expect(log).toEqual(["kept", "put back"]);
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
