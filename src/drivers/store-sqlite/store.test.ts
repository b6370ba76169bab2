// The data folder: who may open it, what is refused and how that is said, and what a failing medium does to what was acknowledged.
//
// Method: real folders, real processes, real mounts where the machine allows them; after each refusal the bytes on disk are compared.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { addressOf, appendOf, eventsOf, pidOf, subject } from "../../../test/conformance/store-samples.ts";
import { needs } from "../../../test/needs.ts";
import { OsError } from "../../abi/errors.ts";
import type { Store } from "../../ports/store.ts";
import { SCHEMA_VERSION } from "./migrations.ts";
import { openSqliteStore } from "./store.ts";

let base = "";
let folder = "";
const database = (): string => join(folder, "journal.db");
const open = (): Promise<Store> => openSqliteStore({ folder });

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "reeve-folder-"));
  folder = join(base, "data");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** A closed store with one journal of so many events. */
async function filled(events: number): Promise<void> {
  const store = await open();
  await store.append({ journals: [appendOf(pidOf(1), 0, events)] });
  await store.close();
}

describe("the folder", () => {
  it("is made, with what is above it, for its owner alone", async () => {
    folder = join(base, "deep", "data");
    const store = await open();
    const modes = (): readonly string[] =>
      readdirSync(folder)
        .toSorted()
        .map((file) => `${file} ${(statSync(join(folder, file)).mode & 0o777).toString(8)}`);
    expect((statSync(folder).mode & 0o777).toString(8)).toBe("700");
    expect(modes()).toEqual([
      "journal.db 600",
      "journal.db-shm 600",
      "journal.db-wal 600",
      "owner.lock 600",
      "owner.pid 600",
    ]);
    await store.append({ journals: [appendOf(pidOf(1), 0)] });
    await store.close();
    expect(readdirSync(folder).toSorted(), "a clean end leaves no log").toEqual(["journal.db", "owner.lock"]);
  });

  it("commits durably at every open", async () => {
    for (let round = 0; round < 2; round += 1) {
      const store = await open();
      expect(await store.report()).toMatchObject({
        driver: "sqlite",
        location: folder,
        schemaVersion: SCHEMA_VERSION,
        durability: "journal_mode=wal synchronous=2",
        durable: true,
      });
      await store.close();
    }
  });

  it("keeps the log short however much is written", async () => {
    const store = await open();
    const text = JSON.stringify("x".repeat(1_000_000));
    let longest = 0;
    for (let n = 0; n < 32; n += 1) {
      await store.append({ journals: [appendOf(pidOf(1), n)], payloads: [{ address: addressOf(n), subject, text }] });
      longest = Math.max(longest, statSync(`${database()}-wal`).size);
    }
    await store.close();
    expect(longest).toBeLessThan(10_000_000);
  });
});

describe("one owner", () => {
  it("is named to a second process, and its death frees the folder", async () => {
    const program = `import { openSqliteStore } from ${JSON.stringify(new URL("store.ts", import.meta.url).href)};
      await openSqliteStore({ folder: ${JSON.stringify(folder)} });
      process.stdout.write("open");
      process.stdin.resume();`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    const refusal = await open().catch((error: unknown) => error);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(refusal).toMatchObject({ code: "store_busy", data: { folder, owner: child.pid } });
    expect(String(refusal)).toContain(folder);
    expect(String(refusal)).toContain(`another process (pid ${child.pid}) has it open`);
    expect(String(refusal)).toContain(`kill ${child.pid}`);
    const store = await open();
    await store.append({ journals: [appendOf(pidOf(1), 0)] });
    await store.close();
  });

  it("is named to a second part of the same process", async () => {
    const store = await open();
    await expect(open()).rejects.toMatchObject({
      code: "store_busy",
      message: expect.stringContaining("this process"),
      data: { folder, owner: process.pid },
    });
    await store.close();
  });
});

describe("an owner that is not here", () => {
  it("is said to be somewhere else, or to have left no note", async () => {
    const store = await open();
    writeFileSync(join(folder, "owner.pid"), "99999999\n");
    await expect(open()).rejects.toThrow(
      /pid 99999999, which is none of this machine's.*Look where else the folder is mounted/s,
    );
    rmSync(join(folder, "owner.pid"));
    await expect(open()).rejects.toThrow(/another process, which left no note of its pid, has it open/);
    await store.close();
  });
});

