// Goal: where a table of what was done is kept, a crash in a change leaves nobody to be asked: it is told whether it was committed, and it
// is committed once. Method: the kernel, the registry and the tools on real databases; Reeve's death played at the two places that
// count, after the commit and before the statement, and with a transaction still open in the server.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { needs } from "../../../test/needs.ts";
import { gate, holds, type Scene, scene, slowed } from "../../kernel/scene.fake.ts";
import type { ToolSource } from "../../ports/tools.ts";
import { createTools } from "../../tools/registry.ts";
import { systemClock } from "../system/clock.ts";
import { createSqlSource, type SqlConfig } from "./source.ts";

type Place = {
  readonly source: (config?: Partial<SqlConfig>) => ToolSource;
  /** Runs a statement as somebody else does. */
  readonly other: (sql: string) => Promise<readonly unknown[][]>;
  readonly end: () => Promise<void>;
};
const CONFIG: SqlConfig = { rowsMax: 20, timeoutMs: 20_000, reconcile: { table: "reeve_done" } };
const TABLES =
  "CREATE TABLE orders (id integer PRIMARY KEY, status text); CREATE TABLE reeve_done (key text PRIMARY KEY, content text NOT NULL)";
const CHANGE = "INSERT INTO orders VALUES (1, 'open') RETURNING id";

async function sqlite(): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), "reeve-sql-"));
  const file = join(folder, "shop.db");
  const database = new DatabaseSync(file, { timeout: 5_000 });
  database.exec(TABLES);
  return {
    source: (config) => createSqlSource("db", { kind: "sqlite", file }, { ...CONFIG, ...config }),
    other: async (sql) => {
      const statement = database.prepare(sql);
      statement.setReturnArrays(true);
      return statement.all() as unknown as unknown[][];
    },
    end: async () => {
      database.close();
      rmSync(folder, { recursive: true });
    },
  };
}

