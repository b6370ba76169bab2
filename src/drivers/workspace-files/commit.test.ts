// Goal: a workspace is written back as a whole or not at all, over nobody's changes, and nowhere but into its folder.
// Method: real folders; conflicts of each kind, links of each kind, a death in the middle, told by what the folder then holds.
import { spawn } from "node:child_process";
import nodeFs, * as fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { staysInside } from "./links.ts";
import type { Shelf } from "./shelf.ts";
import { writeRecord } from "./record.ts";
import { picture, shelfOf } from "./scene.fake.ts";

const begin = (source: string): void => {
  fs.writeFileSync(join(source, "a.txt"), "a\n", { mode: 0o664 });
  fs.writeFileSync(join(source, "b.txt"), "b\n");
  fs.mkdirSync(join(source, "inner"));
  fs.writeFileSync(join(source, "inner/c.txt"), "c\n");
};

const conflict = (...paths: string[]): unknown =>
  expect.objectContaining({ code: "conflict", data: expect.objectContaining({ paths }) });

test("files, folders, links, deletions and the right to run are written back, each as the folder has its own", () => {
  const { shelf, live, source } = shelfOf(begin);
  fs.chmodSync(join(source, "a.txt"), 0o664);
  fs.writeFileSync(join(live, "a.txt"), "changed\n");
  fs.writeFileSync(join(live, "run"), "#!/bin/sh\n", { mode: 0o777 });
  fs.chmodSync(join(live, "run"), 0o6777);
  fs.symlinkSync("a.txt", join(live, "link"));
  fs.rmSync(join(live, "inner"), { recursive: true });
  fs.writeFileSync(join(live, "inner"), "a file now\n");
  fs.mkdirSync(join(live, "new/deep"), { recursive: true });
  fs.writeFileSync(join(live, "new/deep/d.txt"), "d\n");
  fs.rmSync(join(live, "b.txt"));
  const { changes } = shelf.commit();
  expect(changes.map(({ path, change }) => `${change} ${path}`)).toEqual([
    "changed a.txt",
    "removed b.txt",
    "changed inner",
    "removed inner/c.txt",
    "added link",
    "added new/deep/d.txt",
    "added run",
  ]);
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  expect(picture(source)).toEqual({
    "a.txt": `file 664 ${base64("changed\n")}`,
    inner: `file 644 ${base64("a file now\n")}`,
    link: "link a.txt",
    new: "folder 755",
    "new/deep": "folder 755",
    "new/deep/d.txt": `file 644 ${base64("d\n")}`,
    run: `file 755 ${base64("#!/bin/sh\n")}`,
  });
  expect(shelf.commit().changes).toEqual([]);
  expect(shelf.diff(null).changes).toEqual([]);
});

