// Goal: pipes with names behave as descriptors do that are handed on. Method: programs without a container use them.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { needs } from "../../../../test/needs.ts";
import { placeOf } from "../runtimes/programs.ts";
import { makePipes, pipesFolder } from "./pipes.ts";

const held = {} as { folder: string };
beforeAll(() => void (held.folder = mkdtempSync(join(tmpdir(), "reeve-pipes-"))));
afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

needs("Linux, mkfifo and root", placeOf("mkfifo") !== undefined && process.geteuid?.() === 0)("pipes", () => {
  const open = async (channel: boolean) => {
    // Longer than the path of a socket may be.
    const folder = join(held.folder, `container-${"x".repeat(120)}-${channel}`);
    mkdirSync(folder);
    return { folder: pipesFolder(folder), pipes: await makePipes(folder, 7_001, channel) };
  };

  it("carry what is said both ways, end where the last one ends, and have no names left by then", async () => {
    const { folder, pipes } = await open(false);
    for (const name of readdirSync(folder)) {
      const { mode, uid } = statSync(join(folder, name));
      expect([name, mode & 0o777, uid]).toEqual([name, 0o600, 7_001]);
    }
    const script = `exec 4<stdin 5>stdout 6>stderr 7<word 8>ready; echo >&8; read -r word <&7; echo "$word" >&6; cat <&4 >&5`;
    const child = spawn("/bin/sh", ["-c", script], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await new Promise((resolve) => pipes.ready.once("data", resolve));
    pipes.letGo();
    expect(readdirSync(folder)).toEqual([]);
    pipes.word.end("begin\n");
    pipes.stdin.end("given");
    expect(await Promise.all([text(pipes.stdout), text(pipes.stderr)])).toEqual(["given", "begin\n"]);
    await ended;
    pipes.close();
  });

  it("have a channel that somebody inside connects to, once", async () => {
    const { folder, pipes } = await open(true);
    const script = `const s = require("net").connect("channel"); s.on("data", (d) => s.end("got " + d));`;
    const child = spawn(process.execPath, ["-e", script], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const { channel } = pipes;
    if (channel === undefined) throw new Error("a channel was asked for");
    channel.write("word");
    expect(await text(channel)).toBe("got word");
    await ended;
    pipes.close();
  });
});
