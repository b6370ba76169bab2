// Goal: what only one engine has. SQLite: the authoriser holds whatever a parser made of a statement, another's lock is told,
// the child dies with its parent. PostgreSQL: MERGE, triggers and functions, cancelling at the server, what is known
// when a connection is refused, or lost in a commit.
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ToolSource } from "../../ports/tools.ts";
import { options, textOf } from "./outcome.fake.ts";
import { needs } from "../../../test/needs.ts";
import { createSqlSource } from "./source.ts";
import { type Order, SqliteLink } from "./sqlite-link.ts";

describe("SQLite", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "reeve-sql-"));
    file = join(folder, "a.db");
    const database = new DatabaseSync(file);
    database.exec("CREATE TABLE t (id integer PRIMARY KEY, a); INSERT INTO t VALUES (1, 1)");
    database.close();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const run = (sql: string, allow: Extract<Order, { op: "run" }>["allow"]): Order => ({
    op: "run",
    sql,
    params: [],
    allow,
    rowsMax: 10,
    record: false,
  });

  it("is held by its authoriser, whatever a parser said", async () => {
    const link = new SqliteLink();
    try {
      await link.order({ op: "open", file, write: true, busyMs: 0 });
      for (const [sql, allow] of [
        ["DELETE FROM t", "read"],
        ["DROP TABLE t", "rows"],
        ["DELETE FROM sqlite_master", "rows"],
        ["ATTACH ':memory:' AS x", "define"],
        ["PRAGMA writable_schema = 1", "define"],
        ["CREATE TRIGGER x AFTER DELETE ON t BEGIN SELECT 1; END", "define"],
        ["CREATE TEMP TABLE x (a)", "define"],
        ["SELECT load_extension('x')", "define"],
      ] as const)
        await expect(link.order(run(sql, allow)), sql).rejects.toMatchObject({ kind: "failed" });
      expect((await link.order(run("SELECT a FROM t", "read")))?.rows).toEqual([[1]]);
    } finally {
      await link.end();
    }
  });

  it("tells of another program's lock, and changes nothing", async () => {
    const source = createSqlSource("db", { kind: "sqlite", file }, { rowsMax: 10, timeoutMs: 300 });
    const other = new DatabaseSync(file);
    other.exec("BEGIN EXCLUSIVE");
    const outcome = await source.call("change", { statement: "DELETE FROM t WHERE id = 1" }, options());
    other.close();
    await source.close();
    expect(outcome.kind).toBe("failed");
    expect(textOf(outcome)).toMatch(/locked|longer than/);
  });

  it("counts what triggers do, and shows it", async () => {
    const database = new DatabaseSync(file);
    database.exec(
      "CREATE TABLE log (n integer PRIMARY KEY, was); CREATE TRIGGER x AFTER UPDATE ON t BEGIN INSERT INTO log (was) VALUES (old.a); END",
    );
    database.close();
    const source = createSqlSource("db", { kind: "sqlite", file }, { rowsMax: 10, timeoutMs: 20_000 });
    const preview = await source.preview?.("change", { statement: "UPDATE t SET a = 2 WHERE id = 1" }, options());
    await source.close();
    expect(preview?.text).toContain("log: 1 inserted");
    expect(preview?.text).toContain("+ log { n: 1, was: 1 }");
  });

  const scene = (sql: string, config = { rowsMax: 10, timeoutMs: 20_000 }): ToolSource => {
    const database = new DatabaseSync(file);
    database.exec(sql);
    database.close();
    return createSqlSource("db", { kind: "sqlite", file }, config);
  };

  it("takes integers as integers", async () => {
    const source = scene("CREATE TABLE loose (a)");
    await source.call("change", { statement: "INSERT INTO loose VALUES (?)", params: [7] }, options());
    const statement = "SELECT typeof(a), a / ?, typeof(?) FROM loose LIMIT ?";
    expect(await source.call("query", { statement, params: [2, 0.5, 1] }, options())).toMatchObject({
      content: { data: { rows: [["integer", 3, "real"]] } },
    });
    await source.close();
  });

  it("adds no more to the file than a call may, committed or not", async () => {
    const source = scene("CREATE TABLE blobs (id integer PRIMARY KEY, a)");
    const statement =
      "INSERT INTO blobs WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000) SELECT n, zeroblob(16000000) FROM r";
    const outcome = await source.call("change", { statement }, options());
    expect(textOf(outcome)).toContain("256 MiB");
    expect(statSync(file).size).toBeLessThan(16_000_000);
    expect(await source.call("change", { statement: "INSERT INTO blobs VALUES (1, 1)" }, options())).toMatchObject({
      kind: "done",
    });
    await source.close();
  });

  it("tells of rows that give way to others in a table without a key", async () => {
    const source = scene("CREATE TABLE u (mail UNIQUE, n); INSERT INTO u VALUES ('a', 1), ('b', 2), ('c', 3)");
    for (const statement of ["REPLACE INTO u VALUES ('a', 9)", "UPDATE OR REPLACE u SET mail = 'b' WHERE n = 1"]) {
      const shown = await source.preview?.("change", { statement }, options());
      expect(shown?.text, statement).toContain("1 of the rows that are there give way");
    }
    const plain = await source.preview?.("change", { statement: "INSERT INTO u VALUES ('d', 4)" }, options());
    expect(plain?.text).not.toContain("give way");
    await source.close();
  });

  it("shows rows whose key is NULL", async () => {
    const source = scene(
      "CREATE TABLE k (id text PRIMARY KEY, n); INSERT INTO k VALUES (NULL, 1), (NULL, 2), ('x', 3)",
    );
    const shown = await source.preview?.("change", { statement: "DELETE FROM k WHERE n < 3" }, options());
    expect(shown?.text).toContain("- k { id: null, n: 1 }");
    const added = await source.preview?.("change", { statement: "INSERT INTO k VALUES (NULL, 4)" }, options());
    expect(added?.text).toContain("+ k { id: null, n: 4 }");
    await source.close();
  });

  it("hands over no more of what was touched than is gathered, and shows a sample", async () => {
    const source = scene(
      "CREATE TABLE big (id integer PRIMARY KEY, a); INSERT INTO big WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100) SELECT n, zeroblob(100000) FROM r",
      { rowsMax: 99, timeoutMs: 20_000 },
    );
    const statement = "DELETE FROM big WHERE id < 99";
    await expect(source.preview?.("change", { statement }, options())).rejects.toThrow(/too large rows/);
    const shown = await source.preview?.("destroy", { statement }, options());
    expect(shown?.text).toMatch(/^98 rows of big are touched/);
    expect(shown?.text).toContain("big: 98 deleted");
    expect(shown?.text).toContain("The first 10 rows");
    expect(await source.call("destroy", { statement }, { ...options(), previewed: shown?.digest })).toMatchObject({
      kind: "done",
    });
    await source.close();
  });

  it("reads a database with a write-ahead log, also while another program writes", async () => {
    const other = new DatabaseSync(file);
    other.exec("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; UPDATE t SET a = 7");
    const source = createSqlSource("db", { kind: "sqlite", file }, { rowsMax: 10, timeoutMs: 20_000 });
    const during = await source.call("query", { statement: "SELECT a FROM t" }, options());
    other.exec("COMMIT");
    other.close();
    const after = await source.call("query", { statement: "SELECT a FROM t" }, options());
    await source.close();
    expect([during, after]).toMatchObject([
      { content: { data: { rows: [[1]] } } },
      { content: { data: { rows: [[7]] } } },
    ]);
  });

  it("ends a statement that takes too much memory, and goes on", async () => {
    const source = createSqlSource("db", { kind: "sqlite", file }, { rowsMax: 10, timeoutMs: 60_000 });
    const greedy =
      "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT randomblob(100000) AS x FROM r ORDER BY x";
    const outcome = await source.call("query", { statement: greedy }, options());
    expect(outcome.kind).toBe("failed");
    expect(textOf(outcome)).toContain("memory");
    expect((await source.call("query", { statement: "SELECT 1" }, options())).kind).toBe("done");
    await source.close();
  });

  it("says that a file is not there, and makes none", async () => {
    const source = createSqlSource(
      "db",
      { kind: "sqlite", file: join(folder, "none.db") },
      { rowsMax: 10, timeoutMs: 300 },
    );
    const outcome = await source.call("query", { statement: "SELECT 1" }, options());
    await source.close();
    expect(outcome).toMatchObject({ kind: "not_performed", error: { code: "tool_unavailable" } });
  });

  it("is closed before the program that closes it ends", async () => {
    const program = fileURLToPath(new URL("fixtures/closing.ts", import.meta.url));
    expect((await promisify(execFile)(process.execPath, [program, file])).stdout).toBe("done and closed");
  });

  it("ends its child when Reeve is killed, also in the middle of a statement", async () => {
    const parent = spawn(
      process.execPath,
      [fileURLToPath(new URL("fixtures/endless-parent.ts", import.meta.url)), file],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const said = await new Promise<string>((resolve) =>
      parent.stdout.once("data", (chunk: Buffer) => resolve(String(chunk))),
    );
    const child = Number(said);
    expect(() => process.kill(child, 0)).not.toThrow();
    parent.kill("SIGKILL");
    await vi.waitFor(() => expect(() => process.kill(child, 0)).toThrow(), { timeout: 20_000 });
  });
});