describe("what changed in the folder meanwhile", () => {
  test("is a conflict where the workspace changed it too, and nothing is written", () => {
    const { shelf, live, source } = shelfOf(begin);
    fs.writeFileSync(join(live, "a.txt"), "mine\n");
    fs.writeFileSync(join(live, "b.txt"), "mine\n");
    fs.rmSync(join(live, "inner/c.txt"));
    fs.writeFileSync(join(source, "a.txt"), "theirs\n");
    fs.writeFileSync(join(source, "inner/c.txt"), "theirs\n");
    const before = picture(source);
    expect(() => shelf.commit()).toThrow(conflict("a.txt", "inner/c.txt"));
    expect(picture(source)).toEqual(before);
    fs.writeFileSync(join(source, "a.txt"), "a\n");
    fs.writeFileSync(join(source, "inner/c.txt"), "c\n");
    shelf.commit();
    expect(fs.readFileSync(join(source, "a.txt"), "utf8")).toBe("mine\n");
  });

  test("is none elsewhere, and stays; nor is the same change on both sides", () => {
    const { shelf, live, source } = shelfOf(begin);
    fs.writeFileSync(join(live, "a.txt"), "both\n");
    fs.writeFileSync(join(source, "a.txt"), "both\n");
    fs.writeFileSync(join(source, "b.txt"), "theirs\n");
    fs.writeFileSync(join(live, "new.txt"), "mine\n");
    shelf.commit();
    expect(fs.readFileSync(join(source, "b.txt"), "utf8")).toBe("theirs\n");
    expect(fs.readFileSync(join(source, "new.txt"), "utf8")).toBe("mine\n");
  });

  test("is one where a folder that becomes a file has got something new", () => {
    const { shelf, live, source } = shelfOf(begin);
    fs.rmSync(join(live, "inner"), { recursive: true });
    fs.writeFileSync(join(live, "inner"), "file\n");
    fs.writeFileSync(join(source, "inner/theirs"), "theirs\n");
    expect(() => shelf.commit()).toThrow(conflict("inner/theirs"));
    expect(fs.readdirSync(join(source, "inner")).sort()).toEqual(["c.txt", "theirs"]);
  });

  test("is one where a link has taken the place of a folder: nothing is written through it", () => {
    const { shelf, live, source, folder } = shelfOf(begin);
    fs.writeFileSync(join(live, "inner/c.txt"), "mine\n");
    fs.writeFileSync(join(live, "inner/new"), "mine\n");
    fs.mkdirSync(join(folder, "elsewhere"));
    fs.writeFileSync(join(folder, "elsewhere/c.txt"), "c\n");
    fs.rmSync(join(source, "inner"), { recursive: true });
    fs.symlinkSync(join(folder, "elsewhere"), join(source, "inner"));
    expect(() => shelf.commit()).toThrow(conflict("inner/c.txt", "inner/new"));
    expect(fs.readFileSync(join(folder, "elsewhere/c.txt"), "utf8")).toBe("c\n");
    expect(fs.readdirSync(join(folder, "elsewhere"))).toEqual(["c.txt"]);
  });
});

describe("what changes in the folder while it is written", () => {
  /** Does this when the first file has been written, before it has its name. */
  const amid = (source: string, then: () => void, commit: () => unknown): void => {
    const sync = nodeFs.fsyncSync;
    const spy = vi.spyOn(nodeFs, "fsyncSync").mockImplementation((file) => {
      sync(file);
      if (!fs.readdirSync(source).includes(".reeve-commit")) return;
      spy.mockImplementation(sync);
      then();
    });
    syncBuiltinESMExports();
    try {
      commit();
    } finally {
      vi.restoreAllMocks();
      syncBuiltinESMExports();
    }
  };

  test.each([
    ["written over", (path: string) => fs.writeFileSync(path, "theirs, just now\n")],
    [
      "replaced",
      (path: string) => (fs.writeFileSync(`${path}~`, "theirs, just now\n"), fs.renameSync(`${path}~`, path)),
    ],
  ])("is not lost: a file that is %s then ends the commit, which can be asked for again", (_, save) => {
    for (const gone of [false, true]) {
      const { shelf, live, source, again } = shelfOf(begin);
      fs.writeFileSync(join(live, "a.txt"), "mine\n");
      if (gone) fs.rmSync(join(live, "b.txt"));
      else fs.writeFileSync(join(live, "b.txt"), "mine\n");
      const commit = (): void =>
        amid(
          source,
          () => save(join(source, "b.txt")),
          () => shelf.commit(),
        );
      expect(commit).toThrow(/changed b.txt.*1 of 2 changes were written/);
      expect(fs.readFileSync(join(source, "b.txt"), "utf8")).toBe("theirs, just now\n");
      expect(fs.existsSync(join(source, ".reeve-commit"))).toBe(false);
      expect(() => again().commit()).toThrow(conflict("b.txt"));
      expect(
        again()
          .commit(["b.txt"])
          .changes.map(({ path }) => path),
      ).not.toContain("b.txt");
      fs.writeFileSync(join(source, "b.txt"), "b\n");
      again().commit();
      expect(fs.existsSync(join(source, "b.txt"))).toBe(!gone);
    }
  });

  test("is not taken for a change where one file has two names there", () => {
    const { shelf, live, source } = shelfOf((folder) => {
      begin(folder);
      fs.linkSync(join(folder, "a.txt"), join(folder, "twin"));
    });
    for (const name of ["a.txt", "twin"]) fs.writeFileSync(join(live, name), `my ${name}\n`);
    shelf.commit();
    expect(fs.readFileSync(join(source, "twin"), "utf8")).toBe("my twin\n");
  });
});

