// What a journal is held to when its program runs again: live, and in verification.
import { afterEach, describe, expect, it } from "vitest";
import { done, fakeModel, fakeTools, say, type TestProgram } from "../../test/system.ts";
import type { MemoryMedium } from "../../test/simulation/store-memory.ts";
import type { Address, ProcessId } from "../abi/ids.ts";
import type { VerifyReport } from "../abi/reports.ts";
import type { StoredEvent } from "../ports/store.ts";
import { eventually, gate, type Scene, scene, type SceneOptions, turns } from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

const tools = () => fakeTools({ "t.look": { manifest: { effect: "read" }, run: () => done("seen") } });

async function boot(run: TestProgram, more: Partial<SceneOptions> = {}): Promise<Scene> {
  const agents = { agent: { run, manifest: { tools: ["t.look"] } } };
  const booted = await scene({ agents, tools: tools(), models: fakeModel(() => say("a word")), ...more });
  open.push(booted);
  return booted;
}

const verify = (system: Scene, pid: ProcessId): Promise<VerifyReport> =>
  system.operate<"journal.verify">("journal.verify", { pid }, "test");

/** Runs one program to its end, then verifies its journal with another. */
async function verifiedWith(first: TestProgram, second: TestProgram): Promise<VerifyReport> {
  const before = await boot(first);
  const pid = await before.start("agent");
  await before.exit(pid);
  const after = await boot(second, { medium: await before.crash() });
  return verify(after, pid);
}

/** Runs one program until it waits, then goes on with another. */
async function continuedWith(
  first: TestProgram,
  second: TestProgram,
): Promise<{ system: Scene; pid: ProcessId; medium: MemoryMedium }> {
  const before = await boot(first);
  const pid = await before.start("agent");
  await eventually("it waits", async () => ((await before.state(pid)) === "waiting" ? true : undefined));
  const medium = await before.crash();
  const system = await boot(second, { medium });
  await system.operate("message.send", { pid, body: "go" }, "test");
  return { system, pid, medium };
}

const looks =
  (...sizes: readonly number[]): TestProgram =>
  async (sys) => {
    for (const size of sizes) await sys.random.bytes({ size });
    return "same";
  };

describe("a difference", () => {
  it("in arguments, in the call, in what is left out and in the end is named", async () => {
    expect(await verifiedWith(looks(1, 2), looks(1, 3))).toMatchObject({
      identical: false,
      difference: { call: 1, field: "args", recorded: '{"size":2}', issued: '{"size":3}' },
    });
    expect(await verifiedWith(looks(1), async (sys) => (await sys.clock.now({}), "same"))).toMatchObject({
      identical: false,
      difference: { call: 0, field: "syscall", recorded: "random.bytes", issued: "clock.now" },
    });
    expect(await verifiedWith(looks(1, 2), looks(1))).toMatchObject({
      identical: false,
      difference: { call: 1, field: "issued", recorded: 1, issued: null },
    });
    expect(await verifiedWith(looks(1), async (sys) => (await sys.random.bytes({ size: 1 }), "other"))).toMatchObject({
      identical: false,
      difference: { call: -1, field: "exit", recorded: "same", issued: "other" },
    });
  });

  it("is seen in a program that ends without a single one of its calls", async () => {
    expect(await verifiedWith(looks(1), looks())).toMatchObject({
      identical: false,
      difference: { call: 0, field: "issued", recorded: 0, issued: null },
    });
  });

  it("is seen in a call that the program does not wait for", async () => {
    const unawaited =
      (size: number): TestProgram =>
      async (sys) => {
        await sys.clock.sleep({ ms: 1 });
        const call = sys.random.bytes({ size });
        await sys.clock.sleep({ ms: 5 });
        void call;
        return "same";
      };
    expect(await verifiedWith(unawaited(1), unawaited(2))).toMatchObject({ identical: false, difference: { call: 1 } });
  });

  it("is seen in a failure that does not come again", async () => {
    const failing: TestProgram = async (sys) => {
      await sys.random.bytes({ size: 1 });
      throw new Error("broken");
    };
    expect(await verifiedWith(failing, failing)).toMatchObject({ identical: true });
    expect(await verifiedWith(failing, looks(1))).toMatchObject({ identical: false, difference: { field: "exit" } });
  });

  it("stops the process when it is met live, with the reason in the journal; cont tries again", async () => {
    const first: TestProgram = async (sys) => {
      await sys.random.bytes({ size: 1 });
      return (await sys.message.receive({})).message?.body ?? null;
    };
    const { system, pid } = await continuedWith(first, looks(7));
    await eventually("it is stopped", async () => ((await system.state(pid)) === "stopped" ? true : undefined));
    expect((await system.journal(pid)).at(-1)).toMatchObject({
      header: { kind: "process.stopped", by: "reeve" },
      payloads: {
        reason: { code: "replay_divergence", data: { call: 0, recorded: '{"size":1}', issued: '{"size":7}' } },
      },
    });
    expect(system.troubles).toHaveLength(1);
    await system.operate("process.signal", { pid, signal: "cont", reason: "" }, "test");
    await eventually("it is stopped again", async () =>
      (await system.kinds(pid)).filter((kind) => kind === "process.stopped").length === 2 ? true : undefined,
    );
    const mended = await boot(first, { medium: await system.crash() });
    await mended.operate("process.signal", { pid, signal: "cont", reason: "" }, "test");
    expect(await mended.exit(pid)).toEqual({ how: "completed", result: "go" });
  });

  it("stops a process whose program ends at once, leaving out all that its journal holds", async () => {
    const first: TestProgram = async (sys) => (await sys.message.receive({})).message?.body ?? null;
    const { system, pid } = await continuedWith(first, async () => "nothing to do");
    await eventually("it is stopped", async () => ((await system.state(pid)) === "stopped" ? true : undefined));
    expect((await system.journal(pid)).at(-1)).toMatchObject({
      payloads: { reason: { code: "replay_divergence", data: { call: 0, field: "issued" } } },
    });
  });
});

