// K9: a yes means this, once. An approval fits exactly one action, once, and is spent by the event that dispatches it.
//
// Method: an agent deletes rows of a real database, and a human is asked. Whole, each deletion needs a yes of its own, a yes is for
// what was shown, and does nothing any more once it is spent. Unplugged (a governance that asks nobody; a yes whose preview is
// kept from the tool), rows go that nobody gave up.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, describe, expect, it } from "vitest";
import type { ProcessId, RequestId } from "../../src/abi/ids.ts";
import { createSqlSource } from "../../src/drivers/tools-sql/source.ts";
import { systemClock } from "../../src/drivers/system/clock.ts";
import { createGovernance } from "../../src/governance/rules.ts";
import type { Governance } from "../../src/ports/governance.ts";
import type { Tools } from "../../src/ports/tools.ts";
import { createTools } from "../../src/tools/registry.ts";
import { bootTest, replacing, type TestOptions, type TestSystem } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const mediums: Medium[] = [];
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  mediums.splice(0).forEach((medium) => medium.dispose());
});

/** Asks no human, ever. */
const askingNobody: Governance = { ...createGovernance(), decide: () => ({ kind: "allow" }) };

const agents: TestOptions["agents"] = {
  clerk: {
    manifest: { tools: ["db.destroy"] },
    run: async (sys, statements) => {
      const call = (statement: string) =>
        sys.tool.call({ tool: "db.destroy", args: { statement } }).then(
          () => "done",
          (error: { code: string }) => error.code,
        );
      return Promise.all((statements as string[]).map(call));
    },
  },
};

type World = {
  readonly system: TestSystem;
  readonly rows: () => string[];
  readonly change: (sql: string) => void;
  readonly begin: (...statements: string[]) => Promise<ProcessId>;
  /** The requests that are open, once there are so many, in the order of their calls. */
  readonly asked: (count: number) => Promise<readonly { readonly request: RequestId; readonly digest: string }[]>;
  readonly approve: (request: RequestId) => Promise<unknown>;
  readonly outcome: (pid: ProcessId) => Promise<unknown>;
};

type Parts = {
  readonly governance?: Governance;
  readonly tools?: (whole: Tools) => Tools;
};

async function world({
  governance = createGovernance(),
  tools: changed = (whole) => whole,
}: Parts = {}): Promise<World> {
  const medium = temporaryMedium();
  mediums.push(medium);
  const file = join(medium.folder, "shop.db");
  const database = new DatabaseSync(file, { timeout: 5_000 });
  database.exec("CREATE TABLE orders (id integer PRIMARY KEY, status text)");
  database.exec("INSERT INTO orders VALUES (1, 'void'), (2, 'void'), (3, 'paid')");
  const source = createSqlSource("db", { kind: "sqlite", file }, { rowsMax: 100, timeoutMs: 20_000 });
  const store = await medium.open();
  const whole = createTools({
    sources: new Map([["db", { source, overrides: {}, outside: false }]]),
    store,
    clock: systemClock,
    onNotice: () => {},
  });
  const system = await bootTest({ store, agents, tools: changed(whole), parts: { governance } });
  closing.push(async () => {
    system.close();
    await whole.close();
    await store.close();
    database.close();
  });
  const asked: World["asked"] = async (count) => {
    for (;;) {
      const { requests } = await system.operate("human.list", {}, "test");
      if (requests.length >= count) return requests.toSorted((a, b) => a.call - b.call);
    }
  };
  return {
    system,
    rows: () =>
      (database.prepare("SELECT id FROM orders ORDER BY id").all() as { id: number }[]).map(({ id }) => `${id}`),
    change: (sql) => database.exec(sql),
    begin: async (...statements) =>
      (await system.operate("process.spawn", { agent: "clerk", task: statements }, "test")).pid,
    asked,
    approve: (request) => system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann"),
    outcome: async (pid) => {
      const { exit } = await system.operate("process.wait", { pid }, "test");
      return exit?.how === "completed" ? exit.result : exit;
    },
  };
}

const VOID = "DELETE FROM orders WHERE status = 'void'";
const FIRST = "DELETE FROM orders WHERE id = 1";

describe("K9 a yes means this, once", () => {
  it("holds: two calls of the same words need two yeses, and each spends its own in the event that dispatches it", async () => {
    const { begin, asked, approve, outcome, system, rows } = await world();
    const pid = await begin(FIRST, FIRST);
    const [one, other] = await asked(2);
    if (one === undefined || other === undefined) throw new Error("Nobody was asked.");
    expect(one.digest).not.toBe(other.digest);
    expect(rows()).toEqual(["1", "2", "3"]);
    await approve(one.request);
    while (rows().length === 3) await new Promise((resolve) => setImmediate(resolve));
    await expect(approve(one.request)).rejects.toMatchObject({ code: "conflict" });
    expect((await asked(1)).map(({ request }) => request)).toEqual([other.request]);
    await approve(other.request);
    // What the second would do is not what was shown of it: the row is gone.
    expect(await outcome(pid)).toEqual(["done", "tool_failed"]);
    const { events } = await system.operate("journal.read", { pid }, "test");
    const spent = events.flatMap(({ header }) => (header["kind"] === "call.intended" ? [header["approval"]] : []));
    expect(spent).toEqual([one.request, other.request]);
  });

  it("breaks when the rule that asks is unplugged: rows go, and nobody was asked", async () => {
    const { begin, outcome, rows } = await world({ governance: askingNobody });
    expect(await outcome(await begin(FIRST))).toEqual(["done"]);
    expect(rows()).toEqual(["2", "3"]);
  });

  it("holds: a yes is for what was shown, and not for what the same words do meanwhile", async () => {
    const { begin, asked, approve, outcome, change, rows } = await world();
    const pid = await begin(VOID);
    const [request] = await asked(1);
    change("UPDATE orders SET status = 'void' WHERE id = 3");
    await approve(request!.request);
    expect(await outcome(pid)).toEqual(["tool_failed"]);
    expect(rows()).toEqual(["1", "2", "3"]);
  });

  it("breaks when what was shown is kept from the tool: a row goes that nobody has seen", async () => {
    const forgetful = (whole: Tools): Tools =>
      replacing(whole, {
        call: ({ previewed: _, ...invocation }, options) => whole.call(invocation, options),
      });
    const { begin, asked, approve, outcome, change, rows } = await world({ tools: forgetful });
    const pid = await begin(VOID);
    const [request] = await asked(1);
    change("UPDATE orders SET status = 'void' WHERE id = 3");
    await approve(request!.request);
    expect(await outcome(pid)).toEqual(["done"]);
    expect(rows()).toEqual([]);
  });
});