test("a disk that is full, or can only be read, is said to be that, with how far it came; nothing half is left", () => {
  const { shelf, live, source, record, again } = shelfOf(begin);
  for (const name of ["a.txt", "b.txt"]) fs.writeFileSync(join(live, name), "mine\n");
  let room = 1;
  const rename = nodeFs.renameSync;
  vi.spyOn(nodeFs, "renameSync").mockImplementation((from, to) => {
    if (String(from).includes(".reeve-commit") && (room -= 1) < 0)
      throw Object.assign(new Error("no"), { code: room === -1 ? "ENOSPC" : "EROFS" });
    rename(from, to);
  });
  syncBuiltinESMExports();
  try {
    expect(() => shelf.commit()).toThrow(
      /b.txt could not be written back: the disk of the folder is full. 1 of 2 changes/,
    );
    expect(Object.keys(picture(source)).sort()).toEqual(["a.txt", "b.txt", "inner", "inner/c.txt"]);
    expect(record().committing).toBeDefined();
    expect(() => again().commit()).toThrow(/can only be read. Nothing was written/);
  } finally {
    vi.restoreAllMocks();
    syncBuiltinESMExports();
  }
  again().commit();
  expect(fs.readFileSync(join(source, "b.txt"), "utf8")).toBe("mine\n");
});

test("a new file or folder is open to no more people than in the workspace, nor to more than usual", () => {
  const { shelf, live, source } = shelfOf(begin);
  const umask = process.umask(0);
  fs.writeFileSync(join(live, "key"), "secret\n", { mode: 0o600 });
  fs.writeFileSync(join(live, "tool"), "#!/bin/sh\n", { mode: 0o700 });
  fs.writeFileSync(join(live, "open"), "all\n", { mode: 0o666 });
  fs.mkdirSync(join(live, "closed"), { mode: 0o700 });
  fs.mkdirSync(join(live, "wide"), { mode: 0o777 });
  process.umask(umask);
  shelf.commit();
  const modes = ["key", "tool", "open", "closed", "wide"].map((name) => fs.statSync(join(source, name)).mode & 0o777);
  expect(modes.map((mode) => mode.toString(8))).toEqual(["600", "700", "644", "700", "755"]);
});

test("a folder takes the place of a link, and nothing is written where that led", () => {
  const { shelf, live, source, folder } = shelfOf((at) => {
    begin(at);
    fs.symlinkSync("inner", join(at, "link"));
    fs.symlinkSync("/nowhere", join(at, "dead"));
  });
  for (const name of ["link", "dead"]) {
    fs.rmSync(join(live, name));
    fs.mkdirSync(join(live, name));
    fs.writeFileSync(join(live, name, "c.txt"), "mine\n");
  }
  shelf.commit();
  expect(picture(source)).toMatchObject({
    link: "folder 755",
    "link/c.txt": expect.any(String) as string,
    dead: "folder 755",
  });
  expect(fs.readFileSync(join(source, "inner/c.txt"), "utf8")).toBe("c\n");
  expect(fs.existsSync(join(folder, "nowhere"))).toBe(false);
});

test("a folder that is removed and has got something new stays, with that alone", () => {
  const { shelf, live, source } = shelfOf(begin);
  fs.rmSync(join(live, "inner"), { recursive: true });
  fs.writeFileSync(join(source, "inner/theirs"), "theirs\n");
  shelf.commit();
  expect(fs.readdirSync(join(source, "inner"))).toEqual(["theirs"]);
});

