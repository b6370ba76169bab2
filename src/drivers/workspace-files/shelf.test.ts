// Goal: a workspace is compared, put back and kept exactly, whatever is done in it; what a hostile tree holds is kept, or named.
// Method: real folders, filled with what programs leave behind; the whole tree is compared, and each state is reached again.
import { execFileSync, spawn } from "node:child_process";
import nodeFs, * as fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { needs } from "../../../test/needs.ts";
import { Objects } from "./objects.ts";
import { DISK_BYTES, picture, shelfOf } from "./scene.fake.ts";

const isRoot = process.getuid?.() === 0;

const begin = (source: string): void => {
  fs.writeFileSync(join(source, "a.txt"), "one\ntwo\n");
  fs.mkdirSync(join(source, "inner/deep"), { recursive: true });
  fs.writeFileSync(join(source, "inner/run"), "#!/bin/sh\n", { mode: 0o755 });
  fs.symlinkSync("../a.txt", join(source, "inner/link"));
};

test("it begins as a copy, and tells what was added, changed and removed", () => {
  const { shelf, live, source } = shelfOf(begin);
  expect(picture(live)).toEqual(picture(source));
  expect(shelf.diff(null)).toEqual({ changes: [], more: 0, leftOut: [] });
  fs.writeFileSync(join(live, "a.txt"), "one\nzwei\n");
  fs.writeFileSync(join(live, "new.bin"), Buffer.from([0, 1, 2]));
  fs.rmSync(join(live, "inner"), { recursive: true });
  fs.mkdirSync(join(live, "empty"));
  const { changes } = shelf.diff(null);
  expect(changes.map(({ path, change, kind }) => [path, change, kind])).toEqual([
    ["a.txt", "changed", "file"],
    ["empty", "added", "folder"],
    ["inner/deep", "removed", "folder"],
    ["inner/link", "removed", "link"],
    ["inner/run", "removed", "file"],
    ["new.bin", "added", "file"],
  ]);
  expect(changes[0]?.diff).toBe("--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n");
  expect(changes.at(-1)).toEqual({ path: "new.bin", change: "added", kind: "file", sizeBytes: 3, unshown: "binary" });
});

test("what lines do not tell is told: sizes, why none are shown, moves, where links lead, and what something was", () => {
  const { shelf, live } = shelfOf((source) => {
    begin(source);
    fs.writeFileSync(join(source, "long"), "x\n".repeat(200_000));
    fs.writeFileSync(join(source, "bin"), Buffer.from([0, 1]));
    fs.writeFileSync(join(source, "old"), "content");
    fs.writeFileSync(join(source, "turns"), "a file");
    fs.symlinkSync("a.txt", join(source, "link"));
  });
  fs.appendFileSync(join(live, "long"), "x");
  fs.appendFileSync(join(live, "bin"), "x");
  fs.renameSync(join(live, "old"), join(live, "moved"));
  for (const name of ["turns", "link"]) fs.rmSync(join(live, name));
  fs.symlinkSync("inner/../../up", join(live, "turns"));
  fs.symlinkSync("inner", join(live, "link"));
  const file = { kind: "file" } as const;
  expect(shelf.diff(null).changes.map(({ diff: _, ...change }) => change)).toEqual([
    { path: "bin", change: "changed", ...file, sizeBytes: 3, before: { ...file, sizeBytes: 2 }, unshown: "binary" },
    {
      ...{ path: "link", change: "changed", kind: "link", sizeBytes: 0, target: "inner" },
      before: { kind: "link", sizeBytes: 0, target: "a.txt" },
    },
    {
      ...{ path: "long", change: "changed", ...file, sizeBytes: 400_001, before: { ...file, sizeBytes: 400_000 } },
      unshown: "long",
    },
    { path: "moved", change: "added", ...file, sizeBytes: 7, moved: "old" },
    { path: "old", change: "removed", ...file, sizeBytes: 7, moved: "moved" },
    {
      ...{ path: "turns", change: "changed", kind: "link", sizeBytes: 0, target: "inner/../../up", leadsOut: true },
      before: { ...file, sizeBytes: 6 },
    },
  ]);
});

