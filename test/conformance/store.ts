// The store's contract as tests, for every driver. S1 to S6 are those of src/ports/store.ts; what only one kind of medium can show
// (a disk that fills up, a process that is killed) is tested beside its driver.
//
// Method: a harness opens stores on one medium, so that a test can close and look again. Nothing here knows what the medium is.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProcessId, RequestId, SubjectId } from "../../src/abi/ids.ts";
import type { ProcessQuery, ProcessRecord, RequestRecord, Store } from "../../src/ports/store.ts";
import {
  addressOf,
  appendOf,
  eventsOf,
  pidOf,
  processOf,
  requestOf,
  requestRecord,
  scheduleRecord,
  sourceRecord,
  subject,
} from "./store-samples.ts";

export type StoreHarness = {
  /** A store on the harness's medium; the same medium each time. */
  open(): Promise<Store>;
  dispose(): Promise<void>;
};

/** What a test has in hand. */
type Held = { store: Store; open(): Promise<Store>; reopen(): Promise<void> };

const settled = async (promises: readonly Promise<unknown>[]): Promise<readonly string[]> =>
  (await Promise.allSettled(promises)).map((result) =>
    result.status === "fulfilled" ? "ok" : String((result.reason as { code?: unknown }).code),
  );

export function storeConformance(name: string, makeHarness: () => Promise<StoreHarness>): void {
  describe(`${name} keeps the store's contract`, () => {
    const held = {} as Held;
    let harness: StoreHarness;
    beforeEach(async () => {
      harness = await makeHarness();
      held.open = () => harness.open();
      held.reopen = async () => {
        await held.store.close();
        held.store = await harness.open();
      };
      held.store = await harness.open();
    });
    afterEach(async () => {
      await held.store.close();
      await harness.dispose();
    });
    describe("S1: what was acknowledged is there when the store is opened again", () => durability(held));
    describe("S2 and S3: all or nothing, on what was expected", () => atomicity(held));
    describe("S4: in the order of the calls", () => order(held));
    describe("S5: one owner, and an end", () => ownership(held));
    describe("journals and payloads", () => journals(held));
    describe("processes", () => processes(held));
    describe("timed waits", () => waits(held));
    describe("requests", () => requests(held));
    describe("schedules", () => schedules(held));
    describe("sources", () => sources(held));
    describe("keys of subjects", () => keys(held));
    describe("report and check", () => reports(held));
  });
}

function durability(held: Held): void {
  it("keeps every kind of thing that a batch can hold", async () => {
    const [process, request] = [processOf(1), requestRecord(1)];
    const payload = { address: addressOf(1), subject, text: `"text"` };
    await held.store.append({
      journals: [appendOf(pidOf(1), 0, 3)],
      payloads: [payload],
      processes: [process],
      requests: [request],
      schedules: [scheduleRecord("nightly")],
    });
    const key = await held.store.subjectKey(subject, new Uint8Array(32).fill(7));
    await held.reopen();
    expect(await held.store.events(pidOf(1), 0, 10)).toEqual(eventsOf(pidOf(1), 0, 3));
    expect(await held.store.payloads([addressOf(1)])).toEqual(new Map([[addressOf(1), `"text"`]]));
    expect(await held.store.process(pidOf(1))).toEqual(process);
    expect(await held.store.request(requestOf(1))).toEqual(request);
    expect(await held.store.schedule("nightly")).toEqual(scheduleRecord("nightly"));
    expect(await held.store.subjectKey(subject, new Uint8Array(32))).toEqual(key);
  });

  it("goes on from where it was", async () => {
    for (let round = 0; round < 3; round += 1) {
      await held.store.append({ journals: [appendOf(pidOf(1), round * 2, 2), appendOf(pidOf(10 + round), 0)] });
      await held.reopen();
    }
    expect(await settled([held.store.append({ journals: [appendOf(pidOf(1), 4)] })])).toEqual(["conflict"]);
    expect(await held.store.events(pidOf(1), 0, 100)).toEqual(eventsOf(pidOf(1), 0, 6));
    expect(await held.store.check()).toEqual([]);
  });

  it("finishes what was called before `close`", async () => {
    const appends = Array.from({ length: 20 }, (_, seq) => held.store.append({ journals: [appendOf(pidOf(1), seq)] }));
    const outcomes = settled(appends);
    await held.reopen();
    expect(new Set(await outcomes)).toEqual(new Set(["ok"]));
    expect(await held.store.events(pidOf(1), 0, 100)).toHaveLength(20);
  });
}