const SERVER = process.env["REEVE_TEST_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/test";

async function postgres(): Promise<Place> {
  const schema = `reeve_test_${randomBytes(6).toString("hex")}`;
  const client = new pg.Client({ connectionString: SERVER });
  await client.connect();
  await client.query(`CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${TABLES}`);
  const url = new URL(SERVER);
  url.searchParams.set("options", `-c search_path=${schema}`);
  return {
    source: (config) => createSqlSource("db", { kind: "postgres", url: url.href }, { ...CONFIG, ...config }),
    other: async (sql) => (await client.query<unknown[]>({ text: sql, rowMode: "array" })).rows,
    end: async () => {
      await client.query(`DROP SCHEMA ${schema} CASCADE`);
      await client.end();
    },
  };
}

async function answers(): Promise<boolean> {
  const client = new pg.Client({ connectionString: SERVER, connectionTimeoutMillis: 1_000 });
  const found = await client.connect().then(
    () => true,
    () => false,
  );
  await client.end().catch(() => {});
  return found;
}

const agents = {
  clerk: {
    manifest: { tools: ["db.*"] },
    run: async (sys: Parameters<NonNullable<Parameters<typeof scene>[0]["agents"][string]["run"]>>[0]) =>
      (await sys.tool.call({ tool: "db.change", args: { statement: CHANGE } })).text,
  },
};
const toolsOf = (source: ToolSource) =>
  createTools({
    sources: new Map([["db", { source, overrides: {}, outside: false }]]),
    clock: systemClock,
    store: { append: () => expect.fail("nothing is kept"), source: () => expect.fail("nothing is kept") },
    onNotice: () => {},
  });
const DONE = /^(?:\w+\.)?orders: 1 inserted\.\nid\n1\n/;

const needsPostgres = needs(`PostgreSQL at ${SERVER} (REEVE_TEST_POSTGRES names another)`, await answers());

describe("SQLite", () => tests(sqlite));
needsPostgres("PostgreSQL", () => {
  tests(postgres);

  it("waits for a transaction that may still commit, and does not know while it may", async () => {
    const place = await postgres();
    const source = place.source({ timeoutMs: 400 });
    const settled = () => source.call("settled", { key: "p_x.0" }, told("p_x.0:reconcile"));
    await place.other("BEGIN");
    await place.other("INSERT INTO reeve_done VALUES ('p_x.0', '\"done then\"')");
    expect(await settled()).toMatchObject({ kind: "failed" });
    const waiting = settled();
    await place.other("COMMIT");
    expect(await waiting).toMatchObject({ kind: "done", content: { data: { status: "done", result: "done then" } } });
    await source.close();
    await place.end();
  });
});

const told = (key: string): Parameters<ToolSource["call"]>[2] => ({
  process: { pid: "p_x" } as never,
  ...{ call: 0, key, signal: new AbortController().signal, notes: async () => {}, output: () => {} },
});

function tests(make: () => Promise<Place>): void {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function world(): Promise<{ place: Place; source: ToolSource }> {
    const place = await make();
    const source = place.source();
    ends.push(place.end, () => source.close());
    return { place, source };
  }
  const boot = async (options: Parameters<typeof scene>[0]): Promise<Scene> => {
    const system = await scene(options);
    ends.push(() => system.close());
    return system;
  };
  const orders = async (place: Place): Promise<unknown> => (await place.other("SELECT id, status FROM orders"))[0];

  it("after a crash behind the commit it is told as done, with its answer, and not done again", async () => {
    const { place, source } = await world();
    const committed = gate();
    const never = new Promise<void>(() => {});
    const first = await boot({
      agents,
      tools: toolsOf(source),
      store: (disk) =>
        slowed(disk, (batch) => (holds(batch, "call.completed") ? (committed.open(), never) : undefined)),
    });
    const pid = await first.start("clerk");
    await committed.passed;
    const second = await boot({ agents, tools: toolsOf(source), medium: await first.crash() });
    expect(await second.exit(pid)).toMatchObject({ how: "completed", result: expect.stringMatching(DONE) as string });
    expect(await orders(place)).toEqual([1, "open"]);
    expect((await second.journal(pid)).at(-2)?.header).toMatchObject({ kind: "call.completed", settled: "reconcile" });
    expect(await place.other("SELECT key FROM reeve_done")).toEqual([[`${pid}.0`]]);
  });

  it("after a crash before the statement it is told as not done, and done once", async () => {
    const { place, source } = await world();
    const asked = gate();
    const stuck = { ...wrapped(source), call: () => (asked.open(), new Promise<never>(() => {})) };
    const first = await boot({ agents, tools: toolsOf(stuck) });
    const pid = await first.start("clerk");
    await asked.passed;
    const second = await boot({ agents, tools: toolsOf(source), medium: await first.crash() });
    expect(await second.exit(pid)).toMatchObject({ how: "completed", result: expect.stringMatching(DONE) as string });
    expect(await orders(place)).toEqual([1, "open"]);
    expect(await place.other("SELECT key FROM reeve_done")).toEqual([[`${pid}.0`]]);
  });

  it("what a person has approved is what is done: the mark is no part of what is shown", async () => {
    const { source } = await world();
    const preview = await source.preview?.("change", { statement: CHANGE }, told("p_x.3"));
    expect(preview?.text).not.toContain("reeve_done");
    const previewed = preview?.digest;
    expect(await source.call("change", { statement: CHANGE }, { ...told("p_x.3"), previewed })).toMatchObject({
      kind: "done",
      content: { text: expect.stringMatching(DONE) as string },
    });
  });

  it("a table that takes no row is named, with how to make it, before anybody is asked, and nothing is done", async () => {
    const { place, source } = await world();
    await place.other("DROP TABLE reeve_done");
    const words = expect.stringMatching(/table reeve_done.*`reconcile`.*CREATE TABLE reeve_done \(key text/) as string;
    await expect(source.preview?.("change", { statement: CHANGE }, told("p_x.3"))).rejects.toMatchObject({
      message: words,
    });
    expect(await source.call("change", { statement: CHANGE }, told("p_x.3"))).toMatchObject({
      kind: "failed",
      content: { text: words },
    });
    expect(await orders(place)).toBeUndefined();
  });

  it("without the table a person is asked", async () => {
    const { place } = await world();
    const bare = place.source({ reconcile: undefined });
    ends.push(() => bare.close());
    expect((await bare.tools()).map(({ name }) => name)).not.toContain("settled");
    const asked = gate();
    const stuck = { ...wrapped(bare), call: () => (asked.open(), new Promise<never>(() => {})) };
    const first = await boot({ agents, tools: toolsOf(stuck) });
    const pid = await first.start("clerk");
    await asked.passed;
    const second = await boot({ agents, tools: toolsOf(bare), medium: await first.crash() });
    expect((await second.asked(pid)).kind).toBe("settlement");
  });

  it("what was rolled back leaves no mark, and no statement writes one", async () => {
    const { place, source } = await world();
    const change = (statement: string) => source.call("change", { statement }, told("p_x.7"));
    expect(await change("INSERT INTO orders VALUES (1, 'a'), (1, 'b')")).toMatchObject({ kind: "failed" });
    for (const statement of [
      "INSERT INTO reeve_done VALUES ('p_x.8', '\"forged\"')",
      'UPDATE "REEVE_DONE" SET content = 1 WHERE key = 2',
      "DROP TABLE reeve_done",
    ])
      for (const tool of ["change", "destroy"])
        expect(await source.call(tool, { statement }, told("p_x.9")), statement).toMatchObject({
          kind: "not_performed",
          error: { code: "invalid_argument" },
        });
    expect(await place.other("SELECT * FROM reeve_done")).toEqual([]);
    expect(await change(CHANGE)).toMatchObject({ kind: "done" });
    expect(await change("INSERT INTO orders VALUES (2, 'b')")).toMatchObject({ kind: "failed" });
    expect(await place.other("SELECT key FROM reeve_done")).toEqual([["p_x.7"]]);
  });

  it("a table that is not there fails the change, and nothing is changed", async () => {
    const { place } = await world();
    const lacking = place.source({ reconcile: { table: "no_such_table" } });
    ends.push(() => lacking.close());
    expect(await lacking.call("change", { statement: CHANGE }, told("p_x.1"))).toMatchObject({
      kind: "failed",
      content: { text: expect.stringContaining("no_such_table") as string },
    });
    expect(await orders(place)).toBeUndefined();
  });
}

const wrapped = (source: ToolSource): ToolSource => ({
  isolation: source.isolation,
  tools: () => source.tools(),
  preview: (name, args, options) => source.preview?.(name, args, options) ?? Promise.reject(new Error("no preview")),
  call: (name, args, options) => source.call(name, args, options),
  close: () => source.close(),
});
