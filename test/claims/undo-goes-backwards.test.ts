// Taking back: what a process did is taken back by its tools' own undo, the last first, each once and on the record, with a human's yes
// where a rule asks for one.
//
// Method: an agent makes an order and ships it, at a shop that takes back no order that is shipped. Whole, `undo` recalls the
// parcel and then the order; said again it does nothing; what destroys asks first. Unplugged (a plan from the first to the last; a
// program that does not say what its calls take back; a governance that asks nobody), the order stays, the parcel is recalled
// twice, and nobody has said yes.
import { afterEach, describe, expect, it } from "vitest";
import type { Event } from "../../src/abi/events.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Json, JsonObject } from "../../src/abi/json.ts";
import { createNativeHost } from "../../src/drivers/program-native/host.ts";
import { systemClock } from "../../src/drivers/system/clock.ts";
import { createGovernance } from "../../src/governance/rules.ts";
import type { Governance } from "../../src/ports/governance.ts";
import type { SourceTool, ToolOutcome, ToolSource } from "../../src/ports/tools.ts";
import { makeSys, type Sys } from "../../src/sdk/sys.ts";
import { undo, type UndoTask } from "../../src/sdk/undo.ts";
import { createTools } from "../../src/tools/registry.ts";
import { bootTest, type TestProgram, type TestSystem } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const mediums: Medium[] = [];
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  mediums.splice(0).forEach((medium) => medium.dispose());
});

const tool = (name: string, declared: SourceTool["declared"]): SourceTool => ({
  ...{ name, description: name, inputSchema: { type: "object" }, declared },
});
const failed = (text: string): ToolOutcome => ({ kind: "failed", content: { text } });

/** Orders and parcels by the key of the call that made them, and what was asked of it. */
class Shop implements ToolSource {
  readonly isolation = "none";
  readonly asked: string[] = [];
  readonly orders = new Set<string>();
  readonly parcels = new Map<string, string>();
  readonly #recall: "write" | "destroy";

  constructor(recall: "write" | "destroy") {
    this.#recall = recall;
  }