function atomicity(held: Held): void {
  it("writes a batch over several processes whole", async () => {
    await held.store.append({
      journals: [appendOf(pidOf(1), 0, 2), appendOf(pidOf(2), 0, 1)],
      processes: [processOf(1), processOf(2)],
    });
    expect(await held.store.events(pidOf(1), 0, 9)).toHaveLength(2);
    expect(await held.store.events(pidOf(2), 0, 9)).toHaveLength(1);
  });

  it("writes nothing of a batch of which one journal is not as expected", async () => {
    const kept = scheduleRecord("kept");
    await held.store.append({ journals: [appendOf(pidOf(1), 0)], processes: [processOf(1)], schedules: [kept] });
    const payload = { address: addressOf(1), subject, text: `"never"` };
    const batch = {
      journals: [appendOf(pidOf(2), 0), appendOf(pidOf(1), 0), appendOf(pidOf(3), 0)],
      payloads: [payload],
      processes: [processOf(1, { state: "exited" }), processOf(2)],
      requests: [requestRecord(1)],
      removedSchedules: ["kept"],
      schedules: [scheduleRecord("never")],
    };
    await expect(held.store.append(batch)).rejects.toMatchObject({
      code: "conflict",
      data: { what: "journal", id: pidOf(1), expected: 0, found: 1 },
    });
    expect(await held.store.lastEvent(pidOf(2))).toBeUndefined();
    expect(await held.store.events(pidOf(3), 0, 9)).toEqual([]);
    expect(await held.store.payloads([addressOf(1)])).toEqual(new Map());
    expect(await held.store.processes({ limit: 9 })).toEqual([processOf(1)]);
    expect(await held.store.request(requestOf(1))).toBeUndefined();
    expect(await held.store.schedules()).toEqual([kept]);
  });

  it("rejects what expects too little, too much, or something of an unknown process", async () => {
    await held.store.append({ journals: [appendOf(pidOf(1), 0, 3)] });
    const wrong = [appendOf(pidOf(1), 0), appendOf(pidOf(1), 2), appendOf(pidOf(1), 4), appendOf(pidOf(2), 1)];
    expect(await settled(wrong.map((journal) => held.store.append({ journals: [journal] })))).toEqual([
      "conflict",
      "conflict",
      "conflict",
      "conflict",
    ]);
    expect(await held.store.events(pidOf(1), 0, 9)).toHaveLength(3);
  });

  it("checks what is expected of a journal to which nothing is added", async () => {
    await held.store.append({ journals: [appendOf(pidOf(1), 0, 1)] });
    const check = (expected: number): Promise<void> =>
      held.store.append({ journals: [{ pid: pidOf(1), expected, events: [] }], requests: [requestRecord(expected)] });
    expect(await settled([check(0), check(1)])).toEqual(["conflict", "ok"]);
    expect(await held.store.request(requestOf(0))).toBeUndefined();
    expect(await held.store.request(requestOf(1))).toBeDefined();
  });

  it("lets one of many win who append the same at the same time", async () => {
    const outcomes = await settled(
      Array.from({ length: 30 }, () => held.store.append({ journals: [appendOf(pidOf(1), 0)] })),
    );
    expect(outcomes.toSorted()).toEqual([...Array<string>(29).fill("conflict"), "ok"]);
    expect(await held.store.events(pidOf(1), 0, 99)).toHaveLength(1);
  });

  it("does not let a conflict harm the batches that travel with it", async () => {
    const batches = Array.from({ length: 60 }, (_, n) =>
      held.store.append({ journals: [appendOf(pidOf(100 + n), 0, 2), appendOf(pidOf(n), n % 3 === 0 ? 1 : 0)] }),
    );
    expect(await settled(batches)).toEqual(Array.from({ length: 60 }, (_, n) => (n % 3 === 0 ? "conflict" : "ok")));
    for (let n = 0; n < 60; n += 1) {
      const there = n % 3 !== 0;
      expect(await held.store.events(pidOf(100 + n), 0, 9), `journal ${100 + n}`).toHaveLength(there ? 2 : 0);
      expect(await held.store.events(pidOf(n), 0, 9), `journal ${n}`).toHaveLength(there ? 1 : 0);
    }
    expect(await held.store.check()).toEqual([]);
  });

  it("refuses a batch that contradicts itself, and no other", async () => {
    const [pid, other] = [pidOf(1), pidOf(2)];
    const broken = [
      { pid, expected: 0, events: eventsOf(pid, 1, 1) },
      { pid, expected: 0, events: [...eventsOf(pid, 0, 1), ...eventsOf(pid, 2, 1)] },
      { pid, expected: 0, events: eventsOf(other, 0, 1) },
    ].map((journal) => held.store.append({ journals: [journal] }));
    const twice = held.store.append({ journals: [appendOf(pid, 0), appendOf(pid, 0)] });
    const sound = held.store.append({ journals: [appendOf(other, 0)] });
    expect(await settled([...broken, twice, sound])).toEqual(["internal", "internal", "internal", "internal", "ok"]);
    expect(await held.store.events(pid, 0, 9)).toEqual([]);
    expect(await held.store.events(other, 0, 9)).toHaveLength(1);
  });
}

