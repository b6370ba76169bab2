// The line to the thread: how calls are gathered into groups, and what its death does to those who wait.
//
// Method: a thread that only records what it is sent, so that the test decides when it answers; and a real one that is ended.
import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { appendOf, pidOf } from "../../../test/conformance/store-samples.ts";
import { firstWord, ThreadLink } from "./link.ts";
import { openSqliteStore } from "./store.ts";
import type { Cell, FromThread, ToThread } from "./wire.ts";
import { packBatch } from "./wire.ts";

class SilentThread extends EventEmitter {
  readonly sent: ToThread[] = [];
  readonly awake: boolean[] = [];
  postMessage(message: ToThread): void {
    this.sent.push(message);
  }
  ref(): void {
    this.awake.push(true);
  }
  unref(): void {
    this.awake.push(false);
  }
  answer(message: FromThread): void {
    this.emit("message", message);
  }
}

function linked(): { readonly thread: SilentThread; readonly link: ThreadLink } {
  const thread = new SilentThread();
  return { thread, link: new ThreadLink(thread as unknown as Worker, "/folder") };
}

const writes = (link: ThreadLink, ...names: string[]): Promise<void>[] =>
  names.map((name) =>
    link.write((cells) => {
      cells.push(name);
      return name.length;
    }),
  );
const cellsOf = (message: ToThread | undefined): readonly Cell[] => (message?.kind === "group" ? message.cells : []);
const done: FromThread = { kind: "group", written: { conflicts: [], keys: [] }, reads: [] };

describe("groups", () => {
  it("hold what was called in one turn, and then what was called while the thread was busy, in order", async () => {
    const { thread, link } = linked();
    const first = writes(link, "a", "b");
    expect(thread.sent).toEqual([]);
    await nextTurn();
    const second = writes(link, "c");
    await nextTurn();
    second.push(...writes(link, "d", "e"));
    await nextTurn();
    expect(thread.sent.map(cellsOf)).toEqual([["a", "b"]]);
    thread.answer(done);
    expect(thread.sent.map(cellsOf)).toEqual([
      ["a", "b"],
      ["c", "d", "e"],
    ]);
    await Promise.all(first);
    thread.answer(done);
    await Promise.all(second);
    expect(thread.awake.at(-1), "an idle store does not keep the program alive").toBe(false);
  });

  it("take no more text than fits, nor more questions", async () => {
    const { thread, link } = linked();
    const big = (name: string): Promise<void> =>
      link.write((cells) => {
        cells.push(name);
        return 12_000_000;
      });
    const calls: Promise<unknown>[] = [
      big("a"),
      big("b"),
      big("c"),
      ...Array.from({ length: 70 }, () => link.read("nextWakeMs", {})),
    ];
    await nextTurn();
    thread.answer(done);
    thread.answer({ ...done, reads: Array.from({ length: 64 }, () => ({ answer: 1 })) });
    thread.answer({ ...done, reads: Array.from({ length: 6 }, () => ({ answer: 2 })) });
    expect(thread.sent.map(cellsOf)).toEqual([["a", "b"], ["c"], []]);
    expect(await Promise.all(calls)).toEqual([
      undefined,
      undefined,
      undefined,
      ...Array<number>(64).fill(1),
      ...Array<number>(6).fill(2),
    ]);
  });

  it("do not take in a call whose batch cannot be packed", async () => {
    const { thread, link } = linked();
    const broken = link.write(() => {
      throw new Error("contradicts itself");
    });
    const sound = writes(link, "a");
    await expect(broken).rejects.toThrow("contradicts itself");
    await nextTurn();
    thread.answer(done);
    await Promise.all(sound);
    expect(thread.sent.map(cellsOf)).toEqual([["a"]]);
  });

  it("answer each call with its own outcome", async () => {
    const { thread, link } = linked();
    const conflict = { code: "conflict", message: "no", retryable: false, data: {} } as const;
    const calls = [...writes(link, "a", "b", "c"), link.read("nextWakeMs", {}), link.read("process", { pid: "p" })];
    const settled = Promise.allSettled(calls);
    await nextTurn();
    thread.answer({
      kind: "group",
      written: { conflicts: [{ at: 1, error: conflict }], keys: [] },
      reads: [{ answer: 5 }, conflict],
    });
    expect(
      (await settled).map((one) => (one.status === "fulfilled" ? one.value : (one.reason as { code: string }).code)),
    ).toEqual([undefined, "conflict", undefined, 5, "conflict"]);
  });

  it("are all sent before the thread is told to close", async () => {
    const { thread, link } = linked();
    const calls = writes(link, "a");
    const closed = link.close();
    await expect(link.read("nextWakeMs", {})).rejects.toMatchObject({ code: "store_failed" });
    await nextTurn();
    expect(thread.sent.map(({ kind }) => kind)).toEqual(["group"]);
    thread.answer(done);
    await nextTurn();
    expect(thread.sent.map(({ kind }) => kind)).toEqual(["group", "close"]);
    thread.answer({ kind: "closed", error: null });
    await Promise.all([...calls, closed, link.close()]);
  });
});

describe("a thread that dies", () => {
  const dead = { code: "store_failed", data: { reason: "io" } };

  it("rejects all who wait and all who come later, and leaves the folder free", async () => {
    const folder = mkdtempSync(join(tmpdir(), "reeve-link-"));
    const worker = new Worker(new URL("worker.ts", import.meta.url), {
      workerData: { folder, task: "serve" },
      execArgv: [],
    });
    expect(await firstWord(worker, folder)).toEqual({ kind: "opened" });
    const link = new ThreadLink(worker, folder);
    await link.write((cells) => packBatch(cells, { journals: [appendOf(pidOf(1), 0)] }));
    const waiting = [
      link.write((cells) => packBatch(cells, { journals: [appendOf(pidOf(1), 1)] })),
      link.read("report", {}),
      link.key({ subject: "s", fresh: new Uint8Array(32) }),
    ];
    const outcomes = Promise.allSettled(waiting);
    await worker.terminate();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: dead });
    await expect(link.read("report", {})).rejects.toMatchObject(dead);
    await link.close();
    const store = await openSqliteStore({ folder });
    expect((await store.events(pidOf(1), 0, 9)).length).toBeGreaterThanOrEqual(1);
    await store.close();
    rmSync(folder, { recursive: true });
  });

  it("rejects with what killed it", async () => {
    const { thread, link } = linked();
    const calls: Promise<unknown>[] = [...writes(link, "a"), link.key({ subject: "s", fresh: new Uint8Array(32) })];
    await nextTurn();
    calls.push(...writes(link, "b"), link.read("nextWakeMs", {}), link.close());
    const outcomes = Promise.allSettled(calls);
    thread.emit("error", new Error("out of memory"));
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({
        status: "rejected",
        reason: { ...dead, message: expect.stringContaining("out of memory") },
      });
  });

  it("before it could begin is an error of the open", async () => {
    const thread = new SilentThread();
    const word = firstWord(thread as unknown as Worker, "/folder");
    thread.emit("exit", 3);
    await expect(word).rejects.toMatchObject(dead);
  });
});
