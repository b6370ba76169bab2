// Goal: a workspace that is removed is gone with its room and its mount, one that holds what is nowhere else only by a word; and wherever
// a removal is cut off, it is there whole or not at all, and can be ended.
// Method: the driver as it is used, on real disks where the machine lets it; Reeve's death played by leaving out what comes after.
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Workspaces } from "../../ports/workspace.ts";
import { lackOfQuota } from "./disk.ts";
import { setAside } from "./removal.ts";
import { temporaryFolder } from "./scene.fake.ts";
import { createWorkspaces } from "./workspaces.ts";

const PID = "p_000000000001" as ProcessId;
const OTHER = "p_000000000002" as ProcessId;
const MB = 1024 * 1024;
const NOTHING = { changes: [], more: 0, leftOut: [] };

const open: Workspaces[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

function project(): string {
  const folder = temporaryFolder();
  fs.mkdirSync(join(folder, "src"));
  fs.writeFileSync(join(folder, "src/a.txt"), "a\n");
  return folder;
}

function workspacesOf(folder: string): Workspaces {
  const uids = { from: 200_000, to: 265_535 };
  const made = createWorkspaces({ folder: join(folder, "workspaces"), projectFolder: folder, uids });
  open.push(made);
  return made;
}

/** A workspace that began as a copy of `src`, and was written into. */
async function used(workspaces: Workspaces, pid: ProcessId, file?: string): Promise<void> {
  const workspace = await workspaces.open(pid, { from: "src", diskBytes: 8 * MB });
  await workspace.snapshot(0);
  if (file !== undefined) await workspace.write(file, Buffer.from("new"));
  await workspace.close();
}

const refused = (code: string, data: object = {}): unknown =>
  expect.objectContaining({ code, data: expect.objectContaining(data) as unknown });
const mountsBelow = (folder: string): number =>
  fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(` ${folder}/`)).length;