function order(held: Held): void {
  it("commits appends to one journal in the order in which they were called, and answers in it", async () => {
    const answered: number[] = [];
    await Promise.all(
      Array.from({ length: 200 }, (_, seq) =>
        held.store.append({ journals: [appendOf(pidOf(1), seq)] }).then(() => answered.push(seq)),
      ),
    );
    expect(answered).toEqual(Array.from({ length: 200 }, (_, seq) => seq));
    expect(await held.store.events(pidOf(1), 0, 999)).toEqual(eventsOf(pidOf(1), 0, 200));
  });

  it("shows an append that has resolved to every question that is asked after it", async () => {
    for (let seq = 0; seq < 20; seq += 1) {
      await held.store.append({ journals: [appendOf(pidOf(1), seq)], processes: [processOf(1, { events: seq + 1 })] });
      const [last, process] = await Promise.all([held.store.lastEvent(pidOf(1)), held.store.process(pidOf(1))]);
      expect(last?.seq).toBe(seq);
      expect(process?.events).toBe(seq + 1);
    }
  });

  it("keeps a thousand writers apart", async () => {
    await Promise.all(
      Array.from({ length: 1_000 }, async (_, n) => {
        await held.store.append({ journals: [appendOf(pidOf(n), 0)], processes: [processOf(n)] });
        await held.store.append({ journals: [appendOf(pidOf(n), 1)] });
      }),
    );
    const written = await Promise.all(Array.from({ length: 1_000 }, (_, n) => held.store.events(pidOf(n), 0, 9)));
    expect(written).toEqual(Array.from({ length: 1_000 }, (_, n) => eventsOf(pidOf(n), 0, 2)));
    expect(await held.store.processes({ limit: 2_000 })).toHaveLength(1_000);
    expect(await held.store.check()).toEqual([]);
  });
}

