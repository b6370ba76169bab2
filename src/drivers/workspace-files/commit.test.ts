// Goal: a workspace is written back as a whole or not at all, over nobody's changes, and nowhere but into its folder.
// Method: real folders; conflicts of each kind, links of each kind, a death in the middle, told by what the folder then holds.
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
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
    expect(() => shelf.commit(["a.txt"])).toThrow(/lead out of it.*--except/);
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
