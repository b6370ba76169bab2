// K1: one door. A process reaches a model, a tool, another process, a human, time or randomness only by a syscall, and
// there is one syscall path.
//
// Method: a program issues every call that the table offers to processes, and each is found in the journal with its
// outcome. A module agent tries the ways around: files, network, child processes, the environment. Unplugged (a host
// without the child process and its guard), the same agent gets out and the journal knows nothing of it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { agentManifestSchema } from "../../src/abi/agents.ts";
import type { Json } from "../../src/abi/json.ts";
import { PROCESS_CALLS } from "../../src/abi/syscalls.ts";
import { createModuleHost } from "../../src/drivers/program-module/host.ts";
import { createNativeHost } from "../../src/drivers/program-native/host.ts";
import type { ProgramHost } from "../../src/ports/program.ts";
import type { AgentModule } from "../../src/sdk/agent.ts";
import type { Sys } from "../../src/sdk/sys.ts";
import { bootTest, done, fakeModel, fakeTools, say } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const mediums: Medium[] = [];
const folders: string[] = [];
afterEach(() => {
  mediums.splice(0).forEach((medium) => medium.dispose());
  folders.splice(0).forEach((folder) => rmSync(folder, { recursive: true, force: true }));
});

function fresh(): Medium {
  const medium = temporaryMedium();
  mediums.push(medium);
  return medium;
}

/** Issues every call of the table once. */
async function everything(sys: Sys): Promise<Json> {
  await sys.model.generate({ messages: [{ role: "user", content: "hello" }] });
  await sys.tool.call({ tool: "t.look", args: {} });
  const { pid } = await sys.process.spawn({ agent: "child", task: "listen" });
  await sys.message.send({ pid, topic: "hello", body: "child" });
  await sys.process.wait({ pid });
  const second = await sys.process.spawn({ agent: "child", task: "listen" });
  await sys.process.signal({ pid: second.pid, signal: "kill", reason: "enough" });
  await sys.message.receive({ timeoutMs: 0 });
  await sys.human.ask({ question: "Well?" });
  await sys.clock.now({});
  await sys.clock.sleep({ ms: 1 });
  await sys.random.bytes({ size: 4 });
  await sys.lock.acquire({ key: "door" });
  await sys.lock.release({ key: "door" });
  return "all";
}

const agents = {
  everything: { manifest: { tools: ["t.look"], agents: ["child"] }, run: everything },
  child: { run: async (sys: Sys) => (await sys.message.receive({})).message?.body ?? null },
};

/** A module that tries every way around the door, and says which worked. */
const ESCAPES = `
import { readFileSync, writeFileSync } from "node:fs";
const tries = {
  readFile: () => readFileSync(process.argv0 === "" ? "" : TARGET, "utf8"),
  writeFile: () => writeFileSync(TARGET + ".written", "x"),
  childProcess: async () => (await import("node:child_process")).execFileSync("/bin/true"),
  network: async () => { const net = await import("node:net"); await new Promise((resolve, reject) => net.connect(PORT, "127.0.0.1").once("connect", resolve).once("error", reject)); },
  environment: () => { if (process.env.K1_SECRET === undefined) throw new Error("not there"); },
};
export async function escape() {
  const worked = [];
  for (const [name, attempt] of Object.entries(tries)) { try { await attempt(); worked.push(name); } catch {} }
  return worked;
}
`;

async function outcome(programs: ProgramHost, file: string): Promise<{ result: unknown; calls: number }> {
  const medium = fresh();
  const store = await medium.open();
  const agent = {
    manifest: agentManifestSchema.parse({ name: "escaper", description: "tries", turns: 1 }),
    program: { kind: "module", file },
    hash: "h",
  } as const;
  const source = { find: async () => agent as never, list: async () => ({ agents: [], invalid: [] }) };
  const system = await bootTest({ store, agents: {}, parts: { programs, agents: source } });
  const { pid } = await system.operate("process.spawn", { agent: "escaper", task: null }, "test");
  const { exit } = await system.operate("process.wait", { pid, timeoutMs: 20_000 }, "test");
  const { events } = await system.operate("journal.read", { pid }, "test");
  system.close();
  await programs.close();
  await store.close();
  return {
    result: exit?.how === "completed" ? exit.result : exit,
    calls: events.filter(({ header }) => header["kind"] === "call.completed").length,
  };
}

describe("K1 one door", () => {
  it("leaves every call that a process can make in its journal, with its outcome", async () => {
    const store = await fresh().open();
    const tools = fakeTools({ "t.look": { manifest: { effect: "read" }, run: () => done("seen") } });
    const system = await bootTest({ store, agents, tools, models: fakeModel(() => say("hi")) });
    const { pid } = await system.operate("process.spawn", { agent: "everything", task: null }, "test");
    for await (const item of system.follow(pid, 0, AbortSignal.timeout(10_000))) {
      if (item.kind !== "event" || item.event.header.kind !== "request.opened") continue;
      await system.operate(
        "human.decide",
        { request: item.event.header.request, decision: { verdict: "answered", answer: "well" } },
        "ann",
      );
    }
    const { events } = await system.operate("journal.read", { pid }, "test");
    const completed = events.flatMap(({ header, payloads }) =>
      header["kind"] === "call.completed" ? [{ syscall: header["syscall"], ok: payloads["error"] === undefined }] : [],
    );
    expect(completed.filter(({ ok }) => !ok)).toEqual([]);
    expect(new Set(completed.map(({ syscall }) => syscall))).toEqual(new Set(PROCESS_CALLS));
    system.close();
    await store.close();
  });

  it("refuses a module agent every other way out", async () => {
    const { file, folder } = escaper();
    const host = createModuleHost({ projectFolder: folder, maxProcesses: 1 });
    expect((await outcome(host, file)).result).toEqual([]);
  }, 30_000);

  it("breaks when the child process and its guard are unplugged: the agent gets out, and the journal knows nothing", async () => {
    const { file } = escaper();
    const unguarded = createNativeHost({});
    const host: ProgramHost = {
      start: (start) => ({
        result: import(pathToFileURL(file).href).then((module: { default: AgentModule }) =>
          module.default.program(start.issue, start.task),
        ),
        dispose: () => {},
      }),
      close: () => unguarded.close(),
    };
    process.env["K1_SECRET"] = "in the environment";
    const { result, calls } = await outcome(host, file).finally(() => delete process.env["K1_SECRET"]);
    expect(result).toEqual(expect.arrayContaining(["writeFile", "childProcess", "environment"]));
    expect(calls).toBe(0);
  });
});

function escaper(): { file: string; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), "reeve-agents-"));
  const outside = mkdtempSync(join(tmpdir(), "reeve-outside-"));
  folders.push(folder, outside);
  const target = join(outside, "secret.txt");
  writeFileSync(target, "secret");
  const author = fileURLToPath(new URL("../../src/sdk/author.ts", import.meta.url));
  const file = join(folder, "escaper.ts");
  const body = ESCAPES.replaceAll("TARGET", JSON.stringify(target)).replace("PORT", "9");
  writeFileSync(
    file,
    `import { agent } from ${JSON.stringify(author)};\n${body}\nexport default agent({ name: "escaper", description: "tries", run: escape });\n`,
  );
  return { file, folder };
}
