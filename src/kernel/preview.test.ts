// Goal: a yes to a preview is for what it showed: what changes between the yes and the dispatch is refused, also when a crash lies
// between; and it is the comparison that does it. Method: the kernel, the registry and the SQL tools on a real SQLite file that
// somebody else writes to; once whole, once with the digest kept from the tools.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../drivers/system/clock.ts";
import { createSqlSource } from "../drivers/tools-sql/source.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Tools, ToolSource } from "../ports/tools.ts";
import { createGovernance } from "../governance/rules.ts";
import { createTools } from "../tools/registry.ts";
import { type Scene, scene, type SceneOptions } from "./scene.fake.ts";

/** Nothing is pinned of a source that is the operator's own. */
const NO_STORE = { append: () => expect.fail("nothing is kept"), source: () => expect.fail("nothing is kept") };

const DELETION = "DELETE FROM orders";

const agents: SceneOptions["agents"] = {
  clerk: {
    manifest: { tools: ["db.*"] },
    run: async (sys, task) =>
      sys.tool.call(task as { tool: string; args: { statement: string } }).then(
        ({ text }) => text,
        (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
      ),
  },
};

/** The same source, but what was approved is kept from it. */
const unplugged = (source: ToolSource): ToolSource => ({
  isolation: source.isolation,
  tools: () => source.tools(),
  preview: (name, args, options) => source.preview?.(name, args, options) ?? Promise.reject(new Error("no preview")),
  call: (name, args, { process, call, key, notes, output, signal }) =>
    source.call(name, args, { process, call, key, notes, output, signal }),
  close: () => source.close(),
});

describe("a preview that was approved", () => {
  let folder: string;
  let source: ToolSource;
  const open: Scene[] = [];

  const other = (sql: string): unknown[] => {
    const database = new DatabaseSync(join(folder, "shop.db"), { timeout: 5_000 });
    const rows = database.prepare(sql).all();
    database.close();
    return rows;
  };
  const count = (): unknown => (other("SELECT count(*) AS n FROM orders")[0] as { n: number }).n;
  const toolsOf = (given: ToolSource): Tools =>
    createTools({
      sources: new Map([["db", { source: given, overrides: {}, outside: false }]]),
      clock: systemClock,
      store: NO_STORE,
      onNotice: () => {},
    });
  const boot = async (options: Partial<SceneOptions>): Promise<Scene> => {
    const booted = await scene({ agents, parts: { governance: createGovernance() }, ...options });
    open.push(booted);
    return booted;
  };
  const begin = (system: Scene): Promise<ProcessId> =>
    system.start("clerk", { tool: "db.destroy", args: { statement: DELETION } });
  const approve = async (system: Scene, pid: ProcessId): Promise<void> => {
    const { request } = await system.asked(pid);
    await system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann");
  };
  const resultOf = async (system: Scene, pid: ProcessId): Promise<unknown> => {
    const exit = await system.exit(pid);
    return exit?.how === "completed" ? exit.result : exit;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "reeve-preview-"));
    other("CREATE TABLE orders (id integer PRIMARY KEY, status text)");
    other("INSERT INTO orders VALUES (1, 'open'), (2, 'paid')");
    source = createSqlSource(
      "db",
      { kind: "sqlite", file: join(folder, "shop.db") },
      { rowsMax: 100, timeoutMs: 20_000 },
    );
  });
  afterEach(async () => {
    for (const system of open.splice(0)) system.close();
    await source.close();
    rmSync(folder, { recursive: true });
  });

  it("stands in the request, and its digest in what the approval is bound to", async () => {
    const system = await boot({ tools: toolsOf(source) });
    const first = await system.asked(await begin(system));
    expect(first.preview?.text).toContain('- orders { id: 1, status: "open" }');
    expect(count()).toBe(2);
    other("UPDATE orders SET status = 'void' WHERE id = 1");
    const second = await system.asked(await begin(system));
    expect(second.preview?.digest).not.toBe(first.preview?.digest);
  });

  it("is performed as shown", async () => {
    const system = await boot({ tools: toolsOf(source) });
    const pid = await begin(system);
    await approve(system, pid);
    expect(await resultOf(system, pid)).toContain("orders: 2 deleted");
    expect(count()).toBe(0);
  });

  it("is not performed once the data is another; without the comparison it would be", async () => {
    const whole = await boot({ tools: toolsOf(source) });
    const pid = await begin(whole);
    await whole.asked(pid);
    other("UPDATE orders SET status = 'do not delete' WHERE id = 2");
    await approve(whole, pid);
    expect(await resultOf(whole, pid)).toMatch(/^tool_failed: .*changed since this was approved/);
    expect(count()).toBe(2);

    const without = await boot({ tools: toolsOf(unplugged(source)) });
    const again = await begin(without);
    await without.asked(again);
    other("UPDATE orders SET status = 'really not' WHERE id = 2");
    await approve(without, again);
    expect(await resultOf(without, again)).toContain("orders: 2 deleted");
    expect(count()).toBe(0);
  });

  it("is bound in the same way when a crash lies between", async () => {
    const before = await boot({ tools: toolsOf(source) });
    const pid = await begin(before);
    await before.asked(pid);
    const medium = await before.crash();
    other("INSERT INTO orders VALUES (3, 'new')");
    const after = await boot({ medium, tools: toolsOf(source) });
    await approve(after, pid);
    expect(await resultOf(after, pid)).toMatch(/changed since this was approved/);
    expect(count()).toBe(3);
  });

  it("is not asked for where the statement is for another tool", async () => {
    const system = await boot({ tools: toolsOf(source) });
    const pid = await system.start("clerk", { tool: "db.destroy", args: { statement: "SELECT 1" } });
    expect(await resultOf(system, pid)).toMatch(/^invalid_argument: .*"query"/);
    expect((await system.operate("human.list", { pid }, "test")).requests).toEqual([]);
  });
});
