// Goal: each statement goes to the tool that fits it or to none, whatever it is dressed in. Method: lists of statements with
// the verdict for each, read by the real grammars; no database is asked.
import { describe, expect, it } from "vitest";
import { OsError } from "../../abi/errors.ts";
import { classifyPostgres } from "./classify-postgres.ts";
import { classifySqlite } from "./classify-sqlite.ts";
import { checkFit, type Fit, type Statement } from "./statement.ts";

type Verdict = Fit | "refused";
type Row = readonly [expected: Verdict, statement: string];

const POSTGRES: readonly Row[] = [
  ["query", "SELECT 1"],
  ["query", "select * from t where id = $1;"],
  ["query", "TABLE t"],
  ["query", "VALUES (1), (2)"],
  ["query", "SHOW search_path"],
  ["query", "/* DELETE FROM t */ SELECT 1 -- ; DROP TABLE t"],
  ["query", "SELECT 'DROP TABLE t; --'"],
  ["query", "SELECT $tag$ ; DELETE FROM t; $tag$"],
  ["query", String.raw`SELECT U&'d\0061t'`],
  ["query", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r"],
  ["query", "WITH a AS (WITH b AS (SELECT 1 AS x) SELECT * FROM b) SELECT * FROM a"],
  ["query", "EXPLAIN SELECT * FROM t"],
  ["query", "EXPLAIN ANALYZE SELECT * FROM t"],
  ["query", "EXPLAIN DELETE FROM t"],
  ["query", "SELECT pg_sleep(1)"],
  ["refused", "EXPLAIN ANALYZE DELETE FROM t WHERE id = 1"],
  ["refused", "EXPLAIN (VERBOSE, ANALYZE) INSERT INTO t VALUES (1)"],
  ["refused", "EXPLAIN (AnAlYzE on) UPDATE t SET a = 1 WHERE id = 1"],
  ["refused", "WITH x AS (DELETE FROM t WHERE id = 1 RETURNING *) SELECT * FROM x"],
  ["refused", "WITH a AS (WITH b AS (UPDATE t SET a = 1 WHERE id = 1 RETURNING *) SELECT * FROM b) SELECT * FROM a"],
  ["refused", "WITH x AS (DELETE FROM t WHERE id = 1 RETURNING *) INSERT INTO u SELECT * FROM x"],
  ["refused", "EXPLAIN ANALYZE WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x"],
  ["refused", "SELECT * INTO copy FROM t"],
  ["refused", "SELECT * FROM t FOR UPDATE"],
  ["refused", "SELECT * FROM (SELECT * FROM t FOR SHARE) s"],
  ["refused", "SELECT 1; SELECT 2"],
  ["refused", "SELECT 1; DROP TABLE t"],
  ["refused", "SELECT 1 /* ; */ ; /* x */ DELETE FROM t"],
  ["refused", ""],
  ["refused", "  -- nothing"],
  ["refused", "SELEC 1"],
  ["refused", "DELETE FROM t WHERE"],
  ["refused", "SELECT pg_read_file('/etc/passwd')"],
  ["refused", "SELECT pg_catalog.pg_ls_dir('.')"],
  ["refused", `SELECT "pg_read_file"('/etc/passwd')`],
  ["refused", "SELECT lo_import('/etc/passwd')"],
  ["refused", "SELECT * FROM dblink('host=other', 'DELETE FROM t') AS x(a int)"],
  ["refused", "SELECT public.dblink_exec('host=other', 'DELETE FROM t')"],
  ["refused", "SELECT set_config('transaction_read_only', 'off', false)"],
  ["refused", "SELECT query_to_xml('DELETE FROM t', true, true, '')"],
  ["refused", "SELECT pg_terminate_backend(1)"],
  ["refused", "SELECT pg_advisory_lock(1)"],
  ["refused", "SELECT * FROM t WHERE id = (SELECT setval('s', 1))"],
  ["refused", "INSERT INTO t VALUES (pg_notify('a', 'b'))"],
  ["refused", "COPY t TO PROGRAM 'cat'"],
  ["refused", "COPY t FROM '/etc/passwd'"],
  ["refused", "COPY (SELECT 1) TO STDOUT"],
  ["refused", "DO $$ BEGIN DELETE FROM t; END $$"],
  ["refused", "CALL p(1)"],
  ["refused", "GRANT ALL ON t TO PUBLIC"],
  ["refused", "VACUUM FULL t"],
  ["refused", "REINDEX TABLE t"],
  ["refused", "SET ROLE postgres"],
  ["refused", "RESET ALL"],
  ["refused", "BEGIN"],
  ["refused", "COMMIT"],
  ["refused", "ROLLBACK; DELETE FROM t"],
  ["refused", "PREPARE p AS DELETE FROM t"],
  ["refused", "EXECUTE p"],
  ["refused", "LISTEN a"],
  ["refused", "LOCK TABLE t"],
  ["refused", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
  ["refused", "CREATE EXTENSION dblink"],
  ["refused", "ALTER SYSTEM SET fsync = off"],
  ["refused", "ALTER TABLE t OWNER TO mallory"],
  ["refused", "ALTER TABLE t DISABLE TRIGGER ALL"],
  ["refused", "DROP ROLE postgres"],
  ["refused", "DROP FUNCTION f"],
  ["refused", "DROP DATABASE test"],
  ["refused", "CREATE INDEX CONCURRENTLY i ON t (a)"],
  ["refused", "DELETE FROM t WHERE CURRENT OF c"],
  ["refused", "SELECT 1\u0000"],
  ["refused", "CREATE SCHEMA s GRANT SELECT ON t TO PUBLIC"],
  ["refused", "CREATE SCHEMA s CREATE TRIGGER x AFTER DELETE ON t EXECUTE FUNCTION f()"],
  ["refused", "CREATE SCHEMA s AUTHORIZATION joe"],
  ["refused", "ALTER ROLE a RENAME TO b"],
  ["refused", "ALTER DATABASE a RENAME TO b"],
  ["refused", "ALTER FUNCTION f() RENAME TO g"],
  ["refused", "CREATE TEMP TABLE x (a int)"],
  ["refused", "CREATE TEMP TABLE x AS SELECT 1"],
  ["refused", "CREATE TEMP VIEW v AS SELECT 1"],
  ["refused", "CREATE TABLE pg_temp.x (a int)"],
  ["refused", "SELECT cron.schedule('x', '* * * * *', 'DELETE FROM t')"],
  ["refused", "INSERT INTO t SELECT net.http_post('http://x')"],
  ["refused", "SELECT public.http_post('http://x', 'a', 'b')"],
  ["refused", "SELECT heap_force_kill('t'::regclass, ARRAY['(0,1)']::tid[])"],
  ["refused", "SELECT pg_clear_relation_stats('public', 't')"],
  ["change", "CREATE SCHEMA s"],
  ["change", "ALTER TABLE t RENAME COLUMN a TO b"],
  ["destroy", "CREATE OR REPLACE VIEW v AS SELECT 1 AS a"],
  ["change", "INSERT INTO t VALUES (1)"],
  ["change", "INSERT INTO t (a) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 2"],
  ["change", "INSERT INTO t SELECT nextval('s'), 1"],
  ["change", "WITH x AS (SELECT 1 AS id) INSERT INTO t SELECT * FROM x"],
  ["change", "UPDATE t SET a = 1 WHERE id = 1"],
  ["change", "UPDATE public.t AS x SET a = 1 FROM u WHERE x.id = u.id"],
  ["change", "DELETE FROM t WHERE id IN (SELECT id FROM u)"],
  ["change", "DELETE FROM t USING u WHERE t.id = u.id"],
  ["change", "DELETE FROM t WHERE a AND (1 = 1)"],
  ["change", "DELETE FROM t WHERE done_at IS NOT NULL"],
  ["change", "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = 1"],
  ["change", "CREATE TABLE x (id int)"],
  ["change", "CREATE TABLE x AS SELECT 1 AS a"],
  ["change", "CREATE INDEX i ON t (a)"],
  ["change", "CREATE VIEW v AS SELECT 1 AS a"],
  ["change", "ALTER TABLE t ADD COLUMN b int"],
  ["change", "ALTER TABLE t RENAME TO u"],
  ["destroy", "DELETE FROM t"],
  ["destroy", "delete/**/from/**/t"],
  ["destroy", "DELETE FROM t -- WHERE id = 1"],
  ["destroy", "DELETE FROM t WHERE true"],
  ["destroy", "DELETE FROM t WHERE 1 = 1"],
  ["destroy", "DELETE FROM t WHERE $1"],
  ["destroy", "DELETE FROM t WHERE id = id"],
  ["destroy", "DELETE FROM t WHERE t.id IN (t.id)"],
  ["destroy", "DELETE FROM t WHERE id = 1 OR 1 = 1"],
  ["destroy", "DELETE FROM t WHERE id = 1 OR NOT (false AND id = 2)"],
  ["destroy", "DELETE FROM t WHERE NOT (1 = 2)"],
  ["destroy", "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = 1)"],
  ["destroy", "DELETE FROM t WHERE now() > '2000-01-01'"],
  ["destroy", "DELETE FROM t USING u WHERE u.id = 1"],
  ["destroy", "UPDATE t SET a = 1"],
  ["destroy", "UPDATE t SET a = 1 FROM u WHERE u.id = 1"],
  ["destroy", "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE"],
  ["destroy", "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED BY SOURCE THEN DELETE"],
  ["destroy", "DROP TABLE t"],
  ["destroy", "DROP TABLE IF EXISTS a, b CASCADE"],
  ["destroy", "DROP SCHEMA s CASCADE"],
  ["destroy", "TRUNCATE t, u CASCADE"],
  ["destroy", "ALTER TABLE t DROP COLUMN a"],
  ["destroy", "ALTER TABLE t ADD COLUMN b int, DROP COLUMN a"],
  ["destroy", "ALTER TABLE t ALTER COLUMN a TYPE text"],
];

const SQLITE: readonly Row[] = [
  ["query", "SELECT 1"],
  ["query", "VALUES (1)"],
  ["query", "/* DELETE FROM t */ SELECT 1; -- ; DROP TABLE t"],
  ["query", "SELECT 'a;b', \"c;d\", [e;f], `g;h` FROM t"],
  ["query", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 5) SELECT * FROM r"],
  ["query", "EXPLAIN QUERY PLAN DELETE FROM t"],
  ["query", "EXPLAIN DELETE FROM t"],
  ["query", "PRAGMA table_info(t)"],
  ["query", "SELECT * FROM pragma_table_info('t')"],
  ["refused", "PRAGMA user_version = 3"],
  ["refused", "PRAGMA writable_schema(1)"],
  ["refused", "PRAGMA journal_mode"],
  ["refused", "ATTACH '/etc/other.db' AS x"],
  ["refused", "DETACH x"],
  ["refused", "SELECT load_extension('/tmp/x.so')"],
  ["refused", "SELECT LOAD_EXTENSION('/tmp/x.so')"],
  ["refused", "SELECT \"load_extension\"('x')"],
  ["refused", "INSERT INTO t SELECT writefile('/tmp/x', a) FROM t"],
  ["refused", "SELECT 1; SELECT 2"],
  ["refused", "SELECT 1;;;DROP TABLE t"],
  ["refused", "BEGIN"],
  ["refused", "COMMIT"],
  ["refused", "SAVEPOINT a"],
  ["refused", "VACUUM INTO '/tmp/copy.db'"],
  ["refused", "REINDEX"],
  ["refused", "ANALYZE"],
  ["refused", "CREATE TRIGGER x AFTER DELETE ON t BEGIN DELETE FROM u; END"],
  ["refused", "CREATE VIRTUAL TABLE f USING fts5(x)"],
  ["refused", "CREATE TEMP TABLE x (a)"],
  ["refused", "INSERT INTO other.t VALUES (1)"],
  ["refused", "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x"],
  ["refused", "COPY t TO 'x'"],
  ["refused", "GRANT ALL ON t TO me"],
  ["refused", "TRUNCATE t"],
  ["refused", ""],
  ["refused", "SELECT 1\u0000"],
  ["change", "INSERT INTO t VALUES (1)"],
  ["change", "REPLACE INTO t VALUES (1)"],
  ["change", "INSERT INTO t(a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2"],
  ["change", "UPDATE t SET a = 1 WHERE id = ?1"],
  ["change", "UPDATE t AS x SET a = 1 FROM u WHERE x.id = u.id"],
  ["change", "WITH x AS (SELECT 1) DELETE FROM t WHERE id IN x"],
  ["change", "DELETE FROM main.t WHERE \"id\" = 'a' AND true"],
  ["change", "CREATE TABLE x (id)"],
  ["change", "CREATE INDEX i ON t (a)"],
  ["change", "ALTER TABLE t ADD COLUMN b"],
  ["change", "ALTER TABLE t RENAME TO u"],
  ["destroy", "DELETE FROM t"],
  ["destroy", "DELETE FROM t WHERE 1"],
  ["destroy", "DELETE FROM t WHERE TRUE"],
  ["destroy", "DELETE FROM t WHERE 1 = 1 OR id = 2"],
  ["destroy", "DELETE FROM t WHERE id IS id"],
  ["destroy", "DELETE FROM t WHERE (((1)))"],
  ["destroy", "DELETE FROM t WHERE NOT (0 AND id = 1)"],
  ["destroy", "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u)"],
  ["destroy", "DELETE FROM t WHERE ?"],
  ["destroy", "UPDATE t SET a = 1"],
  ["destroy", "UPDATE t SET a = 1 FROM u WHERE u.id = 1"],
  ["destroy", "DROP TABLE t"],
  ["destroy", "DROP TRIGGER x"],
  ["destroy", "ALTER TABLE t DROP COLUMN a"],
];

async function verdictOf(classify: () => Promise<Statement>): Promise<Verdict> {
  try {
    return (await classify()).fits;
  } catch (error) {
    if (OsError.is(error, "invalid_argument")) return "refused";
    throw error;
  }
}

const DIALECTS = [
  ["PostgreSQL", POSTGRES, classifyPostgres],
  ["SQLite", SQLITE, async (text: string) => classifySqlite(text)],
] as const;

for (const [dialect, rows, classify] of DIALECTS)
  describe(`statements of ${dialect}`, () => {
    for (const [expected, statement] of rows)
      it(`${expected}: ${JSON.stringify(statement)}`, async () => {
        expect(await verdictOf(() => classify(statement))).toBe(expected);
      });

    it("refuses what is longer or more nested than is read", async () => {
      const nested = `DELETE FROM t WHERE ${"(".repeat(30_000)}1${")".repeat(30_000)}`;
      expect(await verdictOf(() => classify(nested))).toBe("refused");
      expect(await verdictOf(() => classify(`SELECT '${"x".repeat(70_000)}'`))).toBe("refused");
      // The reader is whole after that.
      expect(await verdictOf(() => classify("SELECT 1"))).toBe("query");
    });
  });

describe("a statement's text", () => {
  it("ends before its semicolon, so that something may be put behind it", async () => {
    expect((await classifyPostgres("SELECT 'ü' -- a;\n; -- b")).text).toBe("SELECT 'ü' -- a;");
    expect(classifySqlite("SELECT 'ü' ; -- b").text).toBe("SELECT 'ü'");
  });
});

describe("whether a statement names its rows by values", () => {
  const named = async (statement: string): Promise<readonly boolean[]> =>
    Promise.all(
      [classifyPostgres, async (text: string) => classifySqlite(text)].map(async (classify) => {
        const { does } = await classify(statement);
        return does.kind === "rows" && does.named;
      }),
    );

  it.each([
    "DELETE FROM t WHERE id = 1",
    "DELETE FROM t WHERE 1 = t.id AND a > 5",
    "UPDATE t AS x SET a = 1 WHERE x.id IN (1, -2) OR (id) = 'a'",
    "INSERT INTO t (id) VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET a = 0",
  ])("%s does", async (statement) => {
    expect(await named(statement)).toEqual([true, true]);
  });

  it.each([
    "DELETE FROM t WHERE id IS NOT NULL",
    "DELETE FROM t WHERE id > 0",
    "DELETE FROM t WHERE id <> 1",
    "DELETE FROM t WHERE NOT (id = 1)",
    "DELETE FROM t WHERE id NOT IN (1, 2)",
    "DELETE FROM t WHERE id = 1 OR id > 1",
    "DELETE FROM t WHERE id + 0 = id",
    "DELETE FROM t WHERE id = a",
    "DELETE FROM t WHERE id IN (SELECT id FROM t)",
    "DELETE FROM t WHERE (id = 1) IS NOT NULL",
    "UPDATE t SET a = 1 FROM u WHERE u.id = 1 AND t.id = u.id",
    "INSERT INTO t SELECT * FROM t AS x WHERE true ON CONFLICT (id) DO UPDATE SET a = 0",
  ])("%s does not", async (statement) => {
    expect(await named(statement)).toEqual([false, false]);
  });
});

describe("which tool takes a statement", () => {
  it("names the tool that fits", async () => {
    const unbounded = await classifyPostgres("DELETE FROM t");
    expect(() => checkFit("query", unbounded)).toThrow(/no condition on t bounds.*"destroy"/);
    expect(() => checkFit("change", unbounded)).toThrow(/"destroy"/);
    expect(() => checkFit("change", classifySqlite("SELECT 1"))).toThrow(/"query"/);
  });

  it("lets destroy take a bounded deletion, for one of very many rows, and no insertion", () => {
    expect(() => checkFit("destroy", classifySqlite("DELETE FROM t WHERE id > 1"))).not.toThrow();
    expect(() => checkFit("destroy", classifySqlite("INSERT INTO t VALUES (1)"))).toThrow(/"change"/);
  });
});
