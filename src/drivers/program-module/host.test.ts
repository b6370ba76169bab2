// The module host with real children. `fixtures/behaviours.ts` is the agent; the test plays the kernel.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { afterAll, afterEach, expect, test } from "vitest";
import { agentManifestSchema } from "../../abi/agents.ts";
import { OsError } from "../../abi/errors.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { Issue, ProgramStart } from "../../ports/program.ts";
import { createGenerator } from "./generator.ts";
import { createModuleHost } from "./host.ts";
import type { ModuleHost, ModuleHostOptions } from "./host.ts";

const FIXTURES = join(import.meta.dirname, "fixtures");
const scratch = mkdtempSync(join(tmpdir(), "reeve-module-"));
const hosts: ModuleHost[] = [];
/** For tests that need nothing of their own: it boots the next child while one is at work. */
const shared = createModuleHost({ projectFolder: FIXTURES, maxProcesses: 2 });
afterEach(async () => void (await Promise.all(hosts.splice(0).map((host) => host.close()))));
afterAll(async () => {
  await shared.close();
  rmSync(scratch, { recursive: true });
});

function hostWith(options: Partial<ModuleHostOptions> = {}): ModuleHost {
  const host = createModuleHost({ projectFolder: FIXTURES, maxProcesses: 1, ...options });
  hosts.push(host);
  return host;
}

const startOf = (task: Json, options: Partial<ProgramStart> & { file?: string } = {}): ProgramStart => ({
  pid: "p_000000000000" as ProcessId,
  createdMs: 1_000_000_000_000,
  agent: {
    manifest: agentManifestSchema.parse({ name: "behaviours", description: "…" }),
    program: { kind: "module", file: options.file ?? "behaviours.ts" },
    hash: "",
  },
  task,
  issue: async () => ({ ms: 1 }),
  ...options,
});

/** A kernel that answers when the test says so. */
function byHand() {
  const calls: {
    number: number;
    syscall: string;
    args: Json;
    answer: (value: Json) => void;
    fail: (error: OsError) => void;
  }[] = [];
  let arrived = Promise.withResolvers<void>();
  const issue: Issue = (number, syscall, args) =>
    new Promise((answer, fail) => {
      calls.push({ number, syscall, args, answer, fail });
      arrived.resolve();
    });
  const count = async (wanted: number): Promise<void> => {
    while (calls.length < wanted) {
      arrived = Promise.withResolvers<void>();
      await arrived.promise;
    }
  };
  return { calls, issue, count };
}

/** The state of a process as Linux tells it; undefined when it is gone. A zombie has ended and waits to be collected. */
function stateOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "")[0];
  } catch {
    return undefined;
  }
}

async function untilDead(pid: number): Promise<void> {
  while (![undefined, "Z", "X"].includes(stateOf(pid))) await new Promise((resolve) => setTimeout(resolve, 5));
}

const run = (task: Json, options: Partial<ProgramStart> & { file?: string } = {}): Promise<Json> =>
  shared.start(startOf(task, options)).result;

test("a result, and a task with every kind of text", async () => {
  const task = { do: "echo", text: "line\nbreak, \u2028, ä, 😀, \u0000", big: "x".repeat(300_000) };
  expect(await run(task)).toEqual(task);
});

test("calls arrive in order with their arguments, and their outcomes go back", async () => {
  const seen: Json[] = [];
  const issue: Issue = async (number, syscall, args) => (seen.push([number, syscall, args]), { ms: 10 });
  expect(await run({ do: "calls", count: 3 }, { issue })).toBe(30);
  expect(seen).toEqual([
    [0, "clock.sleep", { ms: 0 }],
    [1, "clock.sleep", { ms: 1 }],
    [2, "clock.sleep", { ms: 2 }],
  ]);
});

test("parallel calls: the order of the outcomes decides, each in a turn of its own even if they come together", async () => {
  const kernel = byHand();
  const result = run({ do: "parallel" }, { issue: kernel.issue });
  await kernel.count(3);
  expect(kernel.calls.map(({ number, args }) => [number, (args as JsonObject)["tool"]])).toEqual([
    [0, "s.a"],
    [1, "s.b"],
    [2, "s.c"],
  ]);
  for (const at of [2, 0, 1]) kernel.calls[at]?.answer({ text: String(at) });
  expect(await result).toEqual(["s.c 2", "after s.c", "s.a 0", "after s.a", "s.b 1", "after s.b"]);
});

