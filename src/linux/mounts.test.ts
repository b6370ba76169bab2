// Goal: no folder below which a program of the machine listens is shown in a sandbox, however that program names its socket.
// Method: programs that bind real sockets, by a whole path, by way of a link, and from within the folder.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { needs } from "../../test/needs.ts";
import { checkSockets } from "./mounts.ts";

needs("Linux", process.platform === "linux")("sockets of the machine", () => {
  // New ones each time: what was looked at is not looked at again at once.
  let folder: string;
  let given: string;
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "reeve-mounts-")));
    given = join(folder, "given");
    mkdirSync(join(given, "deep"), { recursive: true });
    symlinkSync(given, join(folder, "alias"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const listening: ChildProcess[] = [];
  /** Resolves when a program listens on `path`, which stands in `cwd`. */
  async function listen(path: string, cwd: string): Promise<void> {
    const script = "require('net').createServer().listen(process.argv[1], () => console.log('up'))";
    const child = spawn(process.execPath, ["-e", script, path], { cwd, stdio: ["ignore", "pipe", "inherit"] });
    listening.push(child);
    await new Promise((resolve) => child.stdout.once("data", resolve));
  }
  afterEach(async () => {
    for (const child of listening.splice(0)) {
      const over = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await over;
    }
  });
  const check = (from: string): Promise<void> => checkSockets([{ from, to: "/given", access: "read" }]);

  test.each([
    ["by its whole path", () => [join(given, "deep/a.sock"), "/"]],
    ["by way of a link", () => [join(folder, "alias/deep/b.sock"), "/"]],
    ["from the folder that it is in", () => ["c.sock", join(given, "deep")]],
    ["from a folder above", () => ["deep/d.sock", given]],
  ] satisfies [string, () => [string, string]][])("are found that were bound %s", async (_, place) => {
    await listen(...place());
    await expect(check(given)).rejects.toThrow(`listens on ${join(given, "deep")}`);
  });

  test("that were bound by way of a descriptor are not looked for where that number leads now", async () => {
    const place = openSync(given, "r");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(`/proc/self/fd/${place}/f.sock`, resolve));
    closeSync(place);
    const beside = join(folder, "reused");
    mkdirSync(beside);
    const opened = [openSync(beside, "r")];
    while (!opened.includes(place) && opened.length < 100) opened.push(openSync(beside, "r"));
    expect(opened).toContain(place);
    await check(beside);
    opened.forEach(closeSync);
    await new Promise((resolve) => server.close(resolve));
  });

  test("do not forbid a file of the same name, nor a folder beside", async () => {
    const beside = join(folder, "beside");
    mkdirSync(beside);
    writeFileSync(join(beside, "e.sock"), "");
    await listen("e.sock", given);
    await check(beside);
    await expect(check(given)).rejects.toMatchObject({ code: "invalid_argument" });
  });
});