test("whether a file can be run is a change", () => {
  const { shelf, live } = shelfOf(begin);
  fs.chmodSync(join(live, "a.txt"), 0o755);
  expect(shelf.diff(null).changes).toMatchObject([{ path: "a.txt", mode: { from: "644", to: "755" } }]);
  shelf.rollback(null);
  expect(shelf.diff(null).changes).toEqual([]);
});

test("each state is kept once for a call, and found again after a restart", () => {
  const { shelf, live, again } = shelfOf(begin);
  expect(shelf.snapshot(3)).toBe(true);
  fs.writeFileSync(join(live, "a.txt"), "later");
  expect(shelf.snapshot(3)).toBe(false);
  expect(shelf.snapshot(12)).toBe(true);
  const later = again();
  expect(later.snapshots).toEqual([3, 12]);
  later.rollback(3);
  expect(fs.readFileSync(join(live, "a.txt"), "utf8")).toBe("one\ntwo\n");
  later.rollback(12);
  expect(fs.readFileSync(join(live, "a.txt"), "utf8")).toBe("later");
  expect(() => later.rollback(13)).toThrow(expect.objectContaining({ code: "not_found" }));
  expect(() => later.diff(13)).toThrow(/#3, #12/);
});

test("before a call that changed nothing it stood as before the next one that did; not where it was put back between", () => {
  const { shelf, live, again } = shelfOf(begin);
  const at = (call: number): string => {
    shelf.rollback(call);
    return fs.readFileSync(join(live, "a.txt"), "utf8");
  };
  for (const call of [3, 8]) {
    shelf.snapshot(call);
    fs.writeFileSync(join(live, "a.txt"), `after ${call}`);
  }
  shelf.snapshot(12);
  expect([at(1), at(4), at(8), at(11)]).toEqual(["one\ntwo\n", "after 3", "after 3", "after 8"]);
  fs.writeFileSync(join(live, "a.txt"), "after 12");
  shelf.rollback(3);
  shelf.snapshot(20);
  expect([at(11), at(20)]).toEqual(["after 8", "one\ntwo\n"]);
  expect(() => shelf.diff(15)).toThrow(/before call 15 is not kept/);
  expect(() => again().diff(15)).toThrow(/before call 15 is not kept/);
});

test("a putting back is taken back: what stood is kept, also after a restart, and going there is one as well", () => {
  const { shelf, live, again } = shelfOf(begin);
  const text = (): string => fs.readFileSync(join(live, "a.txt"), "utf8");
  expect(() => shelf.rollback("replaced")).toThrow(expect.objectContaining({ code: "not_found" }));
  shelf.snapshot(3);
  fs.writeFileSync(join(live, "a.txt"), "done after the last call that it was kept for");
  shelf.rollback(3);
  shelf.unsaved();
  const later = again();
  later.rollback("replaced");
  expect(text()).toBe("done after the last call that it was kept for");
  later.rollback("replaced");
  expect(text()).toBe("one\ntwo\n");
  later.rollback(null);
  later.rollback("replaced");
  expect(text()).toBe("one\ntwo\n");
});

test("what stood is kept also where the putting back was cut off, and another one ends it", () => {
  const { shelf, live, again } = shelfOf(begin);
  for (const name of ["x", "y", "z"]) fs.writeFileSync(join(live, name), name);
  const stood = picture(live);
  const remove = nodeFs.unlinkSync;
  vi.spyOn(nodeFs, "unlinkSync").mockImplementation((path) => {
    if (String(path).endsWith("/y")) throw new Error("the machine went down");
    remove(path);
  });
  syncBuiltinESMExports();
  expect(() => shelf.rollback(null)).toThrow("went down");
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  expect(picture(live)).not.toEqual(stood);
  const later = again();
  later.rollback(null);
  later.rollback("replaced");
  expect(picture(live)).toEqual(stood);
});

test("a putting back that is cut off is ended at the next use, whatever comes next", () => {
  const { shelf, live, again, record } = shelfOf(begin);
  for (const name of ["x", "y", "z"]) fs.writeFileSync(join(live, name), name);
  shelf.snapshot(3);
  for (const name of ["x", "y", "z"]) fs.writeFileSync(join(live, name), `other ${name}`);
  const before = picture(live);
  let left = 2;
  const create = nodeFs.openSync;
  vi.spyOn(nodeFs, "openSync").mockImplementation((path, ...flags) => {
    if (/\/[xyz]$/.test(String(path)) && (flags[0] as number) & fs.constants.O_CREAT && (left -= 1) < 0)
      throw new Error("the machine went down");
    return create(path, ...flags);
  });
  syncBuiltinESMExports();
  expect(() => shelf.rollback(3)).toThrow("went down");
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  expect(picture(live)).not.toEqual(before);
  expect(record().puttingBack).toBeDefined();
  const next = again();
  next.within(() => {});
  expect(["x", "y", "z"].map((name) => fs.readFileSync(join(live, name), "utf8"))).toEqual(["x", "y", "z"]);
  expect(next.diff(3).changes).toEqual([]);
  expect(record().puttingBack).toBeUndefined();
});

test("a call that is begun again is given its beginning, unless another was begun since", () => {
  const { shelf, live, again } = shelfOf(begin);
  shelf.snapshot(4);
  fs.writeFileSync(join(live, "a.txt"), "half\n");
  expect(again().putBackFor(4)).toBe(true);
  expect(fs.readFileSync(join(live, "a.txt"), "utf8")).toBe("one\ntwo\n");
  shelf.snapshot(6);
  fs.writeFileSync(join(live, "six"), "by another call\n");
  expect(again().putBackFor(4)).toBe(false);
  // One with a lower number may have begun later, such as after a human's yes.
  shelf.snapshot(5);
  for (const call of [6, 7]) expect(again().putBackFor(call)).toBe(false);
  expect(fs.existsSync(join(live, "six"))).toBe(true);
});

test("what did not change since is not opened again, of however many files", () => {
  const { shelf, live } = shelfOf((source) => {
    for (let at = 0; at < 50; at += 1) fs.writeFileSync(join(source, `f${at}`), `${at}`);
  });
  shelf.snapshot(0);
  // Times are believed that lie clearly before a file was put to disk: the second look finds them so.
  vi.useFakeTimers({ now: Date.now() + 10_000, toFake: ["Date"] });
  shelf.snapshot(1);
  fs.writeFileSync(join(live, "f7"), "seven");
  const open = vi.spyOn(nodeFs, "openSync");
  syncBuiltinESMExports();
  try {
    shelf.snapshot(2);
    const opened = open.mock.calls
      .map(([path]) => String(path))
      .filter((path) => /^\/proc\/self\/fd\/\d+\/f\d+$/.test(path));
    expect(opened).toEqual([expect.stringMatching(/\/f7$/)]);
  } finally {
    vi.restoreAllMocks();
    vi.useRealTimers();
    syncBuiltinESMExports();
  }
  expect(shelf.diff(2).changes).toEqual([]);
});

test("a change that leaves size and times as they were is seen, if it was made after the file was kept", () => {
  const { shelf, live } = shelfOf(begin);
  const file = join(live, "a.txt");
  const { atime, mtime } = fs.statSync(file);
  fs.writeFileSync(file, "ONE\nTWO\n");
  fs.utimesSync(file, atime, mtime);
  expect(shelf.diff(null).changes.map(({ path }) => path)).toEqual(["a.txt"]);
});

needs("python3", fs.existsSync("/usr/bin/python3"))("memory that a program shares with a file", () => {
  test("what is written through memory into a file that was kept is seen as well", async () => {
    const { shelf, live } = shelfOf(begin);
    const file = join(live, "a.txt");
    const program = [
      "import mmap, os, sys",
      "m = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4)",
      "for letter in (b'x', b'y'):",
      "  m[0:1] = letter",
      "  print('written', flush=True)",
      "  sys.stdin.readline()",
    ].join("\n");
    const child = spawn("python3", ["-c", program, file], { stdio: ["pipe", "pipe", "inherit"] });
    const written = (): Promise<void> => new Promise((resolve) => child.stdout.once("data", () => resolve()));
    await written();
    // The file's times are believed only when they lie well back.
    const agesMs = fs.statSync(file).ctimeMs + 1_500;
    while (Date.now() < agesMs) await new Promise((resolve) => setTimeout(resolve, 50));
    shelf.snapshot(0);
    child.stdin.write("\n");
    await written();
    shelf.snapshot(1);
    child.stdin.end();
    await new Promise((resolve) => child.once("exit", resolve));
    shelf.rollback(0);
    expect(fs.readFileSync(file, "utf8")).toBe("xne\ntwo\n");
    shelf.rollback(1);
    expect(fs.readFileSync(file, "utf8")).toBe("yne\ntwo\n");
  });
});

test("the oldest states give way when all together take too much; the newest, and how it began, stay", () => {
  const { shelf, live, again } = shelfOf(begin, 1024 * 1024);
  for (let call = 0; call < 20; call += 1) {
    fs.writeFileSync(join(live, "big"), Buffer.alloc(900_000, `${call}`));
    shelf.snapshot(call);
  }
  expect(shelf.snapshots.length).toBeLessThan(12);
  expect(shelf.snapshots.at(-1)).toBe(19);
  expect(again().snapshots).toEqual(shelf.snapshots);
  const [oldest = -1] = shelf.snapshots;
  shelf.rollback(oldest);
  expect(fs.readFileSync(join(live, "big"))).toEqual(Buffer.alloc(900_000, `${oldest}`));
  shelf.rollback(null);
  expect(fs.existsSync(join(live, "big"))).toBe(false);
  // What a putting back has replaced goes before any of them.
  const { snapshots } = shelf;
  fs.writeFileSync(join(live, "big"), Buffer.alloc(900_000, "replaced"));
  shelf.rollback(null);
  fs.writeFileSync(join(live, "big"), Buffer.alloc(100, "next"));
  shelf.snapshot(20);
  expect(() => shelf.rollback("replaced")).toThrow(expect.objectContaining({ code: "not_found" }));
  expect(shelf.snapshots).toEqual([...snapshots, 20]);
});

test("what was kept and is damaged is not put back as if it were whole", () => {
  const { shelf, live, folder, again } = shelfOf(begin);
  shelf.snapshot(0);
  fs.writeFileSync(join(live, "a.txt"), "changed");
  const hash = new Objects(join(folder, "other")).put("one\ntwo\n");
  fs.writeFileSync(join(folder, "objects", hash.slice(0, 2), hash.slice(2)), "forged!!");
  expect(() => again().rollback(0)).toThrow(expect.objectContaining({ code: "store_failed" }));
});

describe("hostile trees", () => {
  test("links are kept as links, and lead nowhere", () => {
    const { shelf, live } = shelfOf(begin);
    fs.symlinkSync("/etc/passwd", join(live, "evil"));
    fs.rmSync(join(live, "inner"), { recursive: true });
    fs.symlinkSync("/etc", join(live, "inner"));
    const before = picture(live);
    shelf.snapshot(1);
    const { changes } = shelf.diff(null);
    expect(changes.find(({ path }) => path === "evil")?.target).toBe("/etc/passwd");
    expect(JSON.stringify(changes)).not.toContain("root:");
    shelf.rollback(null);
    expect(picture(live)["inner/run"]).toMatch(/^file 755/);
    shelf.rollback(1);
    expect(picture(live)).toEqual(before);
  });

  test("pipes and sockets are named and not kept; putting back removes them", async () => {
    const { shelf, live } = shelfOf(begin);
    execFileSync("mkfifo", [join(live, "pipe")]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(live, "inner/socket"), resolve));
    expect(shelf.diff(null).leftOut).toEqual([
      { path: "inner/socket", why: "it is a socket" },
      { path: "pipe", why: "it is a named pipe" },
    ]);
    shelf.rollback(null);
    expect(Object.values(picture(live))).not.toContain("other");
    server.close();
  });

  test("what only takes another name, content or kind is put back exactly", () => {
    const { shelf, live } = shelfOf(begin);
    const before = picture(live);
    shelf.snapshot(0);
    fs.chmodSync(join(live, "a.txt"), 0o4777);
    fs.rmSync(join(live, "inner/run"));
    fs.mkdirSync(join(live, "inner/run/x"), { recursive: true });
    fs.rmSync(join(live, "inner/deep"), { recursive: true });
    fs.writeFileSync(join(live, "inner/deep"), "now a file");
    fs.chmodSync(join(live, "inner"), 0o500);
    shelf.rollback(0);
    expect(picture(live)).toEqual(before);
  });

  test("permissions that close everything hold nobody up", () => {
    const { shelf, live } = shelfOf(begin);
    const before = picture(live);
    fs.mkdirSync(join(live, "closed/in"), { recursive: true });
    fs.chmodSync(join(live, "closed"), 0);
    fs.chmodSync(live, 0);
    shelf.rollback(null);
    expect(picture(live)).toEqual(before);
  });

  test("names of any bytes are kept, shown and put back", () => {
    const { shelf, live } = shelfOf(begin);
    fs.writeFileSync(Buffer.concat([Buffer.from(`${live}/`), Buffer.from([0xff, 0xfe, 0x41])]), "x\n");
    fs.writeFileSync(join(live, "two\nlines"), "y\n");
    fs.writeFileSync(join(live, "grüße"), "z\n");
    const before = picture(live);
    shelf.snapshot(0);
    const shown = shelf.diff(null).changes.map(({ path }) => path);
    expect(shown.sort()).toEqual(["\\xff\\xfeA", "grüße", "two\nlines"]);
    shelf.rollback(null);
    shelf.rollback(0);
    expect(picture(live)).toEqual(before);
  });

  test("a file of one terabyte without content is named, and neither read nor kept", () => {
    const { shelf, live } = shelfOf(begin);
    fs.writeFileSync(join(live, "huge"), "");
    fs.truncateSync(join(live, "huge"), 2 ** 40);
    fs.writeFileSync(join(live, "holes"), "");
    fs.truncateSync(join(live, "holes"), DISK_BYTES / 2);
    expect(shelf.diff(null).leftOut).toEqual([{ path: "huge", why: `it is a file with holes, of ${2 ** 40} bytes` }]);
    shelf.snapshot(0);
    shelf.rollback(null);
    shelf.rollback(0);
    expect(fs.statSync(join(live, "holes")).size).toBe(DISK_BYTES / 2);
    expect(fs.statSync(join(live, "holes")).blocks).toBe(0);
  });

  test("more than it may hold is not kept, and that is said", () => {
    const { shelf, live } = shelfOf(begin, 1024 * 1024);
    fs.writeFileSync(join(live, "big"), Buffer.alloc(1024 * 1024 + 1, 1));
    expect(() => shelf.snapshot(0)).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
    expect(shelf.snapshots).toEqual([]);
    expect(shelf.diff(null).leftOut).toMatchObject([{ path: "big" }]);
    shelf.rollback(null);
    expect(shelf.snapshot(0)).toBe(true);
  });

  test("a file that has a name outside is not kept; one whose names are all inside is", () => {
    const { shelf, live, folder } = shelfOf(begin);
    fs.writeFileSync(join(folder, "secret"), "secret\n");
    fs.linkSync(join(folder, "secret"), join(live, "stolen"));
    fs.writeFileSync(join(live, "one"), "same\n");
    fs.linkSync(join(live, "one"), join(live, "inner/other"));
    const { changes, leftOut } = shelf.diff(null);
    expect(changes.map(({ path }) => path)).toEqual(["inner/other", "one"]);
    expect(leftOut).toEqual([{ path: "stolen", why: "it has another name outside" }]);
    shelf.rollback(null);
    expect(fs.readFileSync(join(folder, "secret"), "utf8")).toBe("secret\n");
  });

  test("a folder that is deeper than paths can be is bounded, named, and removed", () => {
    const { shelf, live } = shelfOf(begin);
    const before = picture(live);
    // Longer than a path may be: made step by step, from within.
    execFileSync(
      "sh",
      [
        "-c",
        `n=0; while [ $n -lt 300 ]; do mkdir ${"d".repeat(20)} && cd -P ${"d".repeat(20)} || exit 1; n=$((n+1)); done; echo deep > f`,
      ],
      {
        cwd: live,
      },
    );
    const { leftOut } = shelf.diff(null);
    expect(leftOut).toMatchObject([{ why: "it is more than 200 folders deep" }]);
    shelf.rollback(null);
    expect(picture(live)).toEqual(before);
  });

  needs("root", isRoot)("devices", () => {
    test("are named and not opened", () => {
      const { shelf, live } = shelfOf(begin);
      execFileSync("mknod", [join(live, "zero"), "c", "1", "5"]);
      expect(shelf.diff(null).leftOut).toEqual([{ path: "zero", why: "it is a device" }]);
      shelf.rollback(null);
      expect(fs.existsSync(join(live, "zero"))).toBe(false);
    });
  });
});