function ownership(held: Held): void {
  it("is busy for a second one at once, and unharmed by it", async () => {
    await expect(held.open()).rejects.toMatchObject({ code: "store_busy" });
    await expect(held.open()).rejects.toMatchObject({ code: "store_busy" });
    await held.store.append({ journals: [appendOf(pidOf(1), 0)] });
    expect(await held.store.events(pidOf(1), 0, 9)).toHaveLength(1);
  });

  it("is free again after `close`, which may be called twice", async () => {
    await Promise.all([held.store.close(), held.store.close()]);
    await held.store.close();
    held.store = await held.open();
    expect(await held.store.processes({ limit: 1 })).toEqual([]);
  });

  it("takes no call after `close`", async () => {
    await held.store.close();
    const calls = [
      held.store.append({ journals: [] }),
      held.store.events(pidOf(1), 0, 1),
      held.store.processes({ limit: 1 }),
      held.store.report(),
      held.store.check(),
      held.store.subjectKey(subject, new Uint8Array(32)),
    ];
    expect(new Set(await settled(calls))).toEqual(new Set(["store_failed"]));
  });
}

function journals(held: Held): void {
  it("reads any part of a journal", async () => {
    const pid = pidOf(1);
    for (let at = 0; at < 300; at += 100)
      await held.store.append({ journals: [appendOf(pid, at, 100), appendOf(pidOf(2), at / 100)] });
    const all = eventsOf(pid, 0, 300);
    for (const from of [0, 1, 62, 63, 64, 65, 127, 128, 255, 299, 300, 1_000])
      for (const limit of [0, 1, 2, 63, 64, 65, 500])
        expect(await held.store.events(pid, from, limit), `${limit} from ${from}`).toEqual(
          all.slice(from, from + limit),
        );
    expect(await held.store.lastEvent(pid)).toEqual(all.at(-1));
  });

  it("has nothing of an unknown process", async () => {
    expect(await held.store.events(pidOf(9), 0, 10)).toEqual([]);
    expect(await held.store.lastEvent(pidOf(9))).toBeUndefined();
    expect(await held.store.process(pidOf(9))).toBeUndefined();
    expect(await held.store.request(requestOf(9))).toBeUndefined();
  });

  it("gives texts back as they were, in any script", async () => {
    const pid = pidOf(1);
    const texts = [
      "",
      " ",
      `{"a":"ä€😀"}`,
      `"\\u0000\\ud800"`,
      `'"; DROP TABLE events; --`,
      "\u{2028}\u{FEFF}\r\n\t",
      "한국어 العربية עברית",
      "e\u0301",
    ];
    const events = texts.map((text, seq) => ({
      pid,
      seq,
      header: text,
      hash: `${seq}`.padEnd(43, "-_"),
      inline: text,
    }));
    await held.store.append({
      journals: [{ pid, expected: 0, events }],
      payloads: texts.map((text, n) => ({ address: addressOf(n), subject, text })),
      processes: [processOf(1, { agent: texts.join("") })],
    });
    await held.reopen();
    expect(await held.store.events(pid, 0, 99)).toEqual(events);
    expect(await held.store.payloads(texts.map((_, n) => addressOf(n)))).toEqual(
      new Map(texts.map((text, n) => [addressOf(n), text])),
    );
    expect((await held.store.process(pid))?.agent).toBe(texts.join(""));
  });

  it("keeps a payload once, the first text that came", async () => {
    const put = (text: string): Promise<void> =>
      held.store.append({ journals: [], payloads: [{ address: addressOf(1), subject, text }] });
    await Promise.all([put(`"first"`), put(`"second"`)]);
    await put(`"third"`);
    expect(await held.store.payloads([addressOf(2), addressOf(1), addressOf(1)])).toEqual(
      new Map([[addressOf(1), `"first"`]]),
    );
    expect(await held.store.payloads([])).toEqual(new Map());
  });

  it("keeps large payloads", async () => {
    const texts = [1, 2, 3].map((n) => JSON.stringify(`${n}ü😀`.repeat(260_000)));
    const payloads = texts.map((text, n) => ({ address: addressOf(n), subject, text }));
    await Promise.all(
      payloads.map((payload, n) => held.store.append({ journals: [appendOf(pidOf(n), 0)], payloads: [payload] })),
    );
    await held.reopen();
    const found = await held.store.payloads(payloads.map(({ address }) => address));
    expect(payloads.every(({ address, text }) => found.get(address) === text)).toBe(true);
  });
}