test("links that lead out are refused by name, and nothing is written", () => {
  const { shelf, live, source } = shelfOf(begin);
  fs.symlinkSync("/etc/passwd", join(live, "evil"));
  fs.writeFileSync(join(live, "a.txt"), "mine\n");
  const before = picture(source);
  expect(() => shelf.commit()).toThrow(
    expect.objectContaining({ code: "invalid_argument", data: { issues: ["evil: leads out"] } }),
  );
  expect(picture(source)).toEqual(before);
});

test("what makes git run programs is refused by name, at any depth; what git keeps of the work is written", () => {
  const { shelf, live, source } = shelfOf((folder) => {
    begin(folder);
    fs.mkdirSync(join(folder, ".git/hooks"), { recursive: true });
    fs.writeFileSync(join(folder, ".git/config"), "[core]\n");
    fs.writeFileSync(join(folder, ".git/HEAD"), "ref: refs/heads/main\n");
  });
  const before = picture(source);
  fs.mkdirSync(join(live, ".git/objects"));
  fs.writeFileSync(join(live, ".git/objects/1"), "object\n");
  fs.writeFileSync(join(live, ".git/HEAD"), "ref: refs/heads/other\n");
  fs.writeFileSync(join(live, ".git/config"), "[core]\nfsmonitor = ./evil\n");
  fs.writeFileSync(join(live, ".git/hooks/pre-commit"), "#!/bin/sh\n", { mode: 0o755 });
  fs.writeFileSync(join(live, ".git/commondir"), "../inner\n");
  fs.mkdirSync(join(live, ".git/rebase-merge"));
  fs.writeFileSync(join(live, ".git/rebase-merge/git-rebase-todo"), "exec ./evil\n");
  fs.mkdirSync(join(live, "inner/.GIT/modules/x/hooks"), { recursive: true });
  fs.writeFileSync(join(live, "inner/.GIT/modules/x/config"), "[core]\n");
  fs.mkdirSync(join(live, "other"));
  fs.writeFileSync(join(live, "other/.git"), "gitdir: ../inner/.GIT\n");
  const issues = [
    ...[".git/commondir", ".git/config", ".git/hooks/pre-commit", ".git/rebase-merge/git-rebase-todo"],
    ...["inner/.GIT/modules/x/config", "other/.git"],
  ];
  expect(() => shelf.commit()).toThrow(
    expect.objectContaining({
      code: "invalid_argument",
      data: { issues: issues.map((path) => `${path}: makes git run programs`) },
    }),
  );
  expect(picture(source)).toEqual(before);
  shelf.commit(issues);
  expect(fs.readFileSync(join(source, ".git/HEAD"), "utf8")).toContain("other");
  expect(fs.existsSync(join(source, ".git/objects/1"))).toBe(true);
  expect(picture(source)[".git/config"]).toBe(before[".git/config"]);
  expect(fs.existsSync(join(source, "other/.git"))).toBe(false);
  // What is gone runs nothing.
  fs.rmSync(join(live, ".git"), { recursive: true });
  shelf.commit([".git/config", "inner/.GIT/modules/x/config", "other/.git"]);
  expect(Object.keys(picture(source))).not.toContain(".git/HEAD");
});

/** As git makes it by `git init --bare`: a repository without a `.git`. */
function bare(folder: string, parts: readonly ("HEAD" | "objects" | "refs" | "config" | "hooks")[]): void {
  for (const part of parts) {
    const isFolder = part === "objects" || part === "refs" || part === "hooks";
    fs.mkdirSync(isFolder ? join(folder, part) : folder, { recursive: true });
    if (part === "HEAD") fs.writeFileSync(join(folder, part), "ref: refs/heads/main\n");
    if (part === "config") fs.writeFileSync(join(folder, part), "[core]\nbare = true\nfsmonitor = ./evil\n");
    if (part === "hooks") fs.writeFileSync(join(folder, "hooks/pre-commit"), "#!/bin/sh\n", { mode: 0o755 });
  }
}