type Edit = {
  readonly what: "write" | "remove" | "mode" | "link" | "folder";
  readonly path: string;
  readonly text: string;
};

const segment = fc.constantFrom("a", "b", "c", "dd", "é");
const edits = fc.array(
  fc.record({
    what: fc.constantFrom<Edit["what"][]>("write", "remove", "mode", "link", "folder"),
    path: fc.array(segment, { minLength: 1, maxLength: 3 }).map((names) => names.join("/")),
    text: fc.string({ maxLength: 20 }),
  }),
  { maxLength: 25 },
);

/** Does what can be done; an edit that the tree does not allow (below a file, say) does nothing. */
function edit(live: string, { what, path, text }: Edit): void {
  const place = join(live, path);
  try {
    const stats = fs.lstatSync(place, { throwIfNoEntry: false });
    if (what === "folder") fs.mkdirSync(place, { recursive: true });
    else if (what === "remove") fs.rmSync(place, { recursive: true, force: true });
    else if (what === "link") fs.symlinkSync(text.replaceAll("\0", "") || "x", place);
    else if (what === "mode" && stats?.isSymbolicLink() === false)
      fs.chmodSync(place, stats.isDirectory() ? 0o711 : 0o640);
    else if (what === "write" && stats?.isSymbolicLink() !== true) fs.writeFileSync(place, text);
  } catch (error) {
    if (!["ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ELOOP"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
  }
}

test("whatever is done between: what was kept comes back the same, name by name, bit by bit", () => {
  fc.assert(
    fc.property(edits, edits, edits, (first, second, third) => {
      const { shelf, live } = shelfOf(begin);
      const states = [picture(live)];
      for (const [call, some] of [first, second, third].entries()) {
        for (const one of some) edit(live, one);
        states.push(picture(live));
        shelf.snapshot(call);
      }
      for (const call of [0, 2, 1]) {
        shelf.rollback(call);
        expect(picture(live)).toEqual(states[call + 1]);
        expect(shelf.diff(call).changes).toEqual([]);
      }
      shelf.rollback(null);
      expect(picture(live)).toEqual(states[0]);
    }),
    { numRuns: 40 },
  );
});
