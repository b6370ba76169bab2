// What operators see and do: lists, waits, journals as they are followed, messages.
import { afterEach, describe, expect, it } from "vitest";
import { done, fakeTools } from "../../test/system.ts";
import type { ProcessId, RequestId } from "../abi/ids.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "../abi/limits.ts";
import type { ProgramInput } from "../abi/program-input.ts";
import type { StreamItem } from "../ports/system.ts";
import { eventually, listener, scene, type Scene, type SceneOptions, turns } from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

const agents: SceneOptions["agents"] = {
  listener,
  thinker: { run: () => new Promise(() => {}) },
};

async function boot(more: Partial<SceneOptions> = {}): Promise<Scene> {
  const booted = await scene({ agents, ...more });
  open.push(booted);
  return booted;
}

const waiting = (system: Scene, pid: ProcessId): Promise<boolean> =>
  eventually("it waits", async () => ((await system.state(pid)) === "waiting" ? true : undefined));

describe("process.list", () => {
  it("fills its pages also where the filter is known in memory alone", async () => {
    const system = await boot({ limits: { processesInMemory: 3 } });
    const pids: ProcessId[] = [];
    for (let n = 0; n < 9; n += 1) pids.push(await system.start("thinker"));
    await eventually("three in memory", () =>
      system.load().inMemory === 3 && system.load().queued === 6 ? true : undefined,
    );
    const list = async (state: "running" | "ready", before?: ProcessId) =>
      (await system.operate("process.list", { state, limit: 2, ...(before && { before }) }, "test")).processes.map(
        ({ pid }) => pid,
      );
    const paged = async (state: "running" | "ready"): Promise<ProcessId[]> => {
      const all: ProcessId[] = [];
      for (let page = await list(state); page.length > 0; page = await list(state, page.at(-1))) all.push(...page);
      return all;
    };
    expect(await paged("running")).toEqual(pids.slice(0, 3).reverse());
    expect(await paged("ready")).toEqual(pids.slice(3).reverse());
  });

  it("filters by root, by beginning and by life", async () => {
    const system = await boot();
    const [one, two] = [await system.start("listener"), await system.start("listener")];
    await system.operate("message.send", { pid: one, body: 1 }, "test");
    await system.exit(one);
    const list = async (query: object) =>
      (await system.operate("process.list", query, "test")).processes.map(({ pid }) => pid);
    expect(await list({ state: "alive" })).toEqual([two]);
    expect(await list({ state: "exited" })).toEqual([one]);
    expect(await list({ root: one })).toEqual([one]);
    expect(await list({ prefix: two.slice(0, 9) })).toEqual([two]);
    expect(await list({ before: two })).toEqual([one]);
    await expect(list({ limit: 0 })).rejects.toMatchObject({ code: "invalid_argument" });
  });
});