describe("a journal that was changed", () => {
  const program: TestProgram = async (sys) => {
    const { context } = await sys.model.generate({ messages: [{ role: "user", content: "x".repeat(2000) }] });
    await sys.model.generate({ after: context, messages: [{ role: "user", content: "more" }] });
    await sys.tool.call({ tool: "t.look", args: { long: "y".repeat(2000) } });
    await sys.random.bytes({ size: 8 });
    return "z".repeat(2000);
  };

  async function ran(): Promise<{ pid: ProcessId; medium: MemoryMedium }> {
    const system = await boot(program);
    const pid = await system.start("agent");
    await system.exit(pid);
    return { pid, medium: await system.crash() };
  }

  const check = async ({ pid, medium }: { pid: ProcessId; medium: MemoryMedium }): Promise<VerifyReport> =>
    verify(await boot(program, { medium }), pid);

  it("is whole before anything is", async () => {
    expect(await check(await ran())).toMatchObject({
      identical: true,
      calls: 4,
      chain: { intact: true, brokenAt: null },
    });
  });

  it("is seen in each payload that stands apart, whether the program reads it or not", async () => {
    const made = await ran();
    expect(made.medium.payloads.size).toBeGreaterThan(6);
    for (const [address, text] of [...made.medium.payloads]) {
      made.medium.payloads.set(address, JSON.stringify({ changed: text.length }));
      const report = await check(made);
      expect(report.chain.intact, `${address}: ${text.slice(0, 60)}`).toBe(false);
      made.medium.payloads.set(address, text);
      made.medium.owner = null;
    }
  });

  it("is seen in a payload that stands in its event", async () => {
    const made = await ran();
    const events = made.medium.journals.get(made.pid) as StoredEvent[];
    for (const [at, event] of events.entries()) {
      // What the process was created with is read before there is anything to verify.
      if (event.inline === null || at === 0) continue;
      const inline = Object.keys(JSON.parse(event.inline) as object).map((address) => [address, '"changed"']);
      events[at] = { ...event, inline: JSON.stringify(Object.fromEntries(inline)) };
      expect(await check(made)).toMatchObject({ identical: false, chain: { intact: false, brokenAt: at } });
      events[at] = event;
      made.medium.owner = null;
    }
  });

  it("is seen in a journal that was cut short, and in one with a piece taken out", async () => {
    const cut = await ran();
    cut.medium.journals.set(cut.pid, (cut.medium.journals.get(cut.pid) as StoredEvent[]).slice(0, -2));
    expect(await check(cut)).toMatchObject({ identical: false, chain: { intact: false } });
    const holed = await ran();
    holed.medium.journals.set(holed.pid, (holed.medium.journals.get(holed.pid) as StoredEvent[]).toSpliced(2, 1));
    expect(await check(holed)).toMatchObject({ identical: false, chain: { intact: false, brokenAt: 3 } });
  });

  it("is not held against an erased payload, but the program may not get through without it", async () => {
    const made = await ran();
    const sent = [...made.medium.payloads].find(([, text]) => text.includes("xxx"))?.[0] as Address;
    made.medium.payloads.delete(sent);
    expect(await check(made)).toMatchObject({ identical: true, chain: { intact: true } });
  });
});

describe("verification of a process that has not ended by itself", () => {
  const program: TestProgram = async (sys) => {
    await sys.tool.call({ tool: "t.look", args: {} });
    return (await sys.message.receive({})).message?.body ?? null;
  };

  it("holds while it waits, after it was stopped and after it was killed", async () => {
    const system = await boot(program);
    const pid = await system.start("agent");
    await eventually("it waits", async () => ((await system.state(pid)) === "waiting" ? true : undefined));
    expect(await verify(system, pid)).toMatchObject({ identical: true, calls: 1 });
    await system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test");
    expect(await verify(system, pid)).toMatchObject({ identical: true, calls: 1 });
    await system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    expect(await verify(system, pid)).toMatchObject({ identical: true, calls: 1 });
  });

  it("holds while it runs, and does not disturb it", async () => {
    const seen = gate();
    const slow = fakeTools({
      "t.look": { manifest: { effect: "read" }, run: async ({ n }) => (n === 1 && (await seen.passed), done("seen")) },
    });
    const system = await boot(
      async (sys) => {
        for (const n of [0, 1]) await sys.tool.call({ tool: "t.look", args: { n } });
        return "done";
      },
      { tools: slow },
    );
    const pid = await system.start("agent");
    await eventually("the second look", () => (slow.performed.length === 2 ? true : undefined));
    expect(await verify(system, pid)).toMatchObject({ identical: true, calls: 1 });
    seen.open();
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "done" });
    await turns();
    expect(await verify(system, pid)).toMatchObject({ identical: true, calls: 2 });
    expect((await system.operate("process.show", { pid }, "test")).process.spent.calls).toBe(2);
  });
});
