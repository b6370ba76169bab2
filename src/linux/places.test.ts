// Goal: whom a sandbox runs as, and what of the machine is given to that user. Method: real files, which root alone can give away.
import { lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { sandboxLimitsSchema } from "../abi/isolation.ts";
import { needs } from "../../test/needs.ts";
import type { SandboxSpec } from "../ports/sandbox.ts";
import { openPlaces, type Users } from "./places.ts";
import { Uids } from "./uids.ts";

needs("root", process.getuid?.() === 0)("the user of a sandbox", () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "reeve-places-")));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const usersOf = (from: number): Users => ({
    uids: new Uids({ from: from + 100, to: from + 199 }, 0),
    lasting: { file: join(folder, "users.json"), range: { from, to: from + 9 } },
  });
  const specOf = (part: Partial<SandboxSpec>): SandboxSpec => ({
    ...{ owner: "test", level: "process", command: ["true"], env: {}, mounts: [] },
    limits: sandboxLimitsSchema.parse({}),
    ...part,
  });
  async function userOf(part: Partial<SandboxSpec>, users: Users | undefined): Promise<number | undefined> {
    const places = await openPlaces(specOf(part), users);
    places.close();
    places.giveBack();
    return places.uid;
  }

  test("is the same for a name each time, and after that another one's only where there is no name", async () => {
    const users = usersOf(350_000);
    const id = await userOf({ lastingUser: "tools.a" }, users);
    expect(await userOf({ lastingUser: "tools.a" }, users)).toBe(id);
    expect(await userOf({ lastingUser: "tools.b" }, users)).not.toBe(id);
    expect(await userOf({}, users)).not.toBe(await userOf({}, users));
    expect(await userOf({ lastingUser: "tools.a" }, undefined)).toBeUndefined();
    await expect(userOf({ lastingUser: "tools.a" }, { ...users, lasting: undefined })).rejects.toMatchObject({
      code: "invalid_argument",
    });
  });

  test("has all of its workspace, and still when its range was changed", async () => {
    const at = join(folder, "ws");
    mkdirSync(join(at, "deep"), { recursive: true });
    writeFileSync(join(at, "deep/file"), "");
    symlinkSync("/etc/passwd", join(at, "link"));
    const ownersOf = (): number[] => ["", "deep", "deep/file", "link"].map((path) => lstatSync(join(at, path)).uid);
    const part = { lastingUser: "tools.ws", workspace: { folder: at, uid: 7, quota: "none" } } as const;
    for (const from of [351_000, 352_000]) {
      const id = await userOf(part, usersOf(from));
      expect(id).toBeGreaterThanOrEqual(from);
      expect(ownersOf()).toEqual([id, id, id, id]);
    }
    expect(lstatSync("/etc/passwd").uid).toBe(0);
  });
});