function processes(held: Held): void {
  /** Process 0 is the root of 1, 2 and 3; 3 is a child of 2; 4 and 5 stand alone. Created in this order. */
  const family = [
    processOf(0, { state: "running" }),
    processOf(1, { state: "waiting", root: pidOf(0), parent: pidOf(0), wakeMs: 5_000 }),
    processOf(2, {
      state: "waiting",
      root: pidOf(0),
      parent: pidOf(0),
      waits: [{ on: "process", call: 3, pid: pidOf(3) }],
    }),
    processOf(3, {
      state: "exited",
      root: pidOf(0),
      parent: pidOf(2),
      exit: { how: "completed", result: { ok: true } },
    }),
    processOf(4, { state: "stopped" }),
    processOf(5, { state: "ready" }),
  ];
  const found = async (query: Omit<ProcessQuery, "limit"> & { limit?: number }): Promise<readonly number[]> =>
    (await held.store.processes({ limit: 99, ...query })).map(({ pid }) =>
      family.findIndex((process) => process.pid === pid),
    );

  beforeEach(async () => {
    for (const process of family)
      await held.store.append({ journals: [appendOf(process.pid, 0)], processes: [process] });
  });

  it("gives rows back as they were", async () => {
    for (const process of family) expect(await held.store.process(process.pid)).toEqual(process);
    expect(await held.store.processes({ limit: 99, order: "oldest" })).toEqual(family);
  });

  it("lists the newest first, or the oldest", async () => {
    expect(await found({})).toEqual([5, 4, 3, 2, 1, 0]);
    expect(await found({ order: "newest", limit: 2 })).toEqual([5, 4]);
    expect(await found({ order: "oldest", limit: 3 })).toEqual([0, 1, 2]);
    expect(await found({ limit: 0 })).toEqual([]);
  });

  it("selects by state", async () => {
    expect(await found({ states: ["waiting"] })).toEqual([2, 1]);
    expect(await found({ states: ["ready", "running", "stopped"] })).toEqual([5, 4, 0]);
    expect(await found({ states: ["ready", "waiting"], limit: 2 })).toEqual([5, 2]);
    expect(await found({ states: ["ready", "waiting", "ready"], order: "oldest", limit: 2 })).toEqual([1, 2]);
    expect(await found({ states: [] })).toEqual([]);
  });

  it("selects by tree, by parent and by the beginning of an id", async () => {
    expect(await found({ root: pidOf(0) })).toEqual([3, 2, 1, 0]);
    expect(await found({ parent: pidOf(0) })).toEqual([2, 1]);
    expect(await found({ parent: pidOf(5) })).toEqual([]);
    expect(await found({ prefix: pidOf(3) })).toEqual([3]);
    expect(await found({ prefix: "p_" })).toEqual([5, 4, 3, 2, 1, 0]);
    expect(await found({ prefix: "" })).toHaveLength(6);
    expect(await found({ prefix: "p%" })).toEqual([]);
    expect(await found({ prefix: `${pidOf(3)}0` })).toEqual([]);
  });

  it("goes on before a process, for paging", async () => {
    expect(await found({ before: pidOf(3), limit: 2 })).toEqual([2, 1]);
    expect(await found({ before: pidOf(0) })).toEqual([]);
    expect(await found({ before: pidOf(3), order: "oldest" })).toEqual([0, 1, 2]);
    expect(await found({ before: pidOf(77) })).toEqual([]);
  });

  it("takes several conditions together", async () => {
    expect(await found({ root: pidOf(0), states: ["waiting", "exited"], limit: 2 })).toEqual([3, 2]);
    expect(
      await found({ root: pidOf(0), parent: pidOf(2), states: ["exited"], prefix: "p_", before: pidOf(5) }),
    ).toEqual([3]);
    expect(await found({ root: pidOf(0), parent: pidOf(2), states: ["running"] })).toEqual([]);
  });

  it("replaces a row without moving it, and finds it under what it is now", async () => {
    const changed = processOf(1, {
      state: "running",
      root: pidOf(4),
      parent: pidOf(4),
      wakeMs: null,
      spent: { calls: 9, inputTokens: 1, outputTokens: 2, costUsd: 3 },
    });
    await held.store.append({ journals: [appendOf(pidOf(1), 1)], processes: [changed] });
    expect(await held.store.process(pidOf(1))).toEqual(changed);
    expect(await found({})).toEqual([5, 4, 3, 2, 1, 0]);
    expect(await found({ states: ["running"] })).toEqual([1, 0]);
    expect(await found({ root: pidOf(0) })).toEqual([3, 2, 0]);
    expect(await found({ parent: pidOf(4) })).toEqual([1]);
    const again = { ...changed, updatedMs: 99_999 };
    await held.store.append({ journals: [], processes: [again] });
    expect(await held.store.process(pidOf(1))).toEqual(again);
    for (const [field, pid] of [
      ["root", pidOf(5)],
      ["parent", pidOf(3)],
    ] as const) {
      await held.store.append({ journals: [], processes: [{ ...again, [field]: pid }] });
      expect(await found({ [field]: pid, before: pidOf(5) }), field).toEqual([1]);
    }
  });
}