test("an error of a call reaches the program, and what it does not catch is the run's error", async () => {
  const issue: Issue = async () => Promise.reject(new OsError("denied", "a rule said no", { data: { rule: "r" } }));
  await expect(run({ do: "denied" }, { issue })).rejects.toMatchObject({
    code: "denied",
    message: "a rule said no",
    data: { rule: "r" },
  });
});

test("a program that throws: program_failed with agent, words and place", async () => {
  await expect(run({ do: "throw" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringMatching(/behaviours threw TypeError: a slip of the pen \(behaviours\.ts:\d+:\d+\)/),
  });
});

test("a program that dies: program_failed with exit status or signal and its last words", async () => {
  await expect(run({ do: "exit" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringMatching(/exit status 3.*I am off/s),
  });
  await expect(run({ do: "reject" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringMatching(/exit status 1.*nobody listens/s),
  });
});

test("memory is bounded, and that is what the error says", async () => {
  await expect(hostWith({ memoryMb: 32 }).start(startOf({ do: "memory" })).result).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringContaining("more than the 32 MB of memory"),
  });
});

test("dispose ends an endless loop at once, and nothing settles afterwards", async () => {
  const kernel = byHand();
  const host = hostWith({ maxProcesses: 1 });
  const endless = host.start(startOf({ do: "loop" }, { issue: kernel.issue }));
  const settled: string[] = [];
  void endless.result.finally(() => settled.push("result"));
  await kernel.count(1);
  kernel.calls[0]?.answer({ ms: 1 });
  endless.dispose();
  endless.dispose();
  // The next one gets the only place, so the first child is gone.
  expect(await host.start(startOf({ do: "nothing" })).result).toBeNull();
  expect(settled).toEqual([]);
});

test("no more children than allowed; the others wait in order, and may be disposed of meanwhile", async () => {
  const kernel = byHand();
  const host = hostWith({ maxProcesses: 1 });
  const pid = (at: number) => `p_00000000000${at}` as ProcessId;
  const runs = [1, 2, 3].map((at) => host.start(startOf({ do: "wait", at }, { pid: pid(at), issue: kernel.issue })));
  await kernel.count(1);
  runs[1]?.dispose();
  expect(kernel.calls).toHaveLength(1);
  kernel.calls[0]?.answer({ message: null });
  expect(await runs[0]?.result).toEqual({ do: "wait", at: 1, answer: { message: null } });
  await kernel.count(2);
  kernel.calls[1]?.answer({ message: null });
  expect(await runs[2]?.result).toMatchObject({ at: 3 });
  expect(kernel.calls).toHaveLength(2);
});

test("signals meant for the server do not end the child", async () => {
  const kernel = byHand();
  const result = run({ do: "wait" }, { issue: kernel.issue });
  await kernel.count(1);
  const [call] = kernel.calls;
  const pid = Number((call?.args as JsonObject | undefined)?.["topic"]);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.kill(pid, signal);
  kernel.calls[0]?.answer({ message: null });
  expect(await result).toMatchObject({ do: "wait" });
});

test("what an agent writes is handed on with its pid", async () => {
  const written: string[] = [];
  const host = hostWith({ onOutput: (pid, text) => written.push(`${pid} ${text}`) });
  await host.start(startOf({ do: "talk" })).result;
  await host.close();
  expect(written.sort()).toEqual(["p_000000000000 to the left\n", "p_000000000000 to the right\n"]);
});

test("what is not JSON is refused with its name, and a refused call uses up no number", async () => {
  await expect(run({ do: "noJson" })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining('"amount" is not JSON (NaN)'),
  });
  const numbers: number[] = [];
  const issue: Issue = async (number) => (numbers.push(number), { ms: 4 });
  expect(await run({ do: "noJsonCall" }, { issue })).toEqual([
    expect.stringMatching(/^invalid_argument .*"when" is not JSON \(Date\)/),
    4,
  ]);
  expect(numbers).toEqual([0]);
});