  tools = async (): Promise<readonly SourceTool[]> => this.#listing;
  readonly #listing = [
    tool("order", { effect: "write", undo: "cancel" }),
    tool("ship", { effect: "send", undo: "recall" }),
    tool("cancel", { effect: "write" }),
    tool("recall", { effect: "write" }),
  ];

  call: ToolSource["call"] = async (name, args, { key }) => {
    this.asked.push(name);
    if (name === "order") this.orders.add(key);
    if (name === "ship") this.parcels.set(key, args["order"] as string);
    if (name === "recall") this.parcels.delete(args["key"] as string);
    if (name === "cancel") {
      const order = args["key"] as string;
      if ([...this.parcels.values()].includes(order)) return failed(`order ${order} is shipped`);
      this.orders.delete(order);
    }
    return { kind: "done", content: { text: name, data: { key } } };
  };

  get overrides(): { recall: { effect: "write" | "destroy" } } {
    return { recall: { effect: this.#recall } };
  }

  close = async (): Promise<void> => {};
}

type Undo = (sys: Sys, task: UndoTask) => Promise<Json>;
/** From the first to the last. */
const forwards: Undo = (sys, task) => undo(sys, { ...task, steps: task.steps.toReversed() });
/** The same calls, but they do not say what they take back. */
const silent: Undo = (sys, task) => {
  const call: Sys["tool"]["call"] = ({ undoes: _, ...args }) => sys.tool.call(args);
  return undo({ ...sys, tool: { ...sys.tool, call } }, task);
};
const askingNobody: Governance = { ...createGovernance(), decide: () => ({ kind: "allow" }) };

type World = {
  readonly system: TestSystem;
  readonly shop: Shop;
  readonly pid: ProcessId;
  /** Has it undone; answers with the process that did it, and how that ended. */
  readonly takeBack: () => Promise<{ by: ProcessId; result: JsonObject }>;
};

async function world(
  parts: { program?: Undo; recall?: "write" | "destroy"; governance?: Governance } = {},
): Promise<World> {
  const { program = undo, recall = "write", governance = createGovernance() } = parts;
  const medium = temporaryMedium();
  mediums.push(medium);
  const shop = new Shop(recall);
  const store = await medium.open();
  const sources = new Map([["shop", { source: shop, overrides: shop.overrides, outside: false }]]);
  const tools = createTools({ sources, store, clock: systemClock, onNotice: () => {} });
  const run: TestProgram = async (sys) => {
    const { data } = await sys.tool.call({ tool: "shop.order", args: {} });
    await sys.tool.call({ tool: "shop.ship", args: { order: (data as { key: string }).key } });
    return null;
  };
  const programs = createNativeHost({
    native: new Map([
      ["buyer", (start) => run(makeSys(start.issue), start.task)],
      ["undo", (start) => program(makeSys(start.issue), start.task as UndoTask)],
    ]),
  });
  const system = await bootTest({
    store,
    tools,
    agents: { buyer: { manifest: { tools: ["shop.order", "shop.ship"] }, run } },
    parts: { programs, governance },
  });
  closing.push(async () => {
    system.close();
    await store.close();
  });
  const { pid } = await system.operate("process.spawn", { agent: "buyer", task: null }, "test");
  await system.operate("process.wait", { pid }, "test");
  const takeBack: World["takeBack"] = async () => {
    const { pid: by } = await system.operate("process.undo", { pid }, "ann");
    if (by === null) throw new Error("Nothing was to be undone.");
    const { exit } = await system.operate("process.wait", { pid: by }, "test");
    return { by, result: (exit?.how === "completed" ? exit.result : exit) as JsonObject };
  };
  return { system, shop, pid, takeBack };
}

/** Calls that the journal says were taken back, and by whom. */
async function undone({ system, pid }: World): Promise<unknown[]> {
  const { events } = await system.operate("journal.read", { pid }, "test");
  const headers = events.map(({ header }) => header as unknown as Event["header"]);
  return headers.flatMap((header) => (header.kind === "call.undone" ? [[header.call, header.by]] : []));
}

describe("taking back", () => {
  it("holds: the last is taken back first, once, and stands in the journal of the process that had done it", async () => {
    const whole = await world();
    const { by, result } = await whole.takeBack();
    expect(result).toMatchObject({ undone: [{ call: 1 }, { call: 0 }], failed: null });
    expect(whole.shop.asked).toEqual(["order", "ship", "recall", "cancel"]);
    expect([whole.shop.orders.size, whole.shop.parcels.size]).toEqual([0, 0]);
    expect(await undone(whole)).toEqual([
      [1, by],
      [0, by],
    ]);
    expect(await whole.system.operate("process.undo", { pid: whole.pid }, "ann")).toMatchObject({ pid: null });
    expect(whole.shop.asked).toHaveLength(4);
  });

  it("breaks when the order is unplugged: an order that is shipped cannot be taken back", async () => {
    const { shop, takeBack } = await world({ program: forwards });
    expect((await takeBack()).result).toMatchObject({ undone: [], failed: { call: 0, error: "tool_failed" } });
    expect([shop.orders.size, shop.parcels.size]).toEqual([1, 1]);
  });

  it("breaks when the record is unplugged: what was taken back is taken back again", async () => {
    const broken = await world({ program: silent });
    await broken.takeBack();
    expect(await undone(broken)).toEqual([]);
    await broken.takeBack();
    expect(broken.shop.asked.filter((name) => name === "recall")).toHaveLength(2);
  });

  it("holds: a step that destroys waits for a human's yes, and is done without one when the rule is unplugged", async () => {
    const { system, shop, pid } = await world({ recall: "destroy" });
    const { pid: by } = await system.operate("process.undo", { pid }, "ann");
    if (by === null) throw new Error("Nothing was to be undone.");
    for await (const item of system.follow(by, 0, AbortSignal.timeout(10_000))) {
      if (item.kind !== "event" || item.event.header.kind !== "request.opened") continue;
      expect(shop.asked).toEqual(["order", "ship"]);
      const { request } = item.event.header;
      await system.operate("human.decide", { request, decision: { verdict: "rejected", note: "let it go" } }, "ann");
    }
    expect(shop.asked).toEqual(["order", "ship"]);

    const broken = await world({ recall: "destroy", governance: askingNobody });
    await broken.takeBack();
    expect(broken.shop.asked).toEqual(["order", "ship", "recall", "cancel"]);
  });
});
