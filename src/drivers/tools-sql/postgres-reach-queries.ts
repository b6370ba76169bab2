// The questions to PostgreSQL's catalogue behind postgres-reach.ts. They are several since most statements need few of them, and
// since planning them is what takes the time.
//
// Each answers with `f` functions, `r` relations and `t` types, by their ids. What a cluster is made with has ids below 16384: of
// these only functions are of interest, by their names alone, and the views that call them.

/** The first id of what somebody made. */
export const OWN_ID = 16_384;

const made = (name: string): string => `${name}::oid >= ${OWN_ID}`;
const idsOf = (...names: string[]): string => `ARRAY[${names.join(", ")}]::oid[]`;
/** Whether something with these types may be meant: they are PostgreSQL's own, or were reached ($2). */
const fits = (types: string): string =>
  `NOT EXISTS (SELECT FROM unnest(${types}) a WHERE ${made("a")} AND a <> ALL ($2::oid[]))`;
const functionFits = `(${fits("p.proargtypes")} OR NOT EXISTS (SELECT FROM pg_proc e WHERE e.proname = p.proname AND NOT ${made("e.oid")}))`;
/** Behind an operator are three: what computes it, and what is asked when a plan is made. */
const OPERATOR = `unnest(${idsOf("o.oprcode", "o.oprrest", "o.oprjoin")})`;
const operatorFits = `${made("o.oprcode")} AND (${fits(idsOf("o.oprleft", "o.oprright"))}
  OR NOT EXISTS (SELECT FROM pg_operator e WHERE e.oprname = o.oprname AND NOT ${made("e.oid")}))`;

/** A function of a row may be written like a column of it. */
const ofRow =
  "p.pronargs - p.pronargdefaults <= 1 AND EXISTS (SELECT FROM pg_type a WHERE a.oid = p.proargtypes[0] AND a.typtype IN ('c', 'p'))";

const selected = (functions: string, relations: string, types: string): string => `
SELECT 'f', oid::text FROM (${functions}) f (oid) WHERE oid <> 0
UNION ALL SELECT 'r', r.oid::text FROM (${relations}) r (oid) JOIN pg_class c ON c.oid = r.oid WHERE ${made("r.oid")} OR c.relkind = 'v'
UNION ALL SELECT 't', oid::text FROM (${types}) t (oid) WHERE ${made("oid")}`;

/** What names ($1, JSON) may stand for; $2 the types that were reached; $3 whether a definition changes. */
export const NAMED = `WITH names AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json) AS x (kind text, schema text, name text))
${selected(
  `SELECT p.oid FROM names n JOIN pg_proc p ON p.proname = n.name JOIN pg_namespace s ON s.oid = p.pronamespace
    WHERE n.kind = 'function' AND (n.schema = s.nspname OR n.schema IS NULL AND pg_function_is_visible(p.oid)) AND ${functionFits}
  UNION SELECT p.oid FROM names n JOIN pg_proc p ON p.proname = n.name AND ${made("p.oid")}
    WHERE n.kind = 'attribute' AND pg_function_is_visible(p.oid) AND ${ofRow}
  UNION SELECT ${OPERATOR} FROM names n JOIN pg_operator o ON o.oprname = n.name JOIN pg_namespace s ON s.oid = o.oprnamespace
    WHERE n.kind = 'operator' AND (n.schema = s.nspname OR n.schema IS NULL AND pg_operator_is_visible(o.oid)) AND ${operatorFits}
  UNION SELECT a.amhandler FROM names n JOIN pg_am a ON a.amname = n.name WHERE n.kind = 'access' AND ${made("a.amhandler")}
  UNION SELECT castfunc FROM pg_cast WHERE ${made("castfunc")} AND ${fits(idsOf("castsource", "casttarget"))}
  UNION SELECT evtfoid FROM pg_event_trigger WHERE $3 AND evtenabled <> 'D'`,
  `SELECT c.oid FROM names n JOIN pg_class c ON c.relname = n.name JOIN pg_namespace s ON s.oid = c.relnamespace
    WHERE n.kind = 'relation' AND (n.schema = s.nspname OR n.schema IS NULL AND pg_table_is_visible(c.oid))`,
  `SELECT t.oid FROM names n JOIN pg_type t ON t.typname = n.name JOIN pg_namespace s ON s.oid = t.typnamespace
    WHERE n.kind = 'type' AND (n.schema = s.nspname OR n.schema IS NULL AND pg_type_is_visible(t.oid))`,
)}`;

