// Goal: workspaces are made at first use, found again, bounded by the system, and leave nothing behind, however Reeve ends.
// Method: the driver as it is used, on real disks where the machine lets it; a driver in another process that is killed.
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { OsError } from "../../abi/errors.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Workspaces } from "../../ports/workspace.ts";
import { lackOfQuota } from "./disk.ts";
import { temporaryFolder } from "./scene.fake.ts";
import { createWorkspaces } from "./workspaces.ts";

const PID = "p_000000000001" as ProcessId;
const OTHER = "p_000000000002" as ProcessId;
const MB = 1024 * 1024;
const uids = { from: 200_000, to: 265_535 };

const open: Workspaces[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

function project(): string {
  const folder = temporaryFolder();
  fs.mkdirSync(join(folder, "src"));
  fs.writeFileSync(join(folder, "src/a.txt"), "a\n");
  fs.mkdirSync(join(folder, ".reeve"));
  fs.writeFileSync(join(folder, ".reeve/journal"), "private");
  return folder;
}

function workspacesOf(folder: string, idleMs?: number): Workspaces {
  const made = createWorkspaces({
    folder: join(folder, ".reeve/workspaces"),
    projectFolder: folder,
    uids,
    ...(idleMs === undefined ? {} : { idleMs }),
  });
  open.push(made);
  return made;
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
const refused = (code: string): unknown => expect.objectContaining({ code });

test("one that began empty is written to a folder of the project, and to no other", async () => {
  const folder = project();
  const workspaces = workspacesOf(folder);
  const workspace = await workspaces.open(PID, { from: undefined, diskBytes: 8 * MB });
  await workspace.write("made.txt", Buffer.from("made"));
  await workspace.close();
  for (const to of [temporaryFolder(), "..", "absent", "src/a.txt", ".reeve", ".reeve/workspaces"])
    await expect(workspaces.commit(PID, { to }), to).rejects.toEqual(refused("invalid_argument"));
  const { changes } = await workspaces.commit(PID, { to: "src" });
  expect(changes).toMatchObject([{ path: "made.txt", change: "added" }]);
  expect(fs.readFileSync(join(folder, "src/made.txt"), "utf8")).toBe("made");
});

test("it is a copy that is found again, and nobody else sees it changed", async () => {
  const folder = project();
  const first = workspacesOf(folder);
  const workspace = await first.open(PID, { from: "src", diskBytes: 8 * MB });
  expect(textOf(await workspace.read("a.txt"))).toBe("a\n");
  await workspace.write("deep/new.txt", Buffer.from("new"));
  await workspace.snapshot(4);
  await first.close();
  expect(fs.readdirSync(join(folder, "src"))).toEqual(["a.txt"]);
  const second = workspacesOf(folder);
  const again = await second.open(PID, { from: "src", diskBytes: 8 * MB });
  expect(textOf(await again.read("/ws/deep/new.txt"))).toBe("new");
  expect(await second.snapshots(PID)).toEqual([4]);
  await again.remove("deep");
  expect(await again.list(".")).toEqual([{ path: "a.txt", kind: "file", sizeBytes: 2 }]);
  await again.close();
  await expect(second.diff("p_000000000009" as typeof PID, null)).rejects.toEqual(refused("not_found"));
});

test("Reeve's own data folder is never part of a copy, and that is said", async () => {
  const workspaces = workspacesOf(project());
  const workspace = await workspaces.open(PID, { from: ".", diskBytes: 8 * MB });
  expect((await workspace.list(".")).map(({ path }) => path)).toEqual(["src"]);
  expect((await workspaces.diff(PID, null)).leftOut).toEqual([
    { path: ".reeve", why: "it is Reeve's own data folder" },
  ]);
  await workspace.close();
});

test("what cannot be copied is refused, and can be tried again", async () => {
  const folder = project();
  const workspaces = workspacesOf(folder);
  for (const from of ["nowhere", "/", "src/a.txt", ".reeve"])
    await expect(workspaces.open(PID, { from, diskBytes: 8 * MB })).rejects.toEqual(refused("invalid_argument"));
  fs.writeFileSync(join(folder, "src/large"), Buffer.alloc(3 * MB, 1));
  await expect(workspaces.open(PID, { from: "src", diskBytes: 2 * MB })).rejects.toEqual(refused("limit_exceeded"));
  const workspace = await workspaces.open(PID, { from: "src", diskBytes: 8 * MB });
  expect((await workspace.read("large")).length).toBe(3 * MB);
  await workspace.close();
});

test("paths that lead out, by dots or by links, are refused; so is what is no file", async () => {
  const folder = project();
  const workspace = await workspacesOf(folder).open(PID, { diskBytes: 8 * MB });
  fs.symlinkSync("/etc", join(workspace.folder, "etc"));
  fs.symlinkSync("/etc/passwd", join(workspace.folder, "passwd"));
  fs.symlinkSync(join(folder, "src"), join(workspace.folder, "src"));
  execFileSync("mkfifo", [join(workspace.folder, "pipe")]);
  for (const path of ["../x", "a/../../x", "/etc/passwd", "etc/passwd", "passwd", "pipe", "", ".", "/ws", "a\0b"])
    await expect(workspace.read(path), path).rejects.toEqual(refused("invalid_argument"));
  for (const path of ["../x", "src/new", "passwd", "pipe", "etc/x/y"])
    await expect(workspace.write(path, Buffer.from("x")), path).rejects.toEqual(refused("invalid_argument"));
  await expect(workspace.list("etc")).rejects.toEqual(refused("invalid_argument"));
  await expect(workspace.remove("src/a.txt")).rejects.toEqual(refused("invalid_argument"));
  await expect(workspace.read("nothing")).rejects.toEqual(refused("not_found"));
  await workspace.write("big", Buffer.alloc(100));
  await expect(workspace.read("big", { bytesMax: 99 })).rejects.toEqual(refused("limit_exceeded"));
  await workspace.remove("etc");
  expect(fs.existsSync("/etc/passwd")).toBe(true);
  expect(fs.readdirSync(join(folder, "src"))).toEqual(["a.txt"]);
  await workspace.close();
});

test("a program that swaps a folder for a link, again and again, leads nothing out", async () => {
  const folder = project();
  const workspaces = workspacesOf(folder);
  const workspace = await workspaces.open(PID, { diskBytes: 8 * MB });
  await workspace.write("d/x", Buffer.from("inside"));
  const swap = 'while :; do mv d e; ln -s "$1" d; rm d; mv e d; done 2>/dev/null';
  const child = spawn("sh", ["-c", swap, "swap", join(folder, "src")], { cwd: workspace.folder, stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const seen = new Set<string>();
  const note = (what: Promise<unknown>): Promise<void> =>
    what.then(
      (value) => void seen.add(value instanceof Uint8Array ? textOf(value) : "done"),
      ({ code, message }: OsError) => void seen.add(code === "internal" ? message : code),
    );
  for (let round = 0; round < 300; round += 1) {
    await note(workspace.write("d/x", Buffer.from("inside")));
    await note(workspace.read("d/a.txt"));
    await note(workspace.remove("d/a.txt"));
    if (round % 50 === 0) await note(workspaces.rollback(PID, null));
  }
  child.kill("SIGKILL");
  await ended;
  expect(fs.readdirSync(join(folder, "src"))).toEqual(["a.txt"]);
  expect(fs.readFileSync(join(folder, "src/a.txt"), "utf8")).toBe("a\n");
  expect(seen).not.toContain("a\n");
  expect([...seen].filter((one) => !["done", "not_found", "invalid_argument", "conflict"].includes(one))).toEqual([]);
  await workspace.close();
});

test("a file that is written over keeps its permissions, and is whole or what it was", async () => {
  const workspace = await workspacesOf(project()).open(PID, { from: "src", diskBytes: 2 * MB });
  fs.chmodSync(join(workspace.folder, "a.txt"), 0o4750);
  await workspace.write("a.txt", Buffer.from("new"));
  expect(fs.statSync(join(workspace.folder, "a.txt")).mode & 0o7777).toBe(0o750);
  await expect(workspace.write("a.txt", Buffer.alloc(3 * MB))).rejects.toEqual(refused("limit_exceeded"));
  expect(textOf(await workspace.read("a.txt"))).toBe("new");
  expect((await workspace.list(".")).map(({ path }) => path)).toEqual(["a.txt"]);
  await workspace.close();
});

test("nothing is put back under whoever has it open, but by himself", async () => {
  const workspaces = workspacesOf(project());
  const workspace = await workspaces.open(PID, { diskBytes: MB });
  await workspace.snapshot(0);
  await workspace.write("x", Buffer.from("x"));
  await expect(workspaces.rollback(PID, 0)).rejects.toEqual(refused("conflict"));
  expect(await workspace.putBack(0)).toBe(true);
  expect(await workspace.list(".")).toEqual([]);
  await workspace.close();
  await workspaces.rollback(PID, 0);
});

test("after closing nothing more is done", async () => {
  const workspaces = workspacesOf(project());
  await workspaces.close();
  await expect(workspaces.open(PID, { diskBytes: MB })).rejects.toEqual(refused("cancelled"));
});

/** Opens two workspaces, says so, and stays. */
const HOLDER = `
const [driver, folder] = process.argv.slice(1);
const { createWorkspaces } = await import(driver + "/workspaces.ts");
const workspaces = createWorkspaces({ folder, projectFolder: folder, uids: { from: 200000, to: 265535 } });
for (const pid of ["p_000000000001", "p_000000000002"]) {
  const workspace = await workspaces.open(pid, { diskBytes: 4194304 });
  await workspace.write("kept.txt", Buffer.from(pid));
}
process.stdout.write("open\\n");
setInterval(() => {}, 1000);
`;

const mountsBelow = (folder: string): string[] =>
  fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(` ${folder}/`));
const loopsBelow = (folder: string): string =>
  execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.startsWith(folder))
    .join("\n");

const stateOf = (image: string): string | undefined =>
  /Filesystem state:\s+(\S.*)/.exec(
    execFileSync("dumpe2fs", ["-h", image], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  )?.[1];

async function until(what: string, look: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (look()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not seen in time: ${what}`);
}

needs("the right to mount disks in files", lackOfQuota() === undefined)("a disk for each workspace", () => {
  test("the system bounds what it holds, and how many files; it belongs to one user alone", async () => {
    const workspace = await workspacesOf(project()).open(PID, { from: "src", diskBytes: 8 * MB });
    const { uid, folder, quota } = workspace;
    expect(quota).toBe("kernel");
    expect(uid).toBeGreaterThanOrEqual(249_152);
    expect(uid).toBeLessThanOrEqual(uids.to);
    expect(fs.statSync(join(folder, "a.txt"))).toMatchObject({ uid, gid: uid });
    const as = { uid: uid ?? 0, gid: uid ?? 0, cwd: folder };
    // Many small files pass any bound on one file: together they do not pass the disk's.
    const fill = "i=0; while head -c 100000 /dev/zero > f$i; do i=$((i+1)); done 2>&1";
    expect(execFileSync("sh", ["-c", fill], { ...as, encoding: "utf8" })).toContain("No space left");
    expect(Number(execFileSync("du", ["-sb", folder], { encoding: "utf8" }).split("\t")[0])).toBeLessThan(8 * MB);
    await expect(workspace.write("more", Buffer.alloc(MB))).rejects.toEqual(refused("limit_exceeded"));
    execFileSync("sh", ["-c", "rm f*"], as);
    const many = "i=0; while true > g$i; do i=$((i+1)); done 2>/dev/null; echo $i";
    expect(Number(execFileSync("sh", ["-c", many], { ...as, encoding: "utf8" }))).toBeLessThan((8 * MB) / 4096);
    await workspace.close();
  });

  test("no device and no set-uid program works in it", () => {
    const folder = project();
    return workspacesOf(folder)
      .open(PID, { diskBytes: 4 * MB })
      .then(async (workspace) => {
        const [line = ""] = mountsBelow(folder);
        expect(line).toMatch(/nosuid,nodev/);
        await workspace.close();
      });
  });

  test("one that is full is put back exactly", async () => {
    const workspaces = workspacesOf(project());
    const workspace = await workspaces.open(PID, { diskBytes: 8 * MB });
    await workspace.write("big", Buffer.alloc(5 * MB, 1));
    await workspace.snapshot(0);
    await workspace.write("big", Buffer.alloc(MB, 2));
    execFileSync("sh", ["-c", "cat /dev/zero > fill 2>/dev/null; :"], { cwd: workspace.folder });
    expect(await workspace.putBack(0)).toBe(true);
    expect(Buffer.from(await workspace.read("big")).equals(Buffer.alloc(5 * MB, 1))).toBe(true);
    expect((await workspace.list(".")).length).toBe(1);
    await workspace.close();
  });

  test("one that nobody uses is put away, and comes back with what it held", async () => {
    const folder = project();
    const workspaces = workspacesOf(folder, 1);
    const one = await workspaces.open(PID, { diskBytes: 4 * MB });
    const two = await workspaces.open(PID, { diskBytes: 4 * MB });
    await one.write("kept", Buffer.from("x"));
    expect(await one.list(".")).toHaveLength(1);
    // The name of what making a disk leaves there; here it is the process's own.
    await one.write("lost+found/mine", Buffer.from("found"));
    await one.close();
    await one.close();
    expect(mountsBelow(folder)).toHaveLength(1);
    await two.close();
    await until("unmounted", () => mountsBelow(folder).length === 0);
    const again = await workspaces.open(PID, { diskBytes: 4 * MB });
    expect(textOf(await again.read("kept"))).toBe("x");
    expect(textOf(await again.read("lost+found/mine"))).toBe("found");
    await again.close();
  });

  describe("nothing stays mounted", () => {
    test("after closing", async () => {
      const folder = project();
      const workspaces = workspacesOf(folder);
      await workspaces.open(PID, { diskBytes: 4 * MB });
      await workspaces.open(OTHER, { diskBytes: 4 * MB });
      expect(mountsBelow(folder)).toHaveLength(2);
      await workspaces.close();
      expect(mountsBelow(folder)).toEqual([]);
      await until("loop devices", () => loopsBelow(folder) === "");
    });

    const killed = async (folder: string): Promise<void> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", HOLDER, import.meta.dirname, folder], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await new Promise((resolve) => child.stdout.once("data", resolve));
      expect(mountsBelow(folder)).toHaveLength(2);
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("exit", resolve));
    };

    test("after Reeve's sudden death, and what was written is there", async () => {
      const folder = temporaryFolder();
      await killed(folder);
      await until("unmounted", () => mountsBelow(folder).length === 0 && loopsBelow(folder) === "");
      const workspaces = createWorkspaces({ folder, projectFolder: folder, uids });
      open.push(workspaces);
      const workspace = await workspaces.open(OTHER, { diskBytes: 4 * MB });
      expect(textOf(await workspace.read("kept.txt"))).toBe(OTHER);
      await workspace.close();
    });

    test("of an earlier Reeve whose watchdog died as well, once another begins; a disk that was not put away is checked", async () => {
      const folder = temporaryFolder();
      await killed(folder);
      await until("unmounted", () => mountsBelow(folder).length === 0);
      // As if nobody had unmounted one, and the machine had gone down with the other.
      const [one, two] = [PID, OTHER].map((pid) => join(folder, pid));
      execFileSync("mount", ["-o", "loop", `${one}/disk.img`, `${one}/ws`]);
      for (const pid of [PID, OTHER]) fs.writeFileSync(join(folder, ".mounted", pid), "1\n");
      execFileSync("debugfs", ["-w", "-R", "set_super_value state 0", `${two}/disk.img`], { stdio: "ignore" });
      expect(stateOf(`${two}/disk.img`)).toBe("not clean");
      const workspaces = createWorkspaces({ folder, projectFolder: folder, uids });
      open.push(workspaces);
      await until("unmounted", () => mountsBelow(folder).length === 0);
      for (const pid of [OTHER, PID]) {
        const workspace = await workspaces.open(pid, { diskBytes: 4 * MB });
        expect(textOf(await workspace.read("kept.txt"))).toBe(pid);
        await workspace.close();
      }
      await workspaces.close();
      await until("loop devices", () => loopsBelow(folder) === "");
      expect(stateOf(`${two}/disk.img`)).toBe("clean");
    });
  });
});
