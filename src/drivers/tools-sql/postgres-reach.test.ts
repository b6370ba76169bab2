// Goal: a statement that reaches what acts beside its transaction is not run, by whatever way it reaches it; and what is usual is. Method:
// a database with a function of which nothing can be known, hidden behind all by which PostgreSQL calls functions; each
// statement must be refused before it ran, and for that function.
import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { ToolOutcome, ToolSource } from "../../ports/tools.ts";
import { options, textOf } from "./outcome.fake.ts";
import { bodyOf } from "./postgres-bodies.ts";
import { createSqlSource } from "./source.ts";

const SERVER = process.env["REEVE_TEST_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/test";
async function answers(): Promise<boolean> {
  const client = new pg.Client({ connectionString: SERVER, connectionTimeoutMillis: 20_000 });
  return client.connect().then(
    () => client.end().then(() => true),
    () => false,
  );
}

/** `leak` is one of the server's own functions under another name. It is a harmless one; nothing but its source says so. */
const SCENE = `
CREATE FUNCTION leak(text) RETURNS text STRICT LANGUAGE internal AS 'upper';
CREATE FUNCTION say(text) RETURNS text LANGUAGE sql AS $$ SELECT "leak" ($1) /* ' */ $$;
CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN say($1); END $$;
CREATE FUNCTION dynamic(q text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE q; RETURN 1; END $$;
CREATE FUNCTION direct() RETURNS text BEGIN ATOMIC SELECT pg_read_file('/etc/hostname'); END;
CREATE FUNCTION moved(int) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE TABLE t (id int PRIMARY KEY, a int, note text); INSERT INTO t SELECT n, n FROM generate_series(1, 30) n;
CREATE VIEW inner_view AS SELECT a, told(note) AS x FROM t;
CREATE VIEW outer_view AS SELECT a FROM inner_view;
CREATE VIEW file_view AS SELECT pg_read_file('/etc/hostname') AS x;
CREATE FUNCTION alike(int, int) RETURNS bool LANGUAGE sql AS $$ SELECT say('x') IS NULL $$;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = alike);
CREATE FUNCTION by_sign(int) RETURNS bool LANGUAGE sql AS $$ SELECT $1 === 1 $$;
CREATE DOMAIN checked AS text CHECK (say(value) IS NOT NULL);
CREATE TABLE with_domain (id int, x checked);
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION to_pair(text) RETURNS pair LANGUAGE sql AS $$ SELECT 1, say($1) $$;
CREATE CAST (text AS pair) WITH FUNCTION to_pair (text) AS ASSIGNMENT;
CREATE TABLE of_pairs (p pair);
CREATE FUNCTION telling() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM say('x'); RETURN coalesce(new, old); END $$;
CREATE TABLE triggered (id int PRIMARY KEY); CREATE TRIGGER x BEFORE INSERT OR DELETE ON triggered FOR EACH ROW EXECUTE FUNCTION telling();
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (p int REFERENCES parent ON DELETE CASCADE); INSERT INTO parent VALUES (1);
CREATE TRIGGER x BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION telling();
CREATE FUNCTION adds() RETURNS int LANGUAGE sql AS $$ INSERT INTO triggered VALUES (1) RETURNING id $$;
CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON guarded USING (say('x') IS NULL);
CREATE TABLE defaulted (id int, x text DEFAULT say('y'));
CREATE TABLE bounded (id int, x text, CHECK (say(x) IS NULL));
CREATE TABLE ruled (id int); CREATE RULE r AS ON INSERT TO ruled DO ALSO SELECT say('x');
CREATE FUNCTION part(t) RETURNS text LANGUAGE sql AS $$ SELECT say('z') $$;
CREATE FUNCTION by_column() RETURNS text LANGUAGE sql AS $$ SELECT t.part FROM t LIMIT 1 $$;
CREATE AGGREGATE gathered (text) (sfunc = textcat, stype = text, finalfunc = say);
CREATE FUNCTION constant(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT say('z') $$;
CREATE TABLE split (id int) PARTITION BY LIST (id); CREATE TABLE split_1 PARTITION OF split DEFAULT;
CREATE TRIGGER x BEFORE INSERT ON split_1 FOR EACH ROW EXECUTE FUNCTION telling();
CREATE FUNCTION abs(text) RETURNS text LANGUAGE sql AS $$ SELECT say('z') $$;
CREATE FUNCTION compared(int, int) RETURNS int STRICT IMMUTABLE LANGUAGE internal AS 'btint4cmp';
CREATE OPERATOR CLASS odd FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compared (int, int);
CREATE TABLE indexed (id int); CREATE INDEX ON indexed (id odd);
CREATE FUNCTION counted(int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE n int; BEGIN -- execute copy
  SELECT count(*) INTO n FROM t WHERE a > $1 AND lower('EXECUTE leak(') = 'x'; RETURN n; END $$;
CREATE FUNCTION noting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('a', 'b'); new.at := now(); RETURN new; END $$;
CREATE TABLE noted (id serial PRIMARY KEY, at timestamptz); CREATE TRIGGER x BEFORE INSERT ON noted FOR EACH ROW EXECUTE FUNCTION noting();
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int);
CREATE VIEW plain AS SELECT id, now() AS at FROM t`;

const UNKNOWN_QUERIES = [
  "SELECT leak('/etc/hostname')",
  "SELECT say('x')",
  "SELECT told('x')",
  "SELECT * FROM outer_view",
  "SELECT * FROM inner_view",
  "SELECT 1 === 2",
  `SELECT 1 WHERE EXISTS (SELECT FROM t WHERE id === a)`,
  "SELECT by_sign(1)",
  "SELECT 'x'::checked",
  `SELECT jsonb_populate_record(NULL::with_domain, '{"x": 1}')`,
  "SELECT 'x'::text::pair",
  "SELECT * FROM guarded",
  "SELECT t.part FROM t",
  "SELECT by_column()",
  "SELECT (r).part FROM (SELECT t AS r FROM t) s",
  "SELECT gathered(note) FROM t",
  "SELECT abs('x'::text)",
  "EXPLAIN SELECT constant('x')",
  // What is constant in a check is computed when a plan is made.
  "SELECT id FROM bounded",
  "EXPLAIN INSERT INTO defaulted VALUES (1)",
];
const UNKNOWN_CHANGES = [
  "INSERT INTO with_domain VALUES (1, 'x')",
  "INSERT INTO of_pairs SELECT note FROM t",
  "INSERT INTO triggered VALUES (1)",
  "DELETE FROM parent WHERE id = 1",
  "INSERT INTO t (id) SELECT adds()",
  "INSERT INTO defaulted (id) VALUES (1)",
  "INSERT INTO bounded VALUES (1, 'x')",
  "INSERT INTO ruled VALUES (1)",
  "INSERT INTO split VALUES (1)",
  "UPDATE outer_view SET a = 1 WHERE a = 2",
  "CREATE INDEX ON t (constant(note))",
  "CREATE TABLE made AS SELECT told('x')",
  "CREATE VIEW made AS SELECT told('x')",
  "ALTER TABLE t ADD COLUMN b text DEFAULT told('x')",
  "MERGE INTO triggered USING t ON t.id = triggered.id WHEN NOT MATCHED THEN INSERT VALUES (t.id)",
];
const USUAL_QUERIES = [
  "SELECT now(), random(), gen_random_uuid(), clock_timestamp(), current_date, version(), round(-1.5)",
  "SELECT counted(3), moved(1), total(a), count(*), string_agg(a::text, ',' ORDER BY a) FROM t WHERE id BETWEEN 1 AND 5",
  "SELECT row_number() OVER (ORDER BY id), lag(a) OVER w FROM t WINDOW w AS (PARTITION BY a) LIMIT 1",
  "SELECT * FROM plain LIMIT 1",
  // Reading calls no trigger and no default.
  "SELECT * FROM triggered",
  "SELECT id FROM defaulted",
  "SELECT relname, pg_size_pretty(pg_total_relation_size(oid)) FROM pg_class LIMIT 1",
  "SELECT table_name FROM information_schema.tables LIMIT 1",
  "SELECT pid, state FROM pg_stat_activity LIMIT 1",
  "SELECT * FROM pg_locks LIMIT 1",
  `SELECT x ->> 'a', jsonb_path_query(x, '$.a') FROM (SELECT '{"a": 1}'::jsonb AS x) s`,
  "SELECT * FROM json_to_recordset('[]') AS x (a int)",
  "SELECT to_tsvector('english', 'cats') @@ to_tsquery('cat'), regexp_matches('abc', 'b'), date_trunc('day', now())",
  "EXPLAIN ANALYZE SELECT * FROM t",
];
const USUAL_CHANGES = [
  "INSERT INTO noted (at) VALUES (DEFAULT)",
  "UPDATE t SET a = counted(3), note = upper('x') WHERE id = 2",
  "DELETE FROM t WHERE id = 30",
  "CREATE TABLE kept (id serial PRIMARY KEY, at timestamptz DEFAULT now(), CHECK (id > 0))",
  "CREATE INDEX ON t USING btree (lower(note))",
];

needs(`PostgreSQL at ${SERVER} (REEVE_TEST_POSTGRES names another)`, await answers())(
  "what a statement reaches",
  () => {
    const schema = `reeve_test_${randomBytes(6).toString("hex")}`;
    // A database of its own: what is laid on all definitions would meet those of other tests.
    const place = new URL(SERVER);
    place.pathname = schema;
    const server = new pg.Client({ connectionString: SERVER });
    const client = new pg.Client({ connectionString: place.href });
    const sources: ToolSource[] = [];
    const source = (path = schema, vouchedFor: readonly string[] = []): ToolSource => {
      const url = new URL(place);
      url.searchParams.set("options", `-c search_path=${path}`);
      const made = createSqlSource(
        "db",
        { kind: "postgres", url: url.href },
        { rowsMax: 100, timeoutMs: 20_000, vouchedFor },
      );
      sources.push(made);
      return made;
    };
    let plain: ToolSource;
    const use = (tool: string, statement: string, by = plain): Promise<ToolOutcome> =>
      by.call(tool, { statement }, options());

    beforeAll(async () => {
      await server.connect();
      await server.query(`CREATE DATABASE ${schema} TEMPLATE template0`);
      await client.connect();
      await client.query(`CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${SCENE}`);
      plain = source();
    });
    afterAll(async () => {
      for (const each of sources) await each.close();

      await client.end();
      await server.query(`DROP DATABASE ${schema} WITH (FORCE)`);
      await server.end();
    });

    it.each(UNKNOWN_QUERIES)("refuses a query that calls what is not known: %s", async (statement) => {
      const outcome = await use("query", statement);
      expect(outcome.kind).toBe("not_performed");
      expect(textOf(outcome)).toContain(`the function ${schema}.leak is written in internal`);
    });

    it.each(UNKNOWN_CHANGES)("refuses a change that does, before its preview: %s", async (statement) => {
      await expect(plain.preview?.("change", { statement }, options())).rejects.toThrow(
        `the function ${schema}.leak is written in internal`,
      );
      expect((await use("change", statement)).kind).toBe("not_performed");
    });

    it("refuses what PostgreSQL itself has, behind a view or a body, and what runs text as SQL", async () => {
      for (const [statement, why] of [
        ["SELECT * FROM file_view", "pg_read_file acts on more"],
        ["SELECT direct()", "pg_read_file acts on more"],
        ["SELECT * FROM pg_hba_file_rules", "pg_hba_file_rules acts on more"],
        ["SELECT domain_in('x', 1, -1)", "domain_in acts on more"],
        ["SELECT dynamic('SELECT 1')", "it runs text as SQL"],
        ["SELECT * FROM indexed WHERE id = 1", "compared is written in internal"],
      ] as const)
        expect(textOf(await use("query", statement)), statement).toContain(why);
    });

    it.each(USUAL_QUERIES)("runs what is usual: %s", async (statement) => {
      expect(await use("query", statement)).toMatchObject({ kind: "done" });
    });

    it.each(USUAL_CHANGES)("makes usual changes: %s", async (statement) => {
      expect(await use("change", statement)).toMatchObject({ kind: "done" });
    });

    it("goes by the search path as the server does", async () => {
      const other = `${schema}_b`;
      await client.query(
        `CREATE SCHEMA ${other}; CREATE FUNCTION ${other}.now() RETURNS text LANGUAGE sql AS $$ SELECT ${schema}.say('x') $$`,
      );
      try {
        expect((await use("query", "SELECT now()", source(`${other},${schema}`))).kind).toBe("done");
        expect((await use("query", "SELECT now()", source(`${other},pg_catalog`))).kind).toBe("not_performed");
        expect((await use("query", "SELECT pg_catalog.now()", source(`${other},pg_catalog`))).kind).toBe("done");
      } finally {
        await client.query(`DROP SCHEMA ${other} CASCADE`);
      }
    });

    it("runs what an operator vouches for, and nothing else", async () => {
      const vouching = source(schema, [`${schema}.leak`]);
      expect((await use("query", "SELECT count(say('/etc/hostname'))", vouching)).kind).toBe("done");
      expect((await use("query", "SELECT dynamic('SELECT 1')", vouching)).kind).toBe("not_performed");
    });

    it("looks at what runs with a definition", async () => {
      await client.query(`CREATE FUNCTION on_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM ${schema}.say('x'); END $$;
      CREATE EVENT TRIGGER ${schema} ON sql_drop EXECUTE FUNCTION on_drop()`);
      try {
        await expect(plain.preview?.("destroy", { statement: "DROP TABLE t" }, options())).rejects.toThrow(
          "leak is written in internal",
        );
      } finally {
        await client.query(`DROP EVENT TRIGGER ${schema}`);
      }
      expect((await plain.preview?.("destroy", { statement: "DROP TABLE t CASCADE" }, options()))?.text).toContain(
        "29 rows",
      );
    });
  },
);

describe("the body of a function", () => {
  it("is read without its comments and strings", () => {
    const { refused, calls, words } = bodyOf(
      String.raw`begin /* execute a(1) */ perform "Say" (E'it\'s b(2)', $q$ c(3) ' $q$), d ('-- '); -- execute
        update t set x = 1; end`,
    );
    expect(refused).toBeUndefined();
    expect(calls).toEqual(["Say", "d"]);
    expect(words).toContain("t");
  });

  it.each([
    "begin execute q; end",
    "begin\n  copy t to program 'x'; end",
    "select 1; notify a",
    "begin set local role x; end",
    "begin for r in execute q loop end loop; end",
  ])("is refused where it does what cannot be known: %s", (source) => expect(bodyOf(source).refused).toBeDefined());
});