/** What bodies ($1, JSON) may mean, in whatever schema; $2 the types that were reached. */
export const IN_BODIES = `WITH bodies AS MATERIALIZED (SELECT * FROM json_to_record($1::json) AS x (calls text[], words text[], bare text))
${selected(
  `SELECT p.oid FROM bodies b JOIN pg_proc p ON p.proname = ANY (b.calls)
  UNION SELECT p.oid FROM bodies b JOIN pg_proc p ON p.proname = ANY (b.words) AND ${made("p.oid")} AND ${ofRow}
  UNION SELECT ${OPERATOR} FROM bodies b JOIN pg_operator o ON position(o.oprname IN b.bare) > 0 WHERE ${operatorFits}`,
  `SELECT c.oid FROM bodies b JOIN pg_class c ON c.relname = ANY (b.words) WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')`,
  `SELECT t.oid FROM bodies b JOIN pg_type t ON t.typname = ANY (b.words) AND t.typtype <> 'c'`,
)}`;

/** What functions ($1), relations ($2) and types ($3) hold; $4 whether rows may change. */
export const HELD = `
-- What stands in the catalogue as an expression. Also of what is only read: what is constant in a check or an index is computed
-- when a plan is made.
WITH stored AS MATERIALIZED (
  SELECT 'pg_rewrite'::regclass::oid AS classid, oid AS objid, concat(ev_action::text, ev_qual::text) AS tree
    FROM pg_rewrite WHERE ev_class = ANY ($2::oid[]) AND ($4 OR ev_type = '1')
  UNION ALL SELECT 'pg_policy'::regclass, oid, concat(polqual::text, polwithcheck::text) FROM pg_policy WHERE polrelid = ANY ($2::oid[])
  UNION ALL SELECT 'pg_attrdef'::regclass, oid, adbin::text FROM pg_attrdef WHERE adrelid = ANY ($2::oid[])
    AND ($4 OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = adrelid AND attnum = adnum AND to_jsonb(pg_attribute) ->> 'attgenerated' = 'v'))
  UNION ALL SELECT 'pg_constraint'::regclass, oid, conbin::text FROM pg_constraint WHERE conrelid = ANY ($2::oid[])
  UNION ALL SELECT 'pg_constraint'::regclass, oid, conbin::text FROM pg_constraint WHERE contypid = ANY ($3::oid[])
  UNION ALL SELECT 'pg_trigger'::regclass, oid, tgqual::text FROM pg_trigger WHERE $4 AND tgrelid = ANY ($2::oid[]) AND tgenabled <> 'D'
  UNION ALL SELECT 'pg_class'::regclass, indexrelid, concat(indexprs::text, indpred::text) FROM pg_index WHERE indrelid = ANY ($2::oid[])
  UNION ALL SELECT 'pg_class'::regclass, partrelid, partexprs::text FROM pg_partitioned_table WHERE partrelid = ANY ($2::oid[])
  UNION ALL SELECT 'pg_type'::regclass, oid, typdefaultbin::text FROM pg_type WHERE oid = ANY ($3::oid[])
  UNION ALL SELECT 'pg_proc'::regclass, oid, concat(to_jsonb(p) ->> 'prosqlbody', proargdefaults::text) FROM pg_proc p WHERE oid = ANY ($1::oid[]) AND ${made("oid")}
),
uses AS MATERIALIZED (
  SELECT DISTINCT d.refclassid, d.refobjid FROM stored s JOIN pg_depend d ON d.classid = s.classid AND d.objid = s.objid
  WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass)
)
${selected(
  `SELECT refobjid FROM uses WHERE refclassid = 'pg_proc'::regclass
  -- On what is PostgreSQL's own nothing is said to depend.
  UNION SELECT m[1]::oid FROM stored, regexp_matches(tree, ':(?:funcid|aggfnoid|winfnoid|tsmhandler) (\\d+)', 'g') m
  UNION SELECT tgfoid FROM pg_trigger WHERE $4 AND tgrelid = ANY ($2::oid[]) AND tgenabled <> 'D'
  UNION SELECT ${OPERATOR} FROM pg_operator o WHERE ${made("o.oprcode")} AND (o.oid IN (SELECT refobjid FROM uses WHERE refclassid = 'pg_operator'::regclass)
    OR o.oid IN (SELECT amopopr FROM pg_amop WHERE amoplefttype = ANY ($3::oid[])))
  UNION SELECT amproc FROM pg_amproc WHERE amproclefttype = ANY ($3::oid[]) AND ${made("amproc")}
  -- How a table and its indexes are kept, and what they compare by.
  UNION SELECT a.amhandler FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE ${made("a.amhandler")}
    AND (c.oid = ANY ($2::oid[]) OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY ($2::oid[])))
  UNION SELECT p.amproc FROM pg_index i JOIN pg_opclass o ON o.oid = ANY (i.indclass::oid[]) JOIN pg_amproc p ON p.amprocfamily = o.opcfamily
    WHERE i.indrelid = ANY ($2::oid[]) AND ${made("p.amproc")}
  -- How values of a type are read and written.
  UNION SELECT refobjid FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = ANY ($3::oid[]) AND refclassid = 'pg_proc'::regclass
  UNION SELECT unnest(${idsOf("rngcanonical", "rngsubdiff")}) FROM pg_range WHERE rngtypid = ANY ($3::oid[])
  UNION SELECT unnest(${idsOf("aggtransfn", "aggfinalfn", "aggcombinefn", "aggserialfn", "aggdeserialfn", "aggmtransfn", "aggminvtransfn", "aggmfinalfn")})
    FROM pg_aggregate WHERE aggfnoid::oid = ANY ($1::oid[]) AND ${made("aggfnoid")}
  UNION SELECT prosupport FROM pg_proc WHERE oid = ANY ($1::oid[]) AND ${made("prosupport")}`,
  `SELECT refobjid FROM uses WHERE refclassid = 'pg_class'::regclass
  UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY ($2::oid[])
  UNION SELECT inhparent FROM pg_inherits WHERE $4 AND inhrelid = ANY ($2::oid[])
  -- What follows when a row goes or its key changes.
  UNION SELECT conrelid FROM pg_constraint WHERE $4 AND contype = 'f' AND confrelid = ANY ($2::oid[])`,
  `SELECT refobjid FROM uses WHERE refclassid = 'pg_type'::regclass
  UNION SELECT atttypid FROM pg_attribute WHERE attrelid = ANY ($2::oid[]) AND attnum > 0 AND ${made("atttypid")}
  UNION SELECT atttypid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 WHERE t.oid = ANY ($3::oid[])
  UNION SELECT unnest(${idsOf("typbasetype", "typelem")}) FROM pg_type WHERE oid = ANY ($3::oid[])
  UNION SELECT rngsubtype FROM pg_range WHERE rngtypid = ANY ($3::oid[])
  UNION SELECT unnest(prorettype || proargtypes::oid[] || coalesce(proallargtypes, '{}')) FROM pg_proc WHERE oid = ANY ($1::oid[])`,
)}`;

/** What is known of functions ($1), and by whom foreign tables ($2) are held: schema, name, whether PostgreSQL's own, volatility, language, extension, body. */
export const FUNCTIONS = `
SELECT n.nspname, p.proname, (NOT ${made("p.oid")})::text, p.provolatile, CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE l.lanname END,
  e.extname, CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN p.prosrc END
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' LEFT JOIN pg_extension e ON e.oid = d.refobjid
  WHERE p.oid = ANY ($1::oid[])
UNION ALL SELECT n.nspname, c.relname, 'foreign', NULL, w.fdwname, NULL, NULL
  FROM pg_foreign_table f JOIN pg_class c ON c.oid = f.ftrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_foreign_server s ON s.oid = f.ftserver JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
  WHERE f.ftrelid = ANY ($2::oid[])`;
