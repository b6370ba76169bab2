// A row is a projection of its journal: projecting all events of a simulated history gives back what the store holds.
import { afterEach, describe, expect, it } from "vitest";
import { done, fakeTools, type TestProgram } from "../../test/system.ts";
import { Chance } from "../../test/simulation/chance.ts";
import type { EventHeader } from "../abi/events.ts";
import type { RequestId } from "../abi/ids.ts";
import type { Exit } from "../abi/process.ts";
import type { ProcessRecord } from "../ports/store.ts";
import { type Scene, scene, turns } from "./scene.fake.ts";
import { NOTHING_SPENT } from "./amounts.ts";
import { project, rowOfRecord, wakeMsOf } from "./transition.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

/** Does, side by side and one after another, what its seed says. */
const wander: TestProgram = async (sys, seed) => {
  const chance = new Chance(seed as number);
  const step = async (): Promise<void> => {
    const choice = chance.below(7);
    if (choice === 0) await sys.model.generate({ messages: [{ role: "user", content: "x" }] });
    else if (choice === 1) await sys.tool.call({ tool: "t.write", args: {} });
    else if (choice === 2) await sys.tool.call({ tool: "t.fail", args: {} }).catch(() => {});
    else if (choice === 3) await sys.message.receive({ timeoutMs: chance.below(10) });
    else if (choice === 4) await sys.clock.sleep({ ms: chance.below(10) });
    else if (choice === 5 && chance.below(3) === 0) await sys.human.ask({ question: "?" });
    else await sys.random.bytes({ size: 1 });
  };
  for (let n = 0; n < 4; n += 1) await Promise.all(Array.from({ length: 1 + chance.below(3) }, step));
  if (chance.below(4) === 0) throw new Error("enough");
  await sys.message.receive({ topic: "last" });
  return null;
};

const waitless = (record: ProcessRecord): object => {
  // What no event says: that all it does is wait, and, until a row is written for another reason, the counters.
  const { state, spent, events, updatedMs, ...rest } = record;
  return { ...rest, over: state === "exited", stopped: state === "stopped" };
};

async function history(seed: number): Promise<Scene> {
  const chance = new Chance(seed);
  const tools = fakeTools({
    "t.write": { manifest: { effect: "write" }, run: () => done("ok") },
    "t.fail": { manifest: { effect: "read" }, run: () => ({ kind: "failed", content: { text: "no" } }) },
  });
  const system = await scene({
    tools,
    agents: { wanderer: { manifest: { tools: ["t.*"] }, run: wander } },
    limits: { parkAfterMs: 1 },
  });
  open.push(system);
  const pids = await Promise.all([1, 2, 3].map((n) => system.start("wanderer", seed * 10 + n)));
  for (let round = 0; round < 12; round += 1) {
    const pid = chance.pick(pids);
    const act = chance.below(4);
    const signal = (name: "stop" | "cont" | "kill") =>
      system.operate("process.signal", { pid, signal: name, reason: "" }, "test");
    const acted =
      act === 0
        ? system.operate("message.send", { pid, topic: chance.pick(["message", "last"]), body: round }, "test")
        : signal(act === 1 ? "stop" : act === 2 || round < 11 ? "cont" : "kill");
    await acted.catch(() => {});
    for (const { request } of (await system.operate("human.list", {}, "test")).requests)
      await system
        .operate("human.decide", { request, decision: { verdict: "answered", answer: 1 } }, "ann")
        .catch(() => {});
    await turns(20);
  }
  return system;
}

describe("the row of a process", () => {
  it("follows from its journal", async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const system = await history(seed);
      await turns();
      for (const row of await system.disk.processes({ limit: 100 })) {
        const events = await system.journal(row.pid);
        const start: ProcessRecord = {
          ...row,
          state: "ready",
          waits: [],
          exit: null,
          spent: NOTHING_SPENT,
          events: 0,
          wakeMs: null,
        };
        const projected = events.reduce(
          (record, { header, atMs, payloads }) =>
            project(record, header, atMs, payloads["exit"] as unknown as Exit | undefined),
          start,
        );
        expect(projected.events).toBe(events.length);
        expect(waitless(projected), `seed ${seed}, ${row.pid}`).toEqual(waitless(row));
        expect(row.state === "exited" ? projected.spent : row.spent).toEqual(row.spent);
        expect(row.wakeMs).toBe(wakeMsOf(row.waits, row.deadlineMs));
        expect(rowOfRecord(row)).not.toHaveProperty("subject");
      }
      system.close();
    }
  });
});

describe("project", () => {
  const row = {
    state: "waiting",
    waits: [],
    spent: NOTHING_SPENT,
    reserved: NOTHING_SPENT,
    reservations: [],
    deadlineMs: null,
    events: 5,
    exit: null,
    wakeMs: null,
  } as unknown as ProcessRecord;
  const after = (record: ProcessRecord, header: object): ProcessRecord => project(record, header as EventHeader, 1);

  it("rouses a process by a message only if it waits for one of that topic", () => {
    const message = { kind: "message.delivered", message: "m", from: "x", topic: "a" };
    const on = (topic?: string): ProcessRecord => ({
      ...row,
      waits: [{ on: "message", call: 0, ...(topic === undefined ? {} : { topic }) }],
    });
    expect([on(), on("a"), on("b"), row].map((record) => after(record, message).state)).toEqual([
      "ready",
      "ready",
      "waiting",
      "waiting",
    ]);
  });

  it("does not rouse what was stopped", () => {
    const stopped: ProcessRecord = { ...row, state: "stopped", waits: [{ on: "message", call: 0 }] };
    for (const header of [
      { kind: "message.delivered", topic: "a" },
      { kind: "request.decided" },
      { kind: "call.completed", call: 0, syscall: "message.receive", effect: "none" },
    ])
      expect(after(stopped, header).state).toBe("stopped");
    expect(after(stopped, { kind: "process.continued", by: "x" }).state).toBe("ready");
  });

  it("ends the wait of a request with its decision, and no other", () => {
    const waits: ProcessRecord["waits"] = [
      { on: "human", call: 0, request: "r_a" as RequestId },
      { on: "human", call: 1, request: "r_b" as RequestId },
      { on: "time", call: 2, untilMs: 7 },
    ];
    const decided = after({ ...row, waits, wakeMs: 7 }, { kind: "request.decided", call: 0, request: "r_a" });
    expect(decided).toMatchObject({ state: "ready", waits: waits.slice(1), wakeMs: 7 });
    expect(after({ ...row, waits }, { kind: "request.decided", call: 0, request: "r_c" }).waits).toBe(waits);
  });

  it("counts only the calls that cost somebody something", () => {
    const usage = { inputTokens: 3, outputTokens: 2, costUsd: 0.5 };
    const model = after(row, { kind: "call.completed", call: 0, syscall: "model.generate", effect: "read", usage });
    const clock = after(model, { kind: "call.completed", call: 1, syscall: "clock.now", effect: "none" });
    expect(clock.spent).toEqual({ calls: 1, inputTokens: 3, outputTokens: 2, costUsd: 0.5 });
  });
});
