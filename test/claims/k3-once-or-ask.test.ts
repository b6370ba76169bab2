// K3: once, or ask. An effect that is not known to be idempotent is never performed twice by the system itself.
//
// Method: the system is cut off between the dispatch of an effect and its outcome, and booted again on the same store.
// Whole, the effect is settled (by reconcile, by its key, or by a human). Unplugged (the tool passed off as one that only
// reads, so that the intent is not written), the second boot performs it again.
import { afterEach, describe, expect, it } from "vitest";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { ToolManifest } from "../../src/abi/tools.ts";
import type { Store } from "../../src/ports/store.ts";
import { bootTest, done, fakeTools, type TestSystem, type TestTool } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const mediums: Medium[] = [];
afterEach(() => mediums.splice(0).forEach((medium) => medium.dispose()));

const agents = {
  payer: {
    manifest: { tools: ["bank.pay"] },
    run: async (sys: Parameters<NonNullable<Parameters<typeof bootTest>[0]["agents"][string]["run"]>>[0]) =>
      (await sys.tool.call({ tool: "bank.pay", args: { cents: 500 } })).text,
  },
};

type Second = {
  readonly system: TestSystem;
  readonly store: Store;
  readonly pid: ProcessId;
  readonly performedAgain: number;
  close(): Promise<void>;
};

/** Cuts the first system off while the payment is under way, and boots a second one. */
async function interrupted(tool: Omit<TestTool, "run"> & { manifest: Partial<ToolManifest> }): Promise<Second> {
  const medium = temporaryMedium();
  mediums.push(medium);
  const first = await medium.open();
  let dispatched = (): void => {};
  const underWay = new Promise<void>((resolve) => (dispatched = resolve));
  const hanging = fakeTools({ "bank.pay": { ...tool, run: () => (dispatched(), new Promise(() => {})) } });
  const one = await bootTest({ store: first, agents, tools: hanging });
  const { pid } = await one.operate("process.spawn", { agent: "payer", task: null }, "test");
  await underWay;
  one.close();
  await first.close();

  const store = await medium.open();
  const tools = fakeTools({ "bank.pay": { ...tool, run: () => done("paid") } });
  const system = await bootTest({ store, agents, tools });
  return {
    system,
    store,
    pid,
    get performedAgain() {
      return tools.performed.length;
    },
    close: async () => {
      system.close();
      await store.close();
    },
  };
}

/** The settlement that the process asks for, once it does. */
async function settlement({ system, pid }: Second): Promise<string> {
  for await (const item of system.follow(pid, 0, AbortSignal.timeout(50_000))) {
    if (item.kind === "event" && item.event.header.kind === "request.opened") return item.event.header.request;
  }
  throw new Error("No settlement was asked for.");
}

const exitOf = async ({ system, pid }: Second): Promise<unknown> =>
  (await system.operate("process.wait", { pid, timeoutMs: 50_000 }, "test")).exit;

describe("K3 once, or ask", () => {
  it("asks a human when nothing else can tell, and takes his word that it was done", async () => {
    const second = await interrupted({ manifest: { effect: "write" } });
    const request = await settlement(second);
    expect(second.performedAgain).toBe(0);
    await second.system.operate(
      "human.decide",
      {
        request: request as never,
        decision: { verdict: "settled", outcome: "done", result: { text: "paid, says the bank" } },
      },
      "ann",
    );
    expect(await exitOf(second)).toEqual({ how: "completed", result: "paid, says the bank" });
    expect(second.performedAgain).toBe(0);
    await second.close();
  });

  it("performs it when a human says that it was not done", async () => {
    const second = await interrupted({ manifest: { effect: "write" } });
    const request = await settlement(second);
    await second.system.operate(
      "human.decide",
      { request: request as never, decision: { verdict: "settled", outcome: "not_done" } },
      "ann",
    );
    expect(await exitOf(second)).toEqual({ how: "completed", result: "paid" });
    expect(second.performedAgain).toBe(1);
    await second.close();
  });

  it("takes the word of the tool's own reconcile", async () => {
    const second = await interrupted({
      manifest: { effect: "write", reconcile: "find" },
      reconcile: async () => ({ status: "done", content: { text: "found it" } }),
    });
    expect(await exitOf(second)).toEqual({ how: "completed", result: "found it" });
    expect(second.performedAgain).toBe(0);
    await second.close();
  });

  it("repeats under the same key where the tool declares that harmless", async () => {
    const second = await interrupted({ manifest: { effect: "write", idempotency: "key" } });
    expect(await exitOf(second)).toEqual({ how: "completed", result: "paid" });
    const { events } = await second.system.operate("journal.read", { pid: second.pid }, "test");
    const keys = events.flatMap(({ header }) => (header["kind"] === "call.intended" ? [header["key"]] : []));
    expect(keys).toEqual([`${second.pid}.0`, `${second.pid}.0`]);
    await second.close();
  });

  it("breaks when the intent is unplugged: the payment is made again without a word", async () => {
    const second = await interrupted({ manifest: { effect: "read" } });
    expect(await exitOf(second)).toEqual({ how: "completed", result: "paid" });
    expect(second.performedAgain).toBe(1);
    await second.close();
  });
});
