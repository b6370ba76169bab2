// Goal: the job begins only by word, and gets its own streams and nothing else. Method: the first program of a container is run here
// as it would be there, with pipes at the descriptors that a runtime hands on.
import { spawn, type ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { DESCRIPTORS, insideScript, type InsideOptions } from "./inside.ts";

type Started = { readonly child: ChildProcess; readonly stream: (name: keyof typeof DESCRIPTORS) => Socket };

function start(command: readonly string[], part: Partial<InsideOptions> = {}): Started {
  const env = { PATH: process.env.PATH ?? "" };
  const [program, ...args] = insideScript(command, { cwd: "/", env, channel: false, ...part });
  const child = spawn(program, args, {
    env,
    stdio: ["ignore", "ignore", "ignore", part.channel === true ? "pipe" : "ignore", "pipe", "pipe", "pipe", "pipe"],
  });
  return { child, stream: (name) => (child.stdio as readonly unknown[])[DESCRIPTORS[name]] as Socket };
}

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once("exit", (code) => resolve(code)));
const told = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("data", () => resolve()));

async function run(command: readonly string[], part: Partial<InsideOptions> = {}) {
  const { child, stream } = start(command, part);
  // Not every job reads what it is given.
  stream("stdin").on("error", () => {});
  const said = Promise.all([ended(child), text(stream("stdout")), text(stream("stderr"))]);
  await told(stream("gate"));
  stream("gate").write("\n");
  stream("stdin").end("given");
  const [code, stdout, stderr] = await said;
  return { code, stdout, stderr };
}

test("without the word there is no job", async () => {
  const { child, stream } = start(["/bin/sh", "-c", "echo ran"]);
  const said = Promise.all([ended(child), text(stream("stdout"))]);
  await told(stream("gate"));
  stream("gate").end();
  expect(await said).toEqual([125, ""]);
});

test("the job has its own streams, and its status is the end's", async () => {
  const { code, stdout, stderr } = await run(["/bin/sh", "-c", "cat; echo wrong >&2; exit 7"]);
  expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: "given", stderr: "wrong\n" });
});

test("nothing else is open in the job, and a channel only where there is one", async () => {
  const list = ["/bin/sh", "-c", "for f in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$f ] && echo $f; done; :"];
  expect((await run(list)).stdout.split("\n").filter(Boolean)).toEqual(["0", "1", "2"]);
  expect((await run(list, { channel: true })).stdout.split("\n").filter(Boolean)).toEqual(["0", "1", "2", "3"]);
});

test("the environment is what was named", async () => {
  const { stdout } = await run(["/usr/bin/env"], { env: { PATH: "/usr/bin", "with.dot": "x y" } });
  expect(stdout.split("\n").filter(Boolean).toSorted()).toEqual([`PATH=${process.env.PATH ?? ""}`, "with.dot=x y"]);
});

test("what cannot be found is said on the job's own stream", async () => {
  const { code, stderr } = await run(["no-such-program"]);
  expect(code).toBe(127);
  expect(stderr).toContain("no-such-program");
  expect((await run(["true"], { cwd: "/no/such/folder" })).code).toBe(1);
});

test("a signal of the job's own making is told as a shell tells it, without a word", async () => {
  expect(await run(["/bin/sh", "-c", "kill -SEGV $$"])).toEqual({ code: 139, stdout: "", stderr: "" });
});