const SERVER = process.env["REEVE_TEST_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/test";
async function answers(): Promise<boolean> {
  const client = new pg.Client({ connectionString: SERVER, connectionTimeoutMillis: 20_000 });
  return client.connect().then(
    () => client.end().then(() => true),
    () => false,
  );
}

const needsPostgres = needs(`PostgreSQL at ${SERVER} (REEVE_TEST_POSTGRES names another)`, await answers());

needsPostgres("PostgreSQL", () => {
  const schema = `reeve_test_${randomBytes(6).toString("hex")}`;
  const client = new pg.Client({ connectionString: SERVER });
  let source: ToolSource;
  const urlOf = (base: string): string => {
    const url = new URL(base);
    url.searchParams.set("options", `-c search_path=${schema}`);
    return url.href;
  };
  const preview = (tool: string, statement: string) => source.preview?.(tool, { statement }, options());

  beforeEach(async () => {
    if (source === undefined) await client.connect();
    await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema}; SET search_path = ${schema};
      CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30); CREATE TABLE u (id int, a int); INSERT INTO u VALUES (1, 11), (4, 44)`);
    source = createSqlSource("db", { kind: "postgres", url: urlOf(SERVER) }, { rowsMax: 100, timeoutMs: 20_000 });
  });
  afterEach(async () => {
    await source.close();
    await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  });

  it("shows and binds what MERGE does", async () => {
    const statement =
      "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = u.a WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.a)";
    const shown = await preview("change", statement);
    expect(shown?.text).toMatch(/~ \S+t \{ id: 1 \} a: 10 → 11/);
    expect(shown?.text).toMatch(/\+ \S+t \{ id: 4, a: 44 \}/);
    await client.query("UPDATE u SET a = 12 WHERE id = 1");
    const previewed = shown?.digest ?? "";
    const refused = await source.call("change", { statement }, { ...options(), previewed });
    expect(refused.kind).toBe("failed");
    const again = await preview("change", statement);
    expect((await source.call("change", { statement }, { ...options(), previewed: again?.digest })).kind).toBe("done");
    expect((await client.query("SELECT a FROM t ORDER BY id")).rows).toEqual([
      { a: 12 },
      { a: 20 },
      { a: 30 },
      { a: 44 },
    ]);
  });

  it("counts all rows where there are more than are gathered, partitions included", async () => {
    await client.query(`CREATE TABLE p (id int, a int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
      CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (1000); INSERT INTO p SELECT n, n FROM generate_series(1, 250) n`);
    const shown = await preview("destroy", "DELETE FROM p");
    expect(shown?.text).toMatch(/^250 rows of p are touched/);
    expect(shown?.text).toMatch(/p1: 99 deleted/);
    expect(shown?.text).toMatch(/p2: 151 deleted/);
    const done = await source.call(
      "destroy",
      { statement: "DELETE FROM p" },
      { ...options(), previewed: shown?.digest },
    );
    expect(done.kind).toBe("done");
    expect((await client.query("SELECT count(*)::int AS n FROM p")).rows).toEqual([{ n: 0 }]);
  });

  it("holds a change of all rows through a view for what has no bound", async () => {
    await client.query("CREATE VIEW tens AS SELECT id, a FROM t WHERE a < 100");
    for (const statement of ["DELETE FROM tens WHERE id > 0", "UPDATE tens SET a = 500 WHERE id > 0"]) {
      await expect(preview("change", statement), statement).rejects.toThrow(/every row of tens.*"destroy"/);
      expect((await preview("destroy", statement))?.text, statement).toContain("That is every row");
    }
  });

  it("counts what triggers do in other tables", async () => {
    await client.query(`CREATE TABLE log (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO ${schema}.log VALUES (old.a); RETURN NULL; END';
      CREATE TRIGGER x AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()`);
    const shown = await preview("change", "DELETE FROM t WHERE id < 3");
    expect(shown?.text).toMatch(/log: 2 inserted/);
  });

  it("shows all that TRUNCATE and DROP SCHEMA take away, and binds the approval to it", async () => {
    await client.query(
      "CREATE TABLE items (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO items VALUES (5, 1), (6, 2); CREATE TABLE parts (item int REFERENCES items); INSERT INTO parts VALUES (5)",
    );
    for (const statement of ["TRUNCATE t CASCADE", `DROP SCHEMA ${schema} CASCADE`]) {
      const shown = await preview("destroy", statement);
      expect(shown?.text, statement).toMatch(/\.t: 3 rows/);
      expect(shown?.text, statement).toMatch(/items: 2 rows/);
      expect(shown?.text, statement).toMatch(/parts: \d rows?/);
      await client.query("INSERT INTO parts VALUES (6)");
      const outcome = await source.call("destroy", { statement }, { ...options(), previewed: shown?.digest });
      expect(outcome.kind, statement).toBe("failed");
    }
    expect((await client.query("SELECT count(*)::int AS n FROM parts")).rows).toEqual([{ n: 3 }]);
  });

  it("binds an approval to what goes by a cascade that shows no rows", async () => {
    await client.query("CREATE TYPE e AS ENUM ('x')");
    const shown = await preview("destroy", "DROP TYPE e CASCADE");
    await client.query("CREATE TABLE used (a e)");
    const previewed = shown?.digest ?? "";
    const outcome = await source.call("destroy", { statement: "DROP TYPE e CASCADE" }, { ...options(), previewed });
    expect(outcome.kind).toBe("failed");
    expect((await preview("destroy", "DROP TYPE e CASCADE"))?.text).toMatch(/drop cascades to column a/);
  });

  it("changes nothing that is PostgreSQL's own", async () => {
    for (const statement of [
      "UPDATE pg_authid SET rolsuper = true WHERE rolname = 'nobody'",
      "UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'",
      "DELETE FROM pg_catalog.pg_proc WHERE proname = 'nothing'",
      "INSERT INTO information_schema.sql_features VALUES ('a')",
    ]) {
      await expect(preview("change", statement), statement).rejects.toThrow(/PostgreSQL's own|set_config acts on more/);
      expect((await source.call("change", { statement }, options())).kind, statement).not.toBe("done");
    }
  });

  it("holds a MERGE that reaches every row for what has no bound", async () => {
    const statement = "MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED THEN DELETE";
    await expect(preview("change", statement)).rejects.toThrow(/every row of t/);
    expect((await preview("destroy", statement))?.text).toContain("3 rows of t are touched");
  });

  it("lets no function write in a query", async () => {
    await client.query(
      `CREATE FUNCTION sly() RETURNS int LANGUAGE sql AS 'DELETE FROM ${schema}.t RETURNING 1'; CREATE SEQUENCE s`,
    );
    for (const statement of ["SELECT sly()", "SELECT nextval('s')"]) {
      const outcome = await source.call("query", { statement }, options());
      expect(outcome.kind).toBe("failed");
      expect(textOf(outcome)).toContain("read-only");
    }
    expect((await client.query("SELECT count(*)::int AS n FROM t")).rows).toEqual([{ n: 3 }]);
  });

  it("shows what hangs on a table, and that it cannot go alone", async () => {
    await client.query("CREATE VIEW v AS SELECT a FROM t");
    await expect(preview("destroy", "DROP TABLE t")).rejects.toThrow(/depend/);
    const shown = await preview("destroy", "DROP TABLE t CASCADE");
    expect(shown?.text).toMatch(/3 rows/);
    expect(shown?.text).toMatch(/hanging on it: view/);
    expect(shown?.text).toMatch(/drop cascades to view/);
    expect((await client.query("SELECT count(*)::int AS n FROM v")).rows).toEqual([{ n: 3 }]);
  });

  it("reads strings as the grammar reads them, whatever the database is set to", async () => {
    const url = new URL(SERVER);
    url.searchParams.set("options", `-c search_path=${schema} -c standard_conforming_strings=off`);
    const loose = createSqlSource("db", { kind: "postgres", url: url.href }, { rowsMax: 100, timeoutMs: 20_000 });
    // Where a backslash escapes, the string would go on, and end in the middle of another.
    const statement = "SELECT '\\' AS a, ' UNION SELECT 1 --' AS b";
    expect(await loose.call("query", { statement }, options())).toMatchObject({
      content: { data: { rows: [["\\", " UNION SELECT 1 --"]] } },
    });
    await loose.close();
  });

  it("cancels at the server", async () => {
    const controller = new AbortController();
    const asked = source.call(
      "query",
      { statement: `SELECT pg_sleep(600), '${schema}'` },
      options({ signal: controller.signal }),
    );
    const active = async (): Promise<number> => {
      const { rows } = await client.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600), ''${schema}%' AND pid <> pg_backend_pid()`,
      );
      return rows[0]?.n ?? -1;
    };
    await vi.waitFor(async () => expect(await active()).toBe(1), { timeout: 20_000 });
    controller.abort();
    expect((await asked).kind).toBe("not_performed");
    await vi.waitFor(async () => expect(await active()).toBe(0), { timeout: 20_000 });
  });

  it("tells a check at the commit as a failure", async () => {
    await client.query("ALTER TABLE t ADD CONSTRAINT one UNIQUE (a) DEFERRABLE INITIALLY DEFERRED");
    const outcome = await source.call("change", { statement: "UPDATE t SET a = 10 WHERE id = 2" }, options());
    expect(outcome.kind).toBe("failed");
    expect(textOf(outcome)).toMatch(/duplicate key/);
  });

  it("knows that nothing was done where no connection was made, and does not know where one was lost in a commit", async () => {
    const target = new URL(SERVER);
    // Passes everything on until a commit is sent.
    const proxy = createServer((near) => {
      const far = connect(Number(target.port || 5432), target.hostname);
      near.on("data", (chunk: Buffer) => {
        if (chunk.includes("COMMIT\0")) {
          near.destroy();
          far.destroy();
        } else far.write(chunk);
      });
      far.pipe(near);
      for (const socket of [near, far]) socket.on("error", () => {});
      near.on("close", () => far.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const through = new URL(urlOf(SERVER));
    through.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const cut = createSqlSource("db", { kind: "postgres", url: through.href }, { rowsMax: 100, timeoutMs: 20_000 });
    const statement = "UPDATE t SET a = 99 WHERE id = 1";
    expect((await cut.call("change", { statement }, options())).kind).toBe("unknown");
    await new Promise((resolve) => proxy.close(resolve));
    expect(await cut.call("change", { statement }, options())).toMatchObject({
      kind: "not_performed",
      error: { code: "tool_unavailable" },
    });
    await cut.close();
  });
});
