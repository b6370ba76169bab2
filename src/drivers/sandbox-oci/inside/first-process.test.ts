// Goal: the job begins only by word, and gets its own streams and nothing else. Method: the first program of a container is run here
// as it would be there, with pipes at the descriptors that a runtime hands on.
import { spawn, type ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { DESCRIPTORS, insideScript, wordOf, type InsideOptions } from "./first-process.ts";

type Started = { readonly child: ChildProcess; readonly stream: (name: keyof typeof DESCRIPTORS) => Socket };

const PATH = process.env.PATH ?? "";

function start(command: readonly string[], part: Partial<InsideOptions> = {}): Started {
  const [program, ...args] = insideScript(command, { cwd: "/", carrier: "descriptors", channel: false, ...part });
  const child = spawn(program, args, {
    // As engines set it of themselves.
    env: { HOSTNAME: "host", HOME: "/root", TERM: "xterm", container: "podman" },
    stdio: ["ignore", "ignore", "ignore", part.channel === true ? "pipe" : "ignore", "pipe", "pipe", "pipe", "pipe"],
  });
  return { child, stream: (name) => (child.stdio as readonly unknown[])[DESCRIPTORS[name]] as Socket };
}

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once("exit", (code) => resolve(code)));
const told = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("data", () => resolve()));

type Part = Partial<InsideOptions> & { readonly env?: Readonly<Record<string, string>> };

async function run(command: readonly string[], { env = {}, ...part }: Part = {}) {
  const { child, stream } = start(command, part);
  // Not every job reads what it is given.
  stream("stdin").on("error", () => {});
  const said = Promise.all([ended(child), text(stream("stdout")), text(stream("stderr"))]);
  await told(stream("gate"));
  stream("gate").end(wordOf({ PATH, ...env }));
  stream("stdin").end("given");
  const status = text(stream("gate"));
  const [code, stdout, stderr] = await said;
  expect(await status).toBe(`${code}\n`);
  return { code, stdout, stderr };
}

test("without the word there is no job", async () => {
  for (const part of ["", ".export A=1\n", wordOf({}).trimEnd().slice(0, -1)]) {
    const { child, stream } = start(["/bin/sh", "-c", "echo ran"]);
    const said = Promise.all([ended(child), text(stream("stdout"))]);
    await told(stream("gate"));
    stream("gate").end(part);
    expect(await said).toEqual([125, ""]);
  }
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

test("what a runtime copies for the first process is not to be found in it", async () => {
  const names = ["/bin/sh", "-c", "for f in 0 1 2; do readlink /proc/$PPID/fd/$f; done"];
  expect((await run(names)).stdout).toBe("/dev/null\n".repeat(3));
});

test("the environment is what was named, whatever stands in it, and nothing of what a runtime sets", async () => {
  const env = {
    ...{ PATH, PLAIN: "a b", QUOTED: `it's "so" $(echo no) \\`, LINES: "one\nbegin\n.two\n", EMPTY: "", HOME: "/tmp" },
    ...{ "with.dot": "x 'y'", PWD: "/named", word: "w", said: "s", IFS: "i" },
  };
  const { stdout } = await run(["/usr/bin/env", "-0"], { env });
  const found = stdout.split("\0").filter(Boolean);
  expect(found.toSorted()).toEqual(
    Object.entries(env)
      .map(([name, value]) => `${name}=${value}`)
      .toSorted(),
  );
});

test("no command line of the first process tells the environment", () => {
  const args = insideScript(["true"], { cwd: "/", carrier: "pipes", channel: false });
  expect(args.slice(3)).toEqual(["sandbox", "/", "true"]);
  expect(wordOf({ SECRET: "s", "a.b": "t" })).toBe(`.export SECRET='s'\n.set -- /usr/bin/env 'a.b=t' "$@"\nbegin\n`);
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