describe("a database that cannot be used", () => {
  /** The reason and the message with which the folder is refused; its database has to stay as it was. */
  const refusal = async (): Promise<string> => {
    const bytes = (): Buffer => (existsSync(database()) ? readFileSync(database()) : Buffer.of());
    const before = bytes();
    const error: unknown = await open().catch((refused: unknown) => refused);
    expect(error).toMatchObject({ code: "store_failed", data: { folder }, message: expect.stringContaining(folder) });
    expect(bytes().equals(before), "the file was not touched").toBe(true);
    return OsError.is(error) ? `${JSON.stringify(error.data["reason"])}: ${error.message}` : "no refusal";
  };

  it("is of a newer version", async () => {
    await filled(3);
    const db = new DatabaseSync(database());
    db.exec("PRAGMA user_version = 99");
    db.close();
    expect(await refusal()).toMatch(new RegExp(`^"version": .* 99, .* up to ${SCHEMA_VERSION}\\..* later`));
  });

  it("is another program's", async () => {
    mkdirSync(folder);
    const db = new DatabaseSync(database());
    db.exec("CREATE TABLE customers (name TEXT)");
    db.close();
    expect(await refusal()).toMatch(/^"version": .*another program/);
  });

  it("is no database", async () => {
    mkdirSync(folder);
    writeFileSync(database(), "These are the times that try men's souls. ".repeat(200));
    expect(await refusal()).toMatch(/^"corrupt": .*backup/);
  });

  it("stands where no folder can be made", async () => {
    writeFileSync(join(base, "file"), "");
    folder = join(base, "file", "data");
    expect(await refusal()).toMatch(/^"io": .*ENOTDIR/);
  });

  it("is damaged inside: said at the first touch, and nothing is repaired behind anybody's back", async () => {
    await filled(2_000);
    const bytes = readFileSync(database());
    bytes.fill(0xab, 8_192, bytes.length);
    writeFileSync(database(), bytes);
    const store = await open();
    const damaged = { code: "store_failed", data: { reason: "corrupt", folder } };
    await expect(store.events(pidOf(1), 0, 2_000)).rejects.toMatchObject(damaged);
    await expect(store.append({ journals: [appendOf(pidOf(1), 2_000)] })).rejects.toMatchObject(damaged);
    expect((await store.check()).length).toBeGreaterThan(0);
    await store.close();
    expect(readFileSync(database()).equals(bytes)).toBe(true);
  });
});

const isRoot = process.getuid?.() === 0;
const run = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
function mountsWork(): boolean {
  const at = mkdtempSync(join(tmpdir(), "reeve-mount-"));
  const works = isRoot && run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", at) && run("umount", at);
  rmSync(at, { recursive: true });
  return works;
}
const canMount = mountsWork();

needs("the right to mount, or a user for whom file modes hold", canMount || !isRoot)(
  "a folder that is read-only",
  () => {
    it("is refused, and works once it may be written to", async () => {
      await filled(3);
      if (isRoot) run("mount", "--bind", folder, folder);
      const allow = (writable: boolean): unknown =>
        isRoot
          ? run("mount", "-o", `remount,bind,${writable ? "rw" : "ro"}`, folder)
          : chmodSync(folder, writable ? 0o700 : 0o500);
      try {
        allow(false);
        await expect(open()).rejects.toMatchObject({
          code: "store_failed",
          message: expect.stringContaining(folder),
          data: { reason: "read_only", folder },
        });
        allow(true);
        const store = await open();
        expect(await store.events(pidOf(1), 0, 9)).toHaveLength(3);
        await store.close();
      } finally {
        allow(true);
        if (isRoot) run("umount", "-l", folder);
      }
    });
  },
);

needs("the right to mount a small disk", canMount)("a disk that fills up", () => {
  beforeEach(() => {
    mkdirSync(folder);
    run("mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", folder);
  });
  afterEach(() => {
    run("umount", "-l", folder);
  });

  it("rejects with `full`, keeps what was acknowledged, and goes on when there is room", async () => {
    const ballast = join(folder, "ballast");
    writeFileSync(ballast, Buffer.alloc(1_500_000));
    const store = await open();
    let acknowledged = 0;
    const appendOne = async (): Promise<void> => {
      await store.append({
        journals: [appendOf(pidOf(1), acknowledged)],
        payloads: [{ address: addressOf(acknowledged), subject, text: JSON.stringify("x".repeat(50_000)) }],
      });
      acknowledged += 1;
    };
    const filling = async (): Promise<void> => {
      for (let n = 0; n < 100; n += 1) await appendOne();
    };
    await expect(filling()).rejects.toMatchObject({
      code: "store_failed",
      retryable: true,
      data: { reason: "full", folder },
    });
    await expect(appendOne()).rejects.toMatchObject({ data: { reason: "full" } });
    expect(acknowledged).toBeGreaterThan(3);
    expect(await store.events(pidOf(1), 0, 999)).toEqual(eventsOf(pidOf(1), 0, acknowledged));
    rmSync(ballast);
    await appendOne();
    expect(await store.events(pidOf(1), 0, 999)).toEqual(eventsOf(pidOf(1), 0, acknowledged));
    await store.close();
    const again = await open();
    expect(await again.events(pidOf(1), 0, 999)).toEqual(eventsOf(pidOf(1), 0, acknowledged));
    expect(await again.check()).toEqual([]);
    await again.close();
  });

  it("is refused at the open if there is no room for a database, and left alone", async () => {
    const ballast = join(folder, "ballast");
    spawnSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=4096"]);
    await expect(open()).rejects.toMatchObject({ code: "store_failed", data: { reason: "full", folder } });
    rmSync(ballast);
    const store = await open();
    await store.append({ journals: [appendOf(pidOf(1), 0)] });
    await store.close();
  });
});
