// Goal: what the tools promise holds in the real engines: reads that cannot write, bounds, previews that leave nothing, changes
// that commit only what was shown, statements that are ended when they are given up. Method: each test has a database of its
// own, an SQLite file or a schema in PostgreSQL, and looks at it by a way of its own.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { CallOptions, Preview, ToolOutcome, ToolSource } from "../../ports/tools.ts";
import { options, textOf } from "./outcome.fake.ts";
import { needs } from "../../../test/needs.ts";
import { createSqlSource, type SqlConfig } from "./source.ts";

type Scene = {
  readonly source: ToolSource;
  /** Runs statements as somebody else does, and gives the rows of the last. */
  readonly other: (sql: string) => Promise<readonly unknown[][]>;
  readonly end: () => Promise<void>;
};
type Engine = {
  readonly name: string;
  readonly make: (config?: Partial<SqlConfig>) => Promise<Scene>;
  readonly at: (n: number) => string;
};

const CONFIG: SqlConfig = { rowsMax: 20, timeoutMs: 20_000 };

const SQLITE: Engine = {
  name: "SQLite",
  at: () => "?",
  make: async (config) => {
    const folder = mkdtempSync(join(tmpdir(), "reeve-sql-"));
    const file = join(folder, "shop #1.db");
    new DatabaseSync(file).close();
    const source = createSqlSource("db", { kind: "sqlite", file }, { ...CONFIG, ...config });
    return {
      source,
      other: async (sql) => {
        const database = new DatabaseSync(file, { timeout: 5_000 });
        const parts = sql.split(";;");
        for (const part of parts.slice(0, -1)) database.exec(part);
        const statement = database.prepare(parts.at(-1) ?? "");
        statement.setReturnArrays(true);
        const rows = statement.all() as unknown as unknown[][];
        database.close();
        return rows;
      },
      end: async () => {
        await source.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};

const SERVER = process.env["REEVE_TEST_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/test";

async function answers(): Promise<boolean> {
  const client = new pg.Client({ connectionString: SERVER, connectionTimeoutMillis: 20_000 });
  try {
    await client.connect();
    return true;
  } catch {
    // That it does not is the answer.
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

const POSTGRES: Engine = {
  name: "PostgreSQL",
  at: (n) => `$${n}`,
  make: async (config) => {
    const schema = `reeve_test_${randomBytes(6).toString("hex")}`;
    const client = new pg.Client({ connectionString: SERVER });
    await client.connect();
    await client.query(`CREATE SCHEMA ${schema}; SET search_path = ${schema}`);
    const url = new URL(SERVER);
    url.searchParams.set("options", `-c search_path=${schema}`);
    const source = createSqlSource("db", { kind: "postgres", url: url.href }, { ...CONFIG, ...config });
    return {
      source,
      other: async (sql) => {
        const parts = sql.split(";;");
        for (const part of parts.slice(0, -1)) await client.query(part);
        return (await client.query<unknown[]>({ text: parts.at(-1) ?? "", rowMode: "array" })).rows;
      },
      end: async () => {
        await source.close();
        await client.query(`DROP SCHEMA ${schema} CASCADE`);
        await client.end();
      },
    };
  },
};

const TABLES = `CREATE TABLE orders (id integer PRIMARY KEY, status text NOT NULL, amount integer);;
CREATE TABLE items (id integer PRIMARY KEY, order_id integer REFERENCES orders (id) ON DELETE CASCADE);;
CREATE TABLE loose (a integer, b text);;
INSERT INTO orders VALUES (1, 'open', 10), (2, 'open', 20), (3, 'paid', 30);;
INSERT INTO items VALUES (10, 1), (11, 1), (12, 3);;
INSERT INTO loose VALUES (1, 'x'), (2, 'y');;
SELECT 1`;

function suite({ name, make, at }: Engine, suiteOf: (title: string, tests: () => void) => void): void {
  suiteOf(`the tools of ${name}`, () => {
    let scene: Scene;
    const use = (
      tool: string,
      statement: string,
      params: readonly Json[] = [],
      more: Partial<CallOptions> = {},
    ): Promise<ToolOutcome> => scene.source.call(tool, { statement, params }, options(more));
    const look = (tool: string, statement: string, params: readonly Json[] = []): Promise<Preview> => {
      if (scene.source.preview === undefined) throw new Error("The source has no previews.");
      return scene.source.preview(tool, { statement, params }, options());
    };
    const rowsOf = (outcome: ToolOutcome): Json => {
      expect(outcome.kind).toBe("done");
      return outcome.kind === "done" ? ((outcome.content.data as JsonObject)["rows"] ?? null) : null;
    };
    const statuses = (): Promise<readonly unknown[][]> => scene.other("SELECT status FROM orders ORDER BY id");

    beforeEach(async () => {
      scene = await make();
      await scene.other(TABLES);
    });
    afterEach(() => scene.end());

    it("reads, with parameters, and says when there is more", async () => {
      const found = await use("query", `SELECT id, status FROM orders WHERE amount > ${at(1)} ORDER BY id`, [15]);
      expect(rowsOf(found)).toEqual([
        [2, "open"],
        [3, "paid"],
      ]);
      expect(textOf(found)).toBe("id | status\n2 | open\n3 | paid\n(2 rows)");
      const many = await use(
        "query",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000) SELECT n FROM r",
      );
      expect(rowsOf(many)).toHaveLength(CONFIG.rowsMax);
      expect(textOf(many)).toContain("there is more");
    });

    it("bounds the bytes of an answer", async () => {
      await scene.end();
      scene = await make({ rowsMax: 1_000 });
      const wide = name === "SQLite" ? "hex(zeroblob(5000))" : "repeat('00', 5000)";
      const found = await use(
        "query",
        `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 500) SELECT ${wide} FROM r`,
      );
      expect((rowsOf(found) as Json[]).length).toBeLessThan(50);
      expect(textOf(found)).toContain("more bytes");
    });

    it("writes values as JSON without making them others", async () => {
      const integers = await use("query", "SELECT 9007199254740993, 5, NULL");
      expect(rowsOf(integers)).toEqual([["9007199254740993", 5, null]]);
      const bytes = name === "SQLite" ? "x'00ff'" : String.raw`'\x00ff'::bytea`;
      expect(rowsOf(await use("query", `SELECT ${bytes}`))).toEqual([[{ base64: "AP8=" }]]);
    });

    it("refuses a statement for another tool, and runs nothing of it", async () => {
      const outcome = await use("query", "DELETE FROM orders WHERE id = 1");
      expect(outcome).toMatchObject({ kind: "not_performed", error: { code: "invalid_argument" } });
      expect(textOf(outcome)).toContain('"change"');
      expect(textOf(await use("change", "DELETE FROM orders"))).toContain('"destroy"');
      expect(await scene.other("SELECT count(*) FROM orders")).toEqual([[name === "SQLite" ? 3 : "3"]]);
    });

    it("shows what a change would do, leaves nothing of it, and then does just that", async () => {
      const statement = `UPDATE orders SET status = ${at(1)} WHERE status = 'open'`;
      const preview = await look("change", statement, ["held"]);
      expect(preview.text).toContain("2 rows of orders are touched");
      expect(preview.text).toMatch(/~ .*orders \{ id: 1 \} status: "open" → "held"/);
      expect(await statuses()).toEqual([["open"], ["open"], ["paid"]]);
      expect((await use("change", statement, ["gone"], { previewed: preview.digest })).kind).toBe("failed");
      const outcome = await use("change", statement, ["held"], { previewed: preview.digest });
      expect(outcome.kind).toBe("done");
      expect(await statuses()).toEqual([["held"], ["held"], ["paid"]]);
    });

    it("does not commit what was not shown: another row, a row less, another content", async () => {
      const statement = "UPDATE orders SET status = 'held' WHERE status = 'open'";
      for (const meanwhile of [
        "INSERT INTO orders VALUES (4, 'open', 40)",
        "DELETE FROM items WHERE order_id = 2;; UPDATE orders SET status = 'void' WHERE id = 2",
        "UPDATE orders SET id = 9 WHERE id = 1 AND id NOT IN (SELECT order_id FROM items);; UPDATE orders SET id = 19 WHERE id = 2",
      ]) {
        const preview = await look("change", statement);
        await scene.other(`${meanwhile};;SELECT 1`);
        const before = await statuses();
        const outcome = await use("change", statement, [], { previewed: preview.digest });
        expect(outcome.kind).toBe("failed");
        expect(textOf(outcome)).toContain("changed since this was approved");
        expect(await statuses()).toEqual(before);
        await scene.other("UPDATE orders SET status = 'open' WHERE id <> 3;; SELECT 1");
      }
    });

    it("binds a deletion to what the rows hold", async () => {
      const preview = await look("change", "DELETE FROM orders WHERE id = 2");
      expect(preview.text).toMatch(/- .*orders \{ id: 2, status: "open", amount: 20 \}/);
      await scene.other("UPDATE orders SET amount = 21 WHERE id = 2;; SELECT 1");
      expect((await use("change", "DELETE FROM orders WHERE id = 2", [], { previewed: preview.digest })).kind).toBe(
        "failed",
      );
      expect(await scene.other("SELECT amount FROM orders WHERE id = 2")).toEqual([[21]]);
    });

    it("counts what cascades, and shows insertions and upserts", async () => {
      const deletion = await look("change", "DELETE FROM orders WHERE id = 1");
      expect(deletion.text).toMatch(/items: 2 deleted/);
      const upsert =
        "INSERT INTO orders VALUES (3, 'shipped', 30), (4, 'new', 1) ON CONFLICT (id) DO UPDATE SET status = excluded.status";
      const preview = await look("change", upsert);
      expect(preview.text).toMatch(/~ .*orders \{ id: 3 \} status: "paid" → "shipped"/);
      expect(preview.text).toMatch(/\+ .*orders \{ id: 4, status: "new", amount: 1 \}/);
      expect((await use("change", upsert, [], { previewed: preview.digest })).kind).toBe("done");
    });

    it("binds an approval to what is the same each time, and names what is not", async () => {
      const random = name === "SQLite" ? "abs(random())" : "(random() * 1000000000)::int";
      const statement = `INSERT INTO orders VALUES (${at(1)}, 'new', ${random})`;
      const preview = await look("change", statement, [7]);
      expect(preview.text).toMatch(/differ each time.*orders\.amount/);
      expect((await use("change", statement, [7], { previewed: preview.digest })).kind).toBe("done");
    });

    it("refuses to preview a statement that chooses its rows by chance", async () => {
      const chance = name === "SQLite" ? "abs(random()) % 1000000007 = id" : "random() < 0.5";
      await scene.other(
        "INSERT INTO loose WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 15) SELECT n, 'z' FROM r;; SELECT 1",
      );
      const picked =
        name === "SQLite"
          ? "DELETE FROM loose WHERE abs(random()) % 2 = 0 AND a > 0"
          : `DELETE FROM loose WHERE ${chance} AND a > 0`;
      await expect(look("change", picked)).rejects.toThrow(/other rows each time/);
    });

    it("works on tables without a key, and says what it cannot show", async () => {
      const preview = await look("change", "UPDATE loose SET b = 'z' WHERE a = 1");
      expect(preview.text).toContain("no primary key");
      expect(
        (await use("change", "UPDATE loose SET b = 'z' WHERE a = 1", [], { previewed: preview.digest })).kind,
      ).toBe("done");
      expect(await scene.other("SELECT b FROM loose ORDER BY a")).toEqual([["z"], ["y"]]);
      expect((await look("change", "DELETE FROM loose WHERE a = 2")).text).toMatch(/- .*loose \{ a: 2, b: "y" \}/);
    });

    it("answers with what RETURNING asks for", async () => {
      const outcome = await use("change", "INSERT INTO loose VALUES (3, 'w') RETURNING b, a");
      expect(outcome).toMatchObject({
        kind: "done",
        content: { data: { answer: { columns: ["b", "a"], rows: [["w", 3]] } } },
      });
      const keyed = await use("change", "DELETE FROM items WHERE id = 12 RETURNING order_id AS o -- the end");
      expect(keyed).toMatchObject({ kind: "done", content: { data: { answer: { columns: ["o"], rows: [[3]] } } } });
    });

    it("lets a change touch so many rows and no more; destroy takes the rest", async () => {
      await scene.other(
        "INSERT INTO loose WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 50) SELECT n, 'z' FROM r;; SELECT 1",
      );
      const statement = "DELETE FROM loose WHERE b = 'z'";
      expect(textOf(await use("change", statement))).toMatch(/rows.*"destroy"/);
      await expect(look("change", statement)).rejects.toThrow(/"destroy"/);
      const preview = await look("destroy", "DELETE FROM loose");
      expect(preview.text).toContain("52 rows");
      expect((await use("destroy", "DELETE FROM loose", [], { previewed: preview.digest })).kind).toBe("done");
      expect(await scene.other("SELECT * FROM loose")).toEqual([]);
    });

    it("holds what reaches every row for what has no bound, however its condition is dressed", async () => {
      for (const statement of [
        "DELETE FROM items WHERE id IS NOT NULL",
        "DELETE FROM items WHERE id > 0 OR id < 5",
        "UPDATE items SET order_id = 2 WHERE id + 0 = id",
        "DELETE FROM items WHERE id IN (SELECT id FROM items)",
        "INSERT INTO items SELECT id, 2 FROM items AS i WHERE true ON CONFLICT (id) DO UPDATE SET order_id = 2",
      ]) {
        await expect(look("change", statement), statement).rejects.toThrow(/every row of items.*"destroy"/);
        expect(textOf(await use("change", statement)), statement).toMatch(/every row of items/);
        expect((await look("destroy", statement)).text).toContain("3 rows of items are touched");
      }
      // Those that a statement names are meant, all or not; and so is a part of them.
      expect((await look("change", "DELETE FROM items WHERE id IN (10, 11, 12)")).text).toContain("3 rows");
      expect((await look("change", "DELETE FROM items WHERE id > 10")).text).toContain("2 rows");
      expect(await scene.other("SELECT count(*) FROM items")).toEqual([[name === "SQLite" ? 3 : "3"]]);
    });

    it("holds what reaches nearly every row, or all through a view, for what has no bound", async () => {
      await scene.other(
        "INSERT INTO orders WITH RECURSIVE r(n) AS (SELECT 4 UNION ALL SELECT n + 1 FROM r WHERE n < 20) SELECT n, 'new', 0 FROM r;; SELECT 1",
      );
      const statement = "UPDATE orders SET amount = 5 WHERE id <> 1";
      await expect(look("change", statement)).rejects.toThrow(/reaches nearly every row of orders.*"destroy"/);
      const preview = await look("destroy", statement);
      expect(preview.text).toContain("19 rows of orders are touched.\nThat is nearly every row that is there.");
      // How many rows there are beside them is no part of what was approved.
      await scene.other(
        "UPDATE items SET order_id = 3 WHERE order_id = 1;; DELETE FROM orders WHERE id = 1;; SELECT 1",
      );
      expect((await use("destroy", statement, [], { previewed: preview.digest })).kind).toBe("done");
      expect((await look("change", "UPDATE orders SET amount = 6 WHERE id > 4")).text).not.toContain("That is");
    });

    it("counts what follows from a change among what a change may touch, and binds the approval to it", async () => {
      await scene.other("CREATE TABLE parts (order_id integer REFERENCES orders (id) ON DELETE CASCADE);; SELECT 1");
      await scene.other("INSERT INTO parts VALUES (2), (2);; SELECT 1");
      const statement = "DELETE FROM orders WHERE id = 2";
      const preview = await look("change", statement);
      await scene.other("INSERT INTO parts VALUES (2);; SELECT 1");
      expect((await use("change", statement, [], { previewed: preview.digest })).kind).toBe("failed");
      await scene.other(
        "INSERT INTO parts WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 30) SELECT 2 FROM r;; SELECT 1",
      );
      await expect(look("change", statement)).rejects.toThrow(/34 rows.*"destroy"/);
      expect((await look("destroy", statement)).text).toContain("1 row of orders is touched");
    });

    it("binds what goes with a table to what was shown of it", async () => {
      const preview = await look("destroy", "DROP TABLE items");
      await scene.other("UPDATE items SET order_id = 2 WHERE id = 10;; SELECT 1");
      expect((await use("destroy", "DROP TABLE items", [], { previewed: preview.digest })).kind).toBe("failed");
    });

    it("explains a change without making it", async () => {
      const outcome = await use("query", "/* how */ EXPLAIN DELETE FROM orders WHERE id = 1");
      expect(outcome.kind).toBe("done");
      expect(textOf(outcome)).toMatch(/SEARCH orders|Delete on orders/);
      expect(await statuses()).toHaveLength(3);
    });

    it("shows what a table holds before it goes, and asks anew when it holds more", async () => {
      const preview = await look("destroy", "DROP TABLE items");
      expect(preview.text).toMatch(/items: 3 rows/);
      await scene.other("INSERT INTO items VALUES (13, 2);; SELECT 1");
      expect((await use("destroy", "DROP TABLE items", [], { previewed: preview.digest })).kind).toBe("failed");
      const again = await look("destroy", "DROP TABLE items");
      expect((await use("destroy", "DROP TABLE items", [], { previewed: again.digest })).kind).toBe("done");
      await expect(scene.other("SELECT * FROM items")).rejects.toThrow();
    });

    it("adds to the definition as a change", async () => {
      const preview = await look("change", "ALTER TABLE orders ADD COLUMN note text");
      expect(preview.text).toContain("takes no rows away");
      expect(
        (await use("change", "ALTER TABLE orders ADD COLUMN note text", [], { previewed: preview.digest })).kind,
      ).toBe("done");
      expect(await scene.other("SELECT note FROM orders WHERE id = 1")).toEqual([[null]]);
    });

    it("takes values where a table is made of what is read, and keeps names on one line", async () => {
      const statement = `CREATE TABLE made AS SELECT id FROM orders WHERE amount > ${at(1)}`;
      const preview = await look("change", statement, [15]);
      expect((await use("change", statement, [15], { previewed: preview.digest })).kind).toBe("done");
      const found = await use("query", 'SELECT id AS "a\n1 | 2" FROM made ORDER BY id');
      expect(textOf(found)).toBe("a 1   2\n2\n3\n(2 rows)");
    });

    it("tells an error of the database as a failure that changed nothing", async () => {
      const outcome = await use("change", "INSERT INTO orders VALUES (1, 'again', 1)");
      expect(outcome.kind).toBe("failed");
      expect(textOf(outcome)).toMatch(/unique/i);
      expect((await use("query", "SELECT * FROM nowhere")).kind).toBe("failed");
    });

    it("ends a statement that takes too long, and one that is given up, and goes on", async () => {
      const endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r";
      await scene.end();
      scene = await make({ timeoutMs: 500 });
      await scene.other(TABLES);
      const late = await use("query", endless);
      expect(late.kind).toBe("failed");
      expect(textOf(late)).toContain("longer than 500 ms");
      const controller = new AbortController();
      const asked = use("query", endless, [], { signal: controller.signal });
      controller.abort();
      expect((await asked).kind).toBe("not_performed");
      expect(rowsOf(await use("query", "SELECT count(*) FROM orders"))).toEqual([[3]]);
    });

    it("lists tables with their columns and keys", async () => {
      const outcome = await scene.source.call("schema", {}, options());
      expect(textOf(outcome)).toMatch(/orders \(table.*\)\n {2}id integer key/i);
      expect(textOf(outcome)).toMatch(/order_id.*orders/);
    });

    it("takes values for placeholders as they are", async () => {
      const hostile = "'; DROP TABLE orders; --";
      expect((await use("change", `INSERT INTO loose VALUES (${at(1)}, ${at(2)})`, [5, hostile])).kind).toBe("done");
      expect(rowsOf(await use("query", `SELECT b FROM loose WHERE a = ${at(1)}`, [5]))).toEqual([[hostile]]);
    });
  });
}

suite(SQLITE, describe);
suite(POSTGRES, needs(`PostgreSQL at ${SERVER} (REEVE_TEST_POSTGRES names another)`, await answers()));