test("chance comes from the pid alone", async () => {
  const { float, fill } = createGenerator("p_a");
  const bytes = (size: number): Buffer => {
    const drawn = Buffer.alloc(size);
    fill(drawn);
    return drawn;
  };
  const random = float();
  const uuid = bytes(16).toString("hex");
  const drawn = (await run({ do: "chance" }, { pid: "p_a" as ProcessId })) as [number, string, number[]];
  expect(drawn).toEqual([
    random,
    expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
    [...bytes(4)],
  ]);
  expect(drawn[1].slice(0, 8)).toBe(uuid.slice(0, 8));
});

test("time is what clock.now answered; before that the process's creation", async () => {
  const issue: Issue = async () => ({ ms: 1_000_000_000_123 });
  const text = "2001-09-09T01:46:40.123Z";
  expect(await run({ do: "time" }, { issue })).toEqual({
    before: "allowed",
    ms: 1_000_000_000_123,
    now: 1_000_000_000_123,
    text,
    called: expect.stringContaining("Sep 09 2001 01:46:40"),
    temporal: text,
    elapsed: 123,
  });
});

test("files, network, programs, timers, signals and secrets are refused, and the environment is empty", async () => {
  const refused = (await run({ do: "forbidden", file: join(FIXTURES, "behaviours.ts") })) as Record<string, string>;
  expect(refused).toEqual({
    read: expect.stringContaining("ERR_ACCESS_DENIED"),
    write: expect.stringContaining("ERR_ACCESS_DENIED"),
    program: expect.stringContaining("sys.tool.call"),
    socket: expect.stringContaining("sys.tool.call"),
    fetch: expect.stringContaining("sys.tool.call"),
    timer: expect.stringContaining("sys.clock.sleep"),
    secret: expect.stringContaining("sys.random.bytes"),
    signal: expect.stringContaining("sys.process.signal"),
    later: expect.stringContaining("ERR_ACCESS_DENIED"),
    environment: ["TZ"],
  });
  await expect(run({ do: "thrownDenial", file: "/etc/hostname" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringContaining("let a tool do this"),
  });
});

test("a forged or endless frame ends the run", async () => {
  await expect(run({ do: "forge" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringContaining("call 7 came where 0 was due"),
  });
  await expect(run({ do: "pretends" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringContaining("called itself idle without being asked"),
  });
  await expect(run({ do: "flood" })).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringContaining("longer than"),
  });
});

test("after close a start is refused, and what ran never settles", async () => {
  const kernel = byHand();
  const host = hostWith();
  const settled: string[] = [];
  void host.start(startOf({ do: "wait" }, { issue: kernel.issue })).result.finally(() => settled.push("result"));
  await kernel.count(1);
  await host.close();
  kernel.calls[0]?.answer({ message: null });
  await expect(host.start(startOf({ do: "nothing" })).result).rejects.toMatchObject({ code: "unsupported" });
  expect(settled).toEqual([]);
});

/** A project with these files, in a folder of its own. */
function projectWith(name: string, files: Record<string, string>): string {
  const folder = join(scratch, name);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

const SDK = JSON.stringify(join(import.meta.dirname, "../../sdk/agent.ts"));
const agentText = (program: string, before = ""): string =>
  `import { agent } from ${SDK};\n${before}\nexport default agent({ name: "made", description: "Made for a test.", run: ${program} });\n`;

test("a new folder of the project is found though a child was booted before it was there", async () => {
  const folder = projectWith("growing", { "agents/one.mjs": agentText("async () => 1") });
  const host = hostWith({ projectFolder: folder, maxProcesses: 2 });
  expect(await host.start(startOf(null, { file: "agents/one.mjs" })).result).toBe(1);
  projectWith("growing", { "more/two.mjs": agentText("async () => 2") });
  expect(await host.start(startOf(null, { file: "more/two.mjs" })).result).toBe(2);
});

test("what a project hides is not to be read even while the module is imported", async () => {
  const reading = `import { readFileSync } from "node:fs";
    const codes = [];
    for (const file of ["agents/open.json", ".env", "data/private/journal.db", "data/open.json"]) try { readFileSync(file); codes.push("read"); } catch (error) { codes.push(error.code); }`;
  const folder = projectWith("hiding", {
    "agents/curious.mjs": agentText("async () => codes", reading),
    "agents/open.json": "{}",
    ".env": "KEY=1",
    "data/private/journal.db": "",
    "data/open.json": "{}",
  });
  const host = hostWith({ projectFolder: folder, privateFolders: [join(folder, "data/private")] });
  expect(await host.start(startOf(null, { file: "agents/curious.mjs" })).result).toEqual([
    "read",
    "ERR_ACCESS_DENIED",
    "ERR_ACCESS_DENIED",
    "read",
  ]);
});

test("a module that cannot be imported", async () => {
  const folder = projectWith("broken", {
    "missing.mjs": `import "a-package-that-is-not-there";`,
    "syntax.ts": "export default agent({",
    "endless.mjs": "for (;;);",
    "throwing.mjs": "throw new RangeError('too early');",
  });
  const host = hostWith({ projectFolder: folder, loadTimeoutMs: 20_000 });
  const message = (file: string): Promise<string> =>
    host.start(startOf(null, { file })).result.then(String, (error: OsError) => `${error.code} ${error.message}`);
  expect(await message("missing.mjs")).toMatch(/^program_failed .*Cannot find package 'a-package-that-is-not-there'/);
  expect(await message("syntax.ts")).toMatch(/^program_failed .*SyntaxError/s);
  expect(await message("throwing.mjs")).toMatch(/^program_failed .*RangeError: too early \(throwing\.mjs:1:\d+\)/);
  const hasty = hostWith({ projectFolder: folder, loadTimeoutMs: 300 });
  await expect(hasty.start(startOf(null, { file: "endless.mjs" })).result).rejects.toMatchObject({
    code: "program_failed",
    message: expect.stringContaining("did not finish loading within 300 ms"),
  });
});

test("describe answers with the manifest, also while every place is taken", async () => {
  const kernel = byHand();
  const host = hostWith({ maxProcesses: 1 });
  const busy = host.start(startOf({ do: "wait" }, { issue: kernel.issue }));
  await kernel.count(1);
  expect(await host.describe("behaviours.ts")).toMatchObject({ name: "behaviours", tools: ["s.*"], turns: 100 });
  busy.dispose();
});

test("describe names the file and the fault", async () => {
  const folder = projectWith("faulty", {
    "plain.mjs": "export const helper = 1;",
    "wrong.mjs": `import { agent } from ${SDK}; export default agent({ name: "w", run: async () => 1, toolz: [] });`,
    "forged.mjs": "export default { [Symbol.for('reeve.agent')]: 1, manifest: { name: 'f' } };",
    "leaving.mjs": "console.error('bye'); process.exit(4);",
  });
  const host = hostWith({ projectFolder: folder });
  const fault = (file: string): Promise<string> =>
    host.describe(file).then(String, (error: OsError) => `${error.code} ${error.message}`);
  expect(await fault("plain.mjs")).toMatch(/^agent_invalid The agent file plain\.mjs .*export default agent/);
  expect(await fault("wrong.mjs")).toMatch(/^agent_invalid The agent file wrong\.mjs .*description.*toolz/);
  expect(await fault("forged.mjs")).toMatch(/^agent_invalid The agent file forged\.mjs .*description/);
  expect(await fault("leaving.mjs")).toMatch(/^agent_invalid The agent file leaving\.mjs .*exit status 4.*bye/);
});

test.runIf(process.platform === "linux").each(["wait", "loop"])(
  "the child dies with the server, even one that is at: %s",
  async (behaviour) => {
    const server = spawn(process.execPath, [join(FIXTURES, "server.ts"), behaviour], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(server.stdout, "data");
    const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8")
      .trim()
      .split(" ")
      .map(Number);
    expect(children.length).toBeGreaterThan(0);
    if (behaviour === "loop") server.stdin.write("go on\n");
    server.kill("SIGKILL");
    await Promise.all(children.map(untilDead));
  },
);

test("a child ends when its socket does", async () => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "child.ts")], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const socket = child.stdio[3];
  if (socket === null || socket === undefined) throw new Error("the child has no socket");
  await once(socket, "data");
  socket.destroy();
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
});