function waits(held: Held): void {
  const put = (n: number, fields: Partial<ProcessRecord>): Promise<void> =>
    held.store.append({ journals: [], processes: [processOf(n, fields)] });

  it("has none at first", async () => {
    await put(1, { state: "waiting" });
    await put(2, { state: "running", wakeMs: 10 });
    expect(await held.store.nextWakeMs()).toBeNull();
    expect(await held.store.due(1e15, 10)).toEqual([]);
  });

  it("gives those that are due, the earliest first, up to and with the moment asked for", async () => {
    for (const [n, wakeMs] of [
      [1, 3_000],
      [2, 1_000],
      [3, 2_000.5],
      [4, 1_000],
    ] as const)
      await put(n, { state: "waiting", wakeMs });
    await put(5, { state: "stopped", wakeMs: 1 });
    expect(await held.store.nextWakeMs()).toBe(1_000);
    expect(await held.store.due(999, 10)).toEqual([]);
    expect(await held.store.due(1_000, 10)).toEqual([pidOf(2), pidOf(4)]);
    expect(await held.store.due(2_000.5, 10)).toEqual([pidOf(2), pidOf(4), pidOf(3)]);
    expect(await held.store.due(9_000, 2)).toEqual([pidOf(2), pidOf(4)]);
  });

  it("forgets a wait that is over", async () => {
    await put(1, { state: "waiting", wakeMs: 1_000 });
    await put(2, { state: "waiting", wakeMs: 2_000 });
    await put(1, { state: "ready", wakeMs: 1_000 });
    expect(await held.store.nextWakeMs()).toBe(2_000);
    await put(2, { state: "waiting", wakeMs: 4e12 });
    await held.reopen();
    expect(await held.store.nextWakeMs()).toBe(4e12);
    expect(await held.store.due(3e12, 10)).toEqual([]);
  });
}