const refused = (paths: readonly string[]): unknown =>
  expect.objectContaining({ data: { issues: paths.map((path) => `${path}: makes git run programs`) } });

test("a folder that git would take for a repository by what is in it is refused as well", () => {
  const { shelf, live, source } = shelfOf(begin);
  bare(join(live, "inner/lib"), ["HEAD", "objects", "refs", "config", "hooks"]);
  const paths = ["HEAD", "config", "hooks/pre-commit", "objects", "refs"].map((name) => `inner/lib/${name}`);
  expect(() => shelf.commit()).toThrow(refused(paths));
  expect(fs.existsSync(join(source, "inner/lib"))).toBe(false);
  // A folder with settings of its own is none of git's.
  shelf.commit(["inner/lib/HEAD"]);
  expect(fs.existsSync(join(source, "inner/lib/config"))).toBe(true);
});

test("nor does it become one in two commits, or is the top of the folder one", () => {
  const { shelf, live, source } = shelfOf((folder) => {
    begin(folder);
    bare(folder, ["HEAD"]);
  });
  bare(join(live, "lib"), ["objects", "refs", "config"]);
  bare(live, ["objects"]);
  shelf.commit();
  fs.rmSync(join(live, "lib/objects"), { recursive: true });
  bare(join(live, "lib"), ["HEAD"]);
  bare(live, ["refs"]);
  expect(() => shelf.commit(["lib/objects"])).toThrow(refused(["lib/HEAD", "refs"]));
  expect(fs.existsSync(join(source, "lib/HEAD"))).toBe(false);
  shelf.commit(["refs"]);
  expect(fs.existsSync(join(source, "lib/HEAD"))).toBe(true);
  expect(fs.existsSync(join(source, "lib/objects"))).toBe(false);
});

test("of a repository that was one before, objects and branches are written, and nothing that runs", () => {
  const { shelf, live, source } = shelfOf((folder) => {
    begin(folder);
    bare(join(folder, "lib"), ["HEAD", "objects", "refs"]);
  });
  fs.writeFileSync(join(live, "lib/objects/1"), "object\n");
  bare(join(live, "lib"), ["hooks"]);
  expect(() => shelf.commit()).toThrow(refused(["lib/hooks/pre-commit"]));
  shelf.commit(["lib/hooks"]);
  expect(fs.existsSync(join(source, "lib/objects/1"))).toBe(true);
});

test("where a link leads is judged without following it", () => {
  expect(staysInside("a/b/link", "../../c")).toBe(true);
  expect(staysInside("link", "./x/y")).toBe(true);
  for (const target of ["/etc", "..", "../x", "a/../../x", "a/..", "././../x"])
    expect(staysInside("link", target)).toBe(false);
  // Plain names below a depth: resolved by name alone, it never rises above the root.
  fc.assert(
    fc.property(fc.array(fc.constantFrom("..", ".", "a", ""), { maxLength: 8 }), fc.nat(3), (names, depth) => {
      const target = names.join("/");
      if (!staysInside(`${"d/".repeat(depth)}link`, target)) return;
      let at = depth;
      for (const name of names) at += name === ".." ? -1 : name === "a" ? 1 : 0;
      expect(at).toBeGreaterThanOrEqual(0);
    }),
  );
});

test("one that began empty is written to the folder that is named, which is its own from then on", () => {
  const { again, record, folder, live, source } = shelfOf();
  writeRecord(folder, { ...record(), from: null });
  fs.writeFileSync(join(live, "made.txt"), "1\n");
  expect(() => again().commit()).toThrow(/--to/);
  fs.writeFileSync(join(source, "made.txt"), "theirs\n");
  expect(() => again().commit([], { to: source })).toThrow(conflict("made.txt"));
  // Nothing was written, so it has none yet.
  expect(record().from).toBeNull();
  fs.rmSync(join(source, "made.txt"));
  expect(again().commit([], { to: source }).changes).toMatchObject([{ path: "made.txt", change: "added" }]);
  fs.writeFileSync(join(live, "made.txt"), "2\n");
  again().commit();
  expect(fs.readFileSync(join(source, "made.txt"), "utf8")).toBe("2\n");
  expect(() => again().commit([], { to: folder })).toThrow(/belongs to/);
});