describe("process.wait", () => {
  it("answers null when the time is up, and the exit however it comes", async () => {
    const system = await boot();
    const pid = await system.start("listener");
    expect(await system.operate("process.wait", { pid, timeoutMs: 0 }, "test")).toEqual({ exit: null });
    const waits = [1, 2].map(() => system.exit(pid));
    await system.operate("message.send", { pid, body: "x" }, "test");
    expect(await Promise.all([...waits, system.exit(pid)])).toEqual(
      [1, 2, 3].map(() => ({ how: "completed", result: "x" })),
    );
    await expect(system.exit("p_000000000000" as ProcessId)).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("following a journal", () => {
  const followed = async (system: Scene, pid: ProcessId, from: number): Promise<number[]> => {
    const seqs: number[] = [];
    const items: AsyncIterable<StreamItem> = system.follow(pid, from, AbortSignal.timeout(4000));
    for await (const item of items) if (item.kind === "event") seqs.push(item.event.seq);
    return seqs;
  };

  it("gives each event once, in order, from wherever it begins, and ends with the exit", async () => {
    const system = await boot();
    const pid = await system.start("listener");
    await waiting(system, pid);
    const all = [0, 1, 3].map((from) => followed(system, pid, from));
    await turns();
    await system.operate("message.send", { pid, body: "x" }, "test");
    expect(await Promise.all(all)).toEqual([
      [0, 1, 2, 3, 4],
      [1, 2, 3, 4],
      [3, 4],
    ]);
    expect(await followed(system, pid, 2)).toEqual([2, 3, 4]);
  });

  it("ends also for whoever waits for events beyond the last one", async () => {
    const system = await boot();
    const pid = await system.start("listener");
    await waiting(system, pid);
    const beyond = followed(system, pid, 1000);
    await turns();
    await system.operate("message.send", { pid, body: "x" }, "test");
    await system.exit(pid);
    const ended = await Promise.race([beyond, turns(200).then(() => "still waiting")]);
    expect(ended).toEqual([]);
    expect(await followed(system, pid, 1000)).toEqual([]);
  });
});

describe("process.exec", () => {
  const bootExec = async () => {
    const tools = fakeTools({ "reeve.exec": { manifest: { effect: "write" }, run: () => done("[exit status 0]") } });
    return { tools, system: await boot({ tools }) };
  };
  const exec = async (system: Scene, input: ProgramInput) =>
    system.operate("process.exec", { command: ["sort", "-r"], input }, "test");

  it("gives the standard input by the one road: it is the task's, and an argument of the call, as it was given", async () => {
    const { tools, system } = await bootExec();
    for (const input of ["a\n\ud83d\ude00", { base64: "AP8K" }]) {
      const { pid } = await exec(system, input);
      expect(await system.exit(pid)).toMatchObject({ how: "completed" });
      const args = { command: ["sort", "-r"], input };
      expect(tools.performed.at(-1)).toMatchObject({ args });
      const payloads = (await system.journal(pid)).map((event) => event.payloads);
      expect(payloads.flatMap(({ task }) => task ?? [])).toEqual([args]);
      expect(payloads.flatMap((named) => named["args"] ?? [])).toEqual([{ tool: "reeve.exec", args }]);
      expect(await system.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true });
    }
  });

  it("takes as much as its limit says, and names it to whoever gives more", async () => {
    const { system } = await bootExec();
    const most = Buffer.alloc(PROGRAM_INPUT_BYTES_MAX, 0xff).toString("base64");
    const { pid } = await exec(system, { base64: most });
    expect(await system.exit(pid)).toMatchObject({ how: "completed" });
    const more = Buffer.alloc(PROGRAM_INPUT_BYTES_MAX + 1, 0xff).toString("base64");
    for (const input of [{ base64: more }, "\u20ac".repeat(PROGRAM_INPUT_BYTES_MAX / 3 + 1)])
      await expect(exec(system, input)).rejects.toMatchObject({
        code: "limit_exceeded",
        message: expect.stringMatching(/program_input_bytes.*--workspace/) as string,
        data: { limit: "program_input_bytes", max: PROGRAM_INPUT_BYTES_MAX },
      });
    const { processes } = await system.operate("process.list", {}, "test");
    expect(processes).toHaveLength(1);
  });

  it("refuses what stands for no bytes", async () => {
    const { system } = await bootExec();
    for (const input of ["half \ud800", { base64: "?" }, { base64: "AP8" }])
      await expect(exec(system, input)).rejects.toMatchObject({ code: "invalid_argument" });
  });
});

describe("messages", () => {
  it("cannot be sent to what has exited, nor to what never was", async () => {
    const system = await boot();
    const pid = await system.start("listener");
    await system.operate("message.send", { pid, body: "x" }, "test");
    await system.exit(pid);
    const send = (to: ProcessId) => system.operate("message.send", { pid: to, body: "y" }, "test");
    await expect(send(pid)).rejects.toMatchObject({ code: "process_gone" });
    await expect(send("p_000000000000" as ProcessId)).rejects.toMatchObject({ code: "not_found" });
    expect((await system.kinds(pid)).at(-1)).toBe("process.exited");
  });

  it("are taken oldest first, by topic or by any, each once, and may be sent to oneself", async () => {
    const system = await boot({
      agents: {
        sorter: {
          run: async (sys, self) => {
            const pid = (self ?? (await sys.message.receive({ topic: "self" })).message?.body) as ProcessId;
            for (const [topic, body] of [
              ["a", 1],
              ["b", 2],
              ["a", 3],
              ["b", 4],
            ] as const)
              await sys.message.send({ pid, topic, body });
            const taken: unknown[] = [];
            taken.push((await sys.message.receive({ topic: "b" })).message?.body);
            const pair = await Promise.all([sys.message.receive({}), sys.message.receive({ topic: "b" })]);
            taken.push(...pair.map(({ message }) => message?.body), (await sys.message.receive({})).message?.body);
            taken.push((await sys.message.receive({ timeoutMs: 0 })).message);
            return taken as never;
          },
        },
      },
    });
    const pid = await system.start("sorter");
    await system.operate("message.send", { pid, topic: "self", body: pid }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: [2, 1, 4, 3, null] });
    expect(await system.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true });
  });
});

describe("requests", () => {
  it("that were never opened, or were withdrawn, cannot be decided", async () => {
    const system = await boot({
      agents: { asker: { run: async (sys) => (await sys.human.ask({ question: "?" })).answer } },
    });
    const decide = (request: RequestId) =>
      system.operate("human.decide", { request, decision: { verdict: "answered", answer: 1 } }, "ann");
    await expect(decide("r_000000000000" as RequestId)).rejects.toMatchObject({ code: "not_found" });
    const pid = await system.start("asker");
    const { request } = await system.asked(pid);
    await system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    await expect(decide(request)).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("withdrawn"),
    });
  });
});