function requests(held: Held): void {
  const put = (...records: RequestRecord[]): Promise<void> => held.store.append({ journals: [], requests: records });
  const open = async (query: { pid?: ProcessId; limit: number }): Promise<readonly RequestId[]> =>
    (await held.store.openRequests(query)).map(({ request }) => request);

  it("lists what is undecided, the oldest first, of all or of one process", async () => {
    await put(requestRecord(3), requestRecord(1, { pid: pidOf(2), openedMs: 1_004 }));
    await put(requestRecord(2, { openedMs: 1_005, kind: "question", options: ["yes", "no"] }));
    expect(await open({ limit: 9 })).toEqual([requestOf(3), requestOf(1), requestOf(2)]);
    expect(await open({ limit: 2 })).toEqual([requestOf(3), requestOf(1)]);
    expect(await open({ pid: pidOf(1), limit: 9 })).toEqual([requestOf(3), requestOf(2)]);
    expect(await open({ pid: pidOf(1), limit: 1 })).toEqual([requestOf(3)]);
    expect(await open({ pid: pidOf(7), limit: 9 })).toEqual([]);
  });

  it("keeps a decided one, with who decided, and lists it no more", async () => {
    const decided = requestRecord(1, { decided: { verdict: "approved", by: "ana" } });
    await put(requestRecord(1), requestRecord(2));
    await put(decided);
    expect(await held.store.request(requestOf(1))).toEqual(decided);
    expect(await held.store.openRequests({ limit: 9 })).toEqual([requestRecord(2)]);
    await held.reopen();
    expect(await held.store.request(requestOf(1))).toEqual(decided);
    expect(await open({ pid: pidOf(1), limit: 9 })).toEqual([requestOf(2)]);
  });
}

function sources(held: Held): void {
  it("has none at first", async () => {
    expect(await held.store.source("shop")).toBeUndefined();
  });

  it("gives one back as it was, replaces it by its name, and keeps it over a restart", async () => {
    const batch = { journals: [appendOf(pidOf(1), 0)], processes: [processOf(1)], schedules: [scheduleRecord("a")] };
    await held.store.append({ ...batch, sources: [sourceRecord("shop"), sourceRecord("mail", { tools: [] })] });
    expect(await held.store.source("shop")).toEqual(sourceRecord("shop"));
    const later = sourceRecord("shop", { tools: [{ ...sourceRecord("").tools[0]!, by: "ana", atMs: 2_000 }] });
    await held.store.append({ journals: [], sources: [later] });
    await held.reopen();
    expect(await held.store.source("shop")).toEqual(later);
    expect(await held.store.source("mail")).toEqual(sourceRecord("mail", { tools: [] }));
    expect(await held.store.source("Shop")).toBeUndefined();
    expect(await held.store.check()).toEqual([]);
  });

  it("writes none of a batch that conflicts", async () => {
    await held.store.append({ journals: [appendOf(pidOf(1), 0)], processes: [processOf(1)] });
    const late = held.store.append({
      journals: [appendOf(pidOf(1), 0)],
      schedules: [scheduleRecord("never")],
      sources: [sourceRecord("shop")],
    });
    const next = held.store.append({ journals: [], sources: [sourceRecord("mail")] });
    await expect(late).rejects.toMatchObject({ code: "conflict" });
    await next;
    expect(await held.store.source("shop")).toBeUndefined();
    expect(await held.store.source("mail")).toEqual(sourceRecord("mail"));
  });
}

