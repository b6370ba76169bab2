// Goal: what differs is told as a patch of which git makes the same as the workspace, or nothing.
// Method: git itself applies it to the folder that the workspace began as a copy of; both are then compared.
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import { picture, type Scene, shelfOf } from "./scene.fake.ts";

const git = (folder: string, args: readonly string[], input = ""): string =>
  execFileSync("git", args, { cwd: folder, encoding: "utf8", input, stdio: "pipe" });

/** Without folders, and with no more of permissions than git keeps. */
const asGitSees = (folder: string): unknown =>
  Object.fromEntries(
    Object.entries(picture(folder)).flatMap(([path, what]) => {
      if (what.startsWith("folder")) return [];
      const [kind, mode = "", content] = what.split(" ");
      return [[path, kind === "link" ? what : `${(Number.parseInt(mode, 8) & 0o100) !== 0} ${content ?? ""}`]];
    }),
  );

function apply({ shelf, source }: Scene): void {
  const { patch } = shelf.patch(null);
  if (patch !== "") git(source, ["apply", "--whitespace=nowarn"], patch);
}

/** Not within a repository whose settings would matter. */
const plainGit = (source: string): void => void git(source, ["init", "-q", "--template="]);
const done = ({ source }: Scene): void => fs.rmSync(join(source, ".git"), { recursive: true });

const hasGit = spawnSync("git", ["--version"]).status === 0;

needs("git", hasGit)("what git makes of it", () => {
  test("texts, binaries, links, kinds, permissions, moves, removals and strange names: git makes the same of it", () => {
    const scene = shelfOf((source) => {
      for (const name of ["text", "no-end", "crlf", "runs", "gone", "moved", "to-link", "to-folder", "latin"])
        fs.writeFileSync(join(source, name), `${name}\none\ntwo\n`);
      fs.writeFileSync(join(source, "bytes"), Buffer.from([0, 1, 2, 255]));
      fs.writeFileSync(join(source, "empty-gone"), "");
      fs.symlinkSync("text", join(source, "link"));
      fs.symlinkSync("text", join(source, "to-file"));
      fs.mkdirSync(join(source, "folder"));
      fs.writeFileSync(join(source, "folder/inner"), "inner\n");
    });
    const { live, source, shelf } = scene;
    const put = (name: string | Buffer, content: string | Buffer): void =>
      fs.writeFileSync(Buffer.concat([Buffer.from(`${live}/`), Buffer.from(name)]), content);
    put("text", "text\none\nzwei\n");
    put("no-end", "no-end\none\ntwo");
    put("crlf", "crlf\r\none\r\ntwo\r\u001b[31m\u2028\n\f");
    fs.chmodSync(join(live, "runs"), 0o755);
    for (const name of ["gone", "empty-gone", "to-link", "to-folder", "to-file", "link"]) fs.rmSync(join(live, name));
    fs.renameSync(join(live, "moved"), join(live, "moved to"));
    fs.chmodSync(join(live, "moved to"), 0o700);
    fs.symlinkSync("text", join(live, "to-link"));
    fs.symlinkSync("folder/inner", join(live, "link"));
    fs.mkdirSync(join(live, "to-folder"));
    put("to-folder/new", "new\n");
    put("to-file", "a file\n");
    put("latin", Buffer.from("caf\u00e9\n", "latin1"));
    put("bytes", Buffer.from([0, 9, 9, 9, 9, 255, 254]));
    put("more-bytes", Buffer.alloc(300_000, "\0\u0001long"));
    put("long", "x\n".repeat(200_000));
    put("empty", "");
    fs.rmSync(join(live, "folder"), { recursive: true });
    put("folder", "a file now\n");
    put('-n a\tb"c\\d\ne \u00fc\u202e', "strange\n");
    put(Buffer.from([0x61, 0xff, 0xfe]), "no text\n");
    plainGit(source);
    apply(scene);
    done(scene);
    expect(asGitSees(scene.source)).toEqual(asGitSees(scene.live));
    expect(shelf.patch(null).leftOut).toEqual([]);
  });

  test("whatever is done, git makes the same of it", () => {
    const content = fc.oneof(
      fc.constantFrom("", "\n", "one\n", "one\ntwo\nthree\n", "one\ntwo\nthree", "one\r\n\r\ntwo", "\0"),
      fc.string(),
    );
    const file = fc.record({ name: fc.constantFrom("a", "b", "c d", "\u00fc"), content, runs: fc.boolean() });
    const files = fc.uniqueArray(file, { selector: ({ name }) => name });
    const lay = (folder: string, all: readonly { name: string; content: string; runs: boolean }[]): void => {
      for (const { name, content: text, runs } of all)
        fs.writeFileSync(join(folder, name), text, { mode: runs ? 0o755 : 0o644 });
    };
    fc.assert(
      fc.property(files, files, (before, after) => {
        const scene = shelfOf((source) => lay(source, before));
        for (const name of fs.readdirSync(scene.live)) fs.rmSync(join(scene.live, name));
        lay(scene.live, after);
        plainGit(scene.source);
        apply(scene);
        done(scene);
        expect(asGitSees(scene.source)).toEqual(asGitSees(scene.live));
      }),
      { numRuns: 15 },
    );
  });
});

test("git's own folder is in no patch, since git takes none of that; it is named", () => {
  const { shelf, live } = shelfOf((source) => fs.mkdirSync(join(source, ".git")));
  fs.writeFileSync(join(live, ".git/index"), "index\n");
  fs.writeFileSync(join(live, "new"), "new\n");
  const { patch, leftOut } = shelf.patch(null);
  expect(patch).toContain("b/new");
  expect(patch).not.toContain(".git/index");
  expect(leftOut).toEqual([{ path: ".git/index", why: expect.stringContaining("git's own") as string }]);
});

test("what is too much for one patch is refused as a whole", () => {
  const { shelf, live } = shelfOf(() => {}, 64 * 1024 * 1024);
  fs.writeFileSync(join(live, "small"), "small\n");
  fs.writeFileSync(join(live, "large"), Buffer.alloc(17 * 1024 * 1024, 1));
  expect(() => shelf.patch(null)).toThrow(/too much for one patch.*reeve commit/);
});