test("nothing is written into Reeve's own data folder", () => {
  const { shelf, live, source } = shelfOf(begin);
  const dataFolder = join(source, "deep/.reeve");
  fs.mkdirSync(dataFolder, { recursive: true });
  fs.mkdirSync(join(live, "deep/.reeve"), { recursive: true });
  fs.writeFileSync(join(live, "deep/.reeve/planted"), "x\n");
  fs.writeFileSync(join(live, "deep/.reeve-not"), "x\n");
  expect(() => shelf.commit([], { dataFolder })).toThrow(
    /deep\/\.reeve.* Reeve's own data folder.*--except deep\/\.reeve/,
  );
  expect(fs.existsSync(join(source, "deep/.reeve-not"))).toBe(false);
  shelf.commit(["deep/.reeve"], { dataFolder });
  expect(fs.readdirSync(dataFolder)).toEqual([]);
  expect(fs.existsSync(join(source, "deep/.reeve-not"))).toBe(true);
});

test("a death between the going of a folder and the coming of a file in its place is no conflict", () => {
  const { live, source, again } = shelfOf(begin);
  fs.rmSync(join(live, "inner"), { recursive: true });
  fs.writeFileSync(join(live, "inner"), "file\n");
  fs.rmSync(join(live, "a.txt"));
  fs.mkdirSync(join(live, "a.txt"));
  fs.writeFileSync(join(live, "a.txt/x"), "x\n");
  fs.rmSync(join(source, "inner"), { recursive: true });
  fs.rmSync(join(source, "a.txt"));
  again().commit();
  expect(fs.readFileSync(join(source, "inner"), "utf8")).toBe("file\n");
  expect(fs.readFileSync(join(source, "a.txt/x"), "utf8")).toBe("x\n");
});

/** Commits in a process of its own. */
const COMMIT = `
const [folder, driver] = process.argv.slice(1);
const { Shelf } = await import(driver + "/shelf.ts");
const { readRecord } = await import(driver + "/record.ts");
new Shelf(folder, readRecord(folder)).commit();
`;