function schedules(held: Held): void {
  const names = async (): Promise<readonly string[]> => (await held.store.schedules()).map(({ name }) => name);

  it("has none at first", async () => {
    expect(await held.store.schedules()).toEqual([]);
    expect(await held.store.schedule("nightly")).toBeUndefined();
  });

  it("gives them back as they were, by name", async () => {
    const once = scheduleRecord("Once", { cron: null, atMs: 5_000, nextMs: null, lastPid: pidOf(1), lastMs: 5_001 });
    await held.store.append({ journals: [], schedules: [scheduleRecord("b"), once] });
    await held.store.append({ journals: [], schedules: [scheduleRecord("a.1"), scheduleRecord("a-1")] });
    expect(await names()).toEqual(["Once", "a-1", "a.1", "b"]);
    expect(await held.store.schedule("Once")).toEqual(once);
    expect(await held.store.schedule("once")).toBeUndefined();
  });

  it("replaces one by its name, and removes those that are there", async () => {
    await held.store.append({ journals: [], schedules: [scheduleRecord("a"), scheduleRecord("b")] });
    const moved = scheduleRecord("a", { nextMs: 7_200_000, runs: 1, lastError: null });
    await held.store.append({ journals: [], schedules: [moved] });
    expect(await held.store.schedules()).toEqual([moved, scheduleRecord("b")]);
    await held.store.append({ journals: [], removedSchedules: ["b", "nobody"] });
    await held.reopen();
    expect(await held.store.schedules()).toEqual([moved]);
  });

  it("removes before it inserts, in one batch beside the rest of it", async () => {
    await held.store.append({ journals: [], schedules: [scheduleRecord("a")] });
    const again = scheduleRecord("a", { createdMs: 2_000 });
    await held.store.append({
      journals: [appendOf(pidOf(1), 0)],
      processes: [processOf(1)],
      requests: [requestRecord(1)],
      removedSchedules: ["a"],
      schedules: [again],
    });
    expect(await held.store.schedules()).toEqual([again]);
    expect(await held.store.process(pidOf(1))).toEqual(processOf(1));
    expect(await held.store.check()).toEqual([]);
  });
}

function keys(held: Held): void {
  it("lets one of many fresh keys win, for good", async () => {
    const fresh = Array.from({ length: 20 }, (_, n) => new Uint8Array(32).fill(n + 1));
    const answers = await Promise.all(fresh.map((key) => held.store.subjectKey(subject, key)));
    expect(answers).toEqual(fresh.map(() => answers[0]));
    expect(fresh).toContainEqual(answers[0]);
    await held.reopen();
    expect(await held.store.subjectKey(subject, new Uint8Array(32))).toEqual(answers[0]);
  });

  it("keeps subjects apart", async () => {
    const names = Array.from({ length: 50 }, (_, n) => `user:${n}@example.com` as SubjectId);
    const mixed = await Promise.all(
      names.map(async (name, n) => {
        await held.store.append({ journals: [appendOf(pidOf(n), 0)] });
        return held.store.subjectKey(name, new Uint8Array(32).fill(n));
      }),
    );
    expect(mixed).toEqual(names.map((_, n) => new Uint8Array(32).fill(n)));
  });

  it("shares no memory with its callers", async () => {
    const pool = new Uint8Array(64).fill(1);
    const asked = held.store.subjectKey(subject, pool.subarray(8, 40));
    pool.fill(2);
    const answer = await asked;
    expect(answer).toEqual(new Uint8Array(32).fill(1));
    answer.fill(3);
    expect(await held.store.subjectKey(subject, new Uint8Array(32))).toEqual(new Uint8Array(32).fill(1));
  });
}

function reports(held: Held): void {
  it("counts what it holds", async () => {
    expect(await held.store.report()).toMatchObject({ processes: 0, events: 0 });
    await held.store.append({
      journals: [appendOf(pidOf(1), 0, 5), appendOf(pidOf(2), 0, 2)],
      processes: [processOf(1), processOf(2)],
    });
    await held.store.append({ journals: [appendOf(pidOf(1), 5)], processes: [processOf(1)] });
    expect(await held.store.report()).toMatchObject({ processes: 2, events: 8 });
  });

  it("is sound, and says which process has no journal", async () => {
    await held.store.append({ journals: [appendOf(pidOf(1), 0)], processes: [processOf(1)] });
    expect(await held.store.check()).toEqual([]);
    await held.store.append({ journals: [], processes: [processOf(2)] });
    expect(await held.store.check()).toEqual([expect.stringContaining(pidOf(2))]);
  });
}