const left = (folder: string): string[] =>
  fs
    .readdirSync(join(folder, "workspaces"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.includes("p_"));

test("what there is of it is told, and told again without another look until it is used", async () => {
  const folder = project();
  const workspaces = workspacesOf(folder);
  expect(await workspaces.list()).toEqual([]);
  await used(workspaces, OTHER, "b.txt");
  await used(workspaces, PID);
  expect(await workspaces.list()).toEqual([PID, OTHER]);
  const [clean, changed] = [await workspaces.look(PID), await workspaces.look(OTHER)];
  expect(clean).toMatchObject({ from: join(folder, "src"), changed: 0 });
  expect(changed.changed).toBe(1);
  expect(clean.sizeBytes).toBeGreaterThan(0);
  expect(await workspaces.room()).toEqual({ count: 2, sizeBytes: clean.sizeBytes + changed.sizeBytes });
  expect(mountsBelow(folder)).toBe(0);
  expect(await workspaces.look(OTHER)).toEqual(changed);
  await used(workspaces, OTHER, "c.txt");
  expect((await workspaces.look(OTHER)).changed).toBe(2);
  await workspaces.commit(OTHER);
  expect((await workspaces.look(OTHER)).changed).toBe(0);
});

test("looking costs no room", async () => {
  const folder = project();
  const workspaces = workspacesOf(folder);
  await used(workspaces, PID);
  const workspace = await workspaces.open(PID, { diskBytes: 8 * MB });
  await workspace.write("large", Buffer.alloc(3 * MB, 1));
  await workspace.close();
  const objects = (): number =>
    Number(
      execFileSync("du", ["-sk", join(folder, "workspaces", PID, "objects")], { encoding: "utf8" }).split("\t")[0],
    );
  const before = objects();
  expect((await workspaces.look(PID)).changed).toBe(1);
  // Kilobytes; a folder or two may be new.
  expect(objects()).toBeLessThan(before + 64);
});

test("a look into one that is in use disturbs nobody: what comes and goes around it is kept all the same", async () => {
  const workspaces = workspacesOf(project());
  const workspace = await workspaces.open(PID, { from: "src", diskBytes: 8 * MB });
  await workspace.write("b.txt", Buffer.from("b"));
  expect((await workspaces.look(PID)).changed).toBe(1);
  await workspace.remove("b.txt");
  await workspace.snapshot(1);
  await workspace.write("b.txt", Buffer.from("b"));
  await workspace.snapshot(2);
  await workspace.remove("b.txt");
  await expect(workspaces.rollback(PID, 2)).rejects.toMatchObject({ code: "conflict" });
  await workspace.close();
  await workspaces.rollback(PID, 2);
  const again = await workspaces.open(PID, { from: "src", diskBytes: 8 * MB });
  expect(Buffer.from(await again.read("b.txt")).toString()).toBe("b");
  await again.close();
});

test("one that holds nothing of its own goes; one that does goes by a word, and what is lost is told", async () => {
  const folder = project();
  const workspaces = workspacesOf(folder);
  await used(workspaces, PID);
  await used(workspaces, OTHER, "b.txt");
  expect(await workspaces.setAside(PID, { discard: false, by: "ann" })).toEqual(NOTHING);
  await workspaces.erase(PID);
  await expect(workspaces.setAside(OTHER, { discard: false, by: "ann" })).rejects.toEqual(
    refused("conflict", { paths: ["b.txt"], count: 1 }),
  );
  expect((await workspaces.look(OTHER)).changed).toBe(1);
  const lost = await workspaces.setAside(OTHER, { discard: true, by: "ann" });
  expect(lost.changes).toEqual([{ path: "b.txt", change: "added", kind: "file", sizeBytes: 3 }]);
  await workspaces.erase(OTHER);
  expect([await workspaces.list(), await workspaces.removals()]).toEqual([[], []]);
  expect(left(folder)).toEqual([]);
  expect(mountsBelow(folder)).toBe(0);
  await expect(workspaces.setAside(OTHER, { discard: true, by: "ann" })).rejects.toEqual(refused("not_found"));
  await expect(workspaces.look(OTHER)).rejects.toEqual(refused("not_found"));
});

test("one that is in use stays", async () => {
  const workspaces = workspacesOf(project());
  const workspace = await workspaces.open(PID, { diskBytes: 8 * MB });
  await expect(workspaces.setAside(PID, { discard: true, by: "ann" })).rejects.toEqual(refused("conflict"));
  await workspace.write("a", Buffer.from("a"));
  await workspace.close();
  await workspaces.setAside(PID, { discard: true, by: "ann" });
});

test("one that was never finished is listed, and goes", async () => {
  const folder = project();
  const place = join(folder, "workspaces", PID);
  fs.mkdirSync(join(place, "ws"), { recursive: true });
  fs.writeFileSync(join(place, "ws/part"), "part");
  const workspaces = workspacesOf(folder);
  expect(await workspaces.look(PID)).toMatchObject({ from: null, changed: 0 });
  await workspaces.setAside(PID, { discard: false, by: "ann" });
  await workspaces.erase(PID);
  expect(left(folder)).toEqual([]);
});

test("what was set aside before Reeve's death is no workspace any more, tells by whom, and can be erased, in part too", async () => {
  const folder = project();
  const first = workspacesOf(folder);
  await used(first, PID, "b.txt");
  const lost = await first.setAside(PID, { discard: true, by: "ann" });
  await first.close();
  const second = workspacesOf(folder);
  expect(await second.list()).toEqual([]);
  await expect(second.diff(PID, null)).rejects.toEqual(refused("not_found"));
  expect(await second.removals()).toEqual([{ pid: PID, by: "ann", lost }]);
  // As a removal that was cut off while it erased.
  const aside = join(folder, "workspaces/.removing", PID);
  for (const name of fs.readdirSync(aside).slice(0, 3)) fs.rmSync(join(aside, name), { recursive: true });
  await second.close();
  const third = workspacesOf(folder);
  expect((await third.removals()).map(({ pid }) => pid)).toEqual([PID]);
  await third.erase(PID);
  await third.erase(PID);
  expect([await third.removals(), left(folder)]).toEqual([[], []]);
});

test("a removal that was cut off before it was set aside has removed nothing", async () => {
  const folder = project();
  const first = workspacesOf(folder);
  await used(first, PID, "b.txt");
  await first.close();
  const at = join(folder, "workspaces");
  // The note is written; the step that counts does not come.
  fs.mkdirSync(join(at, ".removing", PID, "in-the-way"), { recursive: true });
  expect(() => setAside(at, PID, { by: "ann", lost: NOTHING })).toThrow(/ENOTEMPTY/);
  fs.rmSync(join(at, ".removing"), { recursive: true });
  const second = workspacesOf(folder);
  expect([await second.list(), await second.removals()]).toEqual([[PID], []]);
  expect((await second.look(PID)).changed).toBe(1);
  expect((await second.diff(PID, null)).changes).toHaveLength(1);
});

needs("the right to mount disks in files", lackOfQuota() === undefined)("a disk that is removed", () => {
  test("is unmounted and gives its loop device back, also when it is damaged", async () => {
    const folder = project();
    const first = workspacesOf(folder);
    await used(first, PID, "b.txt");
    await used(first, OTHER, "b.txt");
    await first.close();
    fs.writeFileSync(join(folder, "workspaces", OTHER, "disk.img"), "no file system");
    const second = workspacesOf(folder);
    await expect(second.look(OTHER)).rejects.toEqual(refused("unsupported"));
    await expect(second.setAside(OTHER, { discard: false, by: "ann" })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining(`remove --discard ${OTHER}`) as string,
    });
    for (const pid of [PID, OTHER]) {
      await second.setAside(pid, { discard: true, by: "ann" });
      await second.erase(pid);
    }
    expect(mountsBelow(folder)).toBe(0);
    expect(
      execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], { encoding: "utf8" }),
    ).not.toContain(folder);
    expect(left(folder)).toEqual([]);
  });

  test("stays while somebody outside looks into it", async () => {
    const workspaces = workspacesOf(project());
    const workspace = await workspaces.open(PID, { diskBytes: 8 * MB });
    const looking = fs.openSync(workspace.folder, "r");
    await workspace.close();
    await expect(workspaces.setAside(PID, { discard: true, by: "ann" })).rejects.toEqual(refused("conflict"));
    fs.closeSync(looking);
    await workspaces.setAside(PID, { discard: true, by: "ann" });
  });
});