test("after a death in the middle it is asked for again, and does what is left", async () => {
  const { live, source, folder, again, record } = shelfOf(begin);
  for (let file = 0; file < 400; file += 1) fs.writeFileSync(join(live, `${file}`), `${file}`);
  fs.writeFileSync(join(live, "a.txt"), "mine\n");
  fs.rmSync(join(live, "b.txt"));
  const child = spawn(process.execPath, ["--input-type=module", "-e", COMMIT, folder, import.meta.dirname]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const watcher = fs.watch(source, () => child.kill("SIGKILL"));
  await ended;
  watcher.close();
  expect(record().committing).toBeDefined();
  const written = fs.readdirSync(source).length;
  expect(written).toBeLessThan(400);
  // What the program did since is written as well.
  fs.writeFileSync(join(live, "late"), "late\n");
  again().commit();
  expect(record().committing).toBeUndefined();
  expect(Object.keys(picture(source)).sort()).toEqual(Object.keys(picture(live)).sort());
  expect(fs.readFileSync(join(source, "a.txt"), "utf8")).toBe("mine\n");
  expect(fs.readFileSync(join(source, "399"), "utf8")).toBe("399");
});

describe("what is left out", () => {
  const change = (live: string): void => {
    fs.writeFileSync(join(live, "a.txt"), "changed\n");
    fs.symlinkSync("/etc", join(live, "out"));
    fs.rmSync(join(live, "b.txt"));
    fs.mkdirSync(join(live, "made/deep"), { recursive: true });
    for (const path of ["made/x", "made/deep/y"]) fs.writeFileSync(join(live, path), path);
  };
  const told = (shelf: Shelf): string[] => shelf.diff(null).changes.map((one) => `${one.change} ${one.path}`);

  test("is not written, and goes on to differ, until it is", () => {
    const { shelf, live, source, again } = shelfOf(begin);
    change(live);
    const before = picture(source);
    expect(() => shelf.commit(["a.txt"])).toThrow(/lead out of it.*`reeve commit PID --except PATH`/);
    expect(picture(source)).toEqual(before);
    const { changes } = shelf.commit(["out", "b.txt", "made/deep"]);
    expect(changes.map(({ path }) => path)).toEqual(["a.txt", "made/x"]);
    expect(Object.keys(picture(source))).toEqual(expect.arrayContaining(["b.txt", "made/x"]));
    expect(picture(source)["made/deep"]).toBeUndefined();
    expect(told(again())).toEqual(["removed b.txt", "added made/deep/y", "added out"]);
    fs.rmSync(join(live, "out"));
    expect(
      again()
        .commit()
        .changes.map(({ path }) => path),
    ).toEqual(["b.txt", "made/deep/y"]);
    expect(told(again())).toEqual([]);
    expect(picture(source)).toEqual({ ...picture(live), "a.txt": picture(source)["a.txt"] });
  });

  test("may be all of a folder, made or removed, or a file in one that is gone", () => {
    const { shelf, live, source } = shelfOf(begin);
    change(live);
    fs.rmSync(join(live, "inner"), { recursive: true });
    shelf.commit(["out", "made", "inner/c.txt"]);
    expect(Object.keys(picture(source)).sort()).toEqual(["a.txt", "inner", "inner/c.txt"]);
    expect(told(shelf)).toEqual(["removed inner/c.txt", "added made/deep/y", "added made/x", "added out"]);
  });

  test("must differ, be inside, and be possible; otherwise nothing is written", () => {
    const { shelf, live, source } = shelfOf(begin);
    change(live);
    fs.rmSync(join(live, "inner"), { recursive: true });
    fs.writeFileSync(join(live, "inner"), "a file now");
    const before = picture(source);
    for (const path of ["nothing", "../x", "made/dee", "", "."])
      expect(() => shelf.commit(["out", path]), path).toThrow(expect.objectContaining({ code: "invalid_argument" }));
    expect(() => shelf.commit(["out", "inner/c.txt"])).toThrow(/inner\/c.txt cannot be left out/);
    expect(picture(source)).toEqual(before);
    expect(shelf.commit(["out", "inner"]).changes.map(({ path }) => path)).toContain("a.txt");
    expect(picture(source)["inner/c.txt"]).toBe(before["inner/c.txt"]);
  });

  test("is named as it is shown, where its bytes are no text", () => {
    const { shelf, live, source } = shelfOf(begin);
    const folder = Buffer.concat([Buffer.from(`${live}/`), Buffer.from([0xff])]);
    fs.mkdirSync(folder);
    fs.writeFileSync(Buffer.concat([folder, Buffer.from("/x")]), "x");
    fs.writeFileSync(join(live, "a.txt"), "mine\n");
    expect(shelf.diff(null).changes.map(({ path }) => path)).toContain("\\xff/x");
    for (const path of ["\\xff/x", "./\\xff/"]) {
      expect(shelf.commit([path]).changes.map((one) => one.path)).not.toContain("\\xff/x");
      fs.appendFileSync(join(live, "a.txt"), "more\n");
    }
    expect(Object.keys(picture(source)).filter((name) => name.includes("\xff/"))).toEqual([]);
  });

  test("of a conflict lets the rest be written", () => {
    const { shelf, live, source } = shelfOf(begin);
    change(live);
    fs.writeFileSync(join(source, "a.txt"), "somebody else's\n");
    expect(() => shelf.commit(["out"])).toThrow(conflict("a.txt"));
    shelf.commit(["out", "a.txt"]);
    expect(fs.readFileSync(join(source, "a.txt"), "utf8")).toBe("somebody else's\n");
    expect(fs.existsSync(join(source, "b.txt"))).toBe(false);
  });
});
