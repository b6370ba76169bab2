// What a statement reaches, by the database's own catalogue: whatever it names, and what these hold in turn. It is found before the
// statement is run, even for a preview, since what acts beside the transaction is taken back by no rollback.
//
// Invariants:
//   R1. A function is called only if it is known to stay inside the transaction: PostgreSQL's own by name and volatility, an
//       extension's by the extension, somebody's by its body; any other only where an operator vouches for it.
//   R2. What is followed is at least what the server would call: where names or types leave a choice, all of them.
import { type Body, bodyOf } from "./postgres-bodies.ts";
import { isKnownExtension, isKnownVolatile } from "./postgres-known.ts";
import { type Name, namesOf } from "./postgres-names.ts";
import { isRefusedFunction } from "./postgres-rules.ts";
import { FUNCTIONS, HELD, IN_BODIES, NAMED, OWN_ID } from "./postgres-reach-queries.ts";
import { refusal, type Statement } from "./statement.ts";
import type { Transaction } from "./transaction.ts";

/** Names of extensions and foreign-data wrappers, and of functions with their schemas, for which an operator vouches. */
export type Vouched = ReadonlySet<string>;

/** Steps from a statement to what it reaches: each takes a view, a trigger, a function further. */
const STEPS_MAX = 64;
const BODIES_CHARS_MAX = 4 * 1024 * 1024;

/** Throws `invalid_argument` where the statement reaches what is not known to stay inside its transaction. */
export async function checkReach(transaction: Transaction, statement: Statement, vouched: Vouched): Promise<void> {
  const reach = new Reach(transaction, statement, vouched);
  await reach.name(await namesOf(statement.text));
  for (let step = 0; step < STEPS_MAX; step += 1) if (!(await reach.follow())) return;
  throw refusal(`it reaches what reaches other things in turn, over more than ${STEPS_MAX} steps.`);
}

type Met = { readonly f: Set<string>; readonly r: Set<string>; readonly t: Set<string> };
const none = (): Met => ({ f: new Set(), r: new Set(), t: new Set() });

class Reach {
  readonly #transaction: Transaction;
  readonly #does: Statement["does"];
  readonly #vouched: Vouched;
  readonly #all = none();
  #names: readonly Name[] = [];
  /** What was met, and not yet followed. */
  #open = none();
  #bodies: Body[] = [];
  #chars = 0;

  constructor(transaction: Transaction, { does }: Statement, vouched: Vouched) {
    this.#transaction = transaction;
    this.#does = does;
    this.#vouched = vouched;
  }

  async name(names: readonly Name[]): Promise<void> {
    this.#names = names;
    await this.#named();
  }

  /** Goes a step further; whether there may be more behind it. */
  async follow(): Promise<boolean> {
    const bodies = this.#bodies.splice(0);
    const { f, r, t } = this.#open;
    this.#open = none();
    if (bodies.length > 0) {
      const listed = { calls: bodies.flatMap(({ calls }) => calls), words: bodies.flatMap(({ words }) => words) };
      const bare = bodies.map((body) => body.bare).join(" ");
      await this.#meet(IN_BODIES, [JSON.stringify({ ...listed, bare }), this.#types]);
    }
    if (f.size + r.size + t.size > 0) await this.#meet(HELD, [[...f], [...r], [...t], this.#does.kind !== "read"]);
    // With more types a name may mean more.
    if (t.size > 0) await this.#named();
    const met = this.#open;
    return this.#bodies.length + met.f.size + met.r.size + met.t.size > 0;
  }

  get #types(): readonly string[] {
    return [...this.#all.t];
  }

  async #named(): Promise<void> {
    await this.#meet(NAMED, [JSON.stringify(this.#names), this.#types, this.#does.kind === "definition"]);
  }

  async #meet(query: string, params: readonly unknown[]): Promise<void> {
    const { rows } = await this.#transaction.run(query, params);
    const found = none();
    for (const [kind, oid] of rows) {
      if ((kind !== "f" && kind !== "r" && kind !== "t") || typeof oid !== "string" || this.#all[kind].has(oid))
        continue;
      this.#all[kind].add(oid);
      found[kind].add(oid);
      // Of PostgreSQL's own functions the name says all.
      if (kind !== "f" || Number(oid) >= OWN_ID) this.#open[kind].add(oid);
    }
    await this.#judge(found);
  }

  async #judge({ f, r }: Met): Promise<void> {
    if (f.size + r.size === 0) return;
    const { rows } = await this.#transaction.run(FUNCTIONS, [[...f], [...r]]);
    for (const [schema, name, own, volatility, language, extension, source] of rows)
      this.#judgeOne({
        ...{ schema: schema ?? "", name: name ?? "", own: own ?? "", volatile: volatility === "v" },
        ...{ language: language ?? "", extension: extension ?? null, source: source ?? null },
      });
  }

  #judgeOne(met: Found): void {
    const { schema, name, own, language, extension, source } = met;
    if (
      [`${schema}.${name}`, extension, own === "foreign" ? language : null].some(
        (each) => each !== null && this.#vouched.has(each),
      )
    )
      return;
    if (own === "foreign")
      throw unknown(`the table ${schema}.${name} is held by another server or program (${language})`);
    // Its parts are functions of their own.
    if (language === "aggregate") return;
    if (own === "true") {
      if (!isOwnKnown(met))
        throw unknown(`the function ${name} acts on more than this transaction, or runs text as SQL`);
      return;
    }
    if (extension !== null && isKnownExtension(extension)) {
      if (isRefusedFunction({ schema: "", name }))
        throw unknown(
          `the function ${schema}.${name} (of the extension ${extension}) acts on more than this transaction, or runs text as SQL`,
        );
      return;
    }
    if (source === null)
      throw unknown(
        `the function ${schema}.${name} is written in ${language}${extension === null ? "" : `, of the extension ${extension}`}, and may do anything`,
      );
    this.#read(met, source);
  }

  #read({ schema, name }: Found, source: string): void {
    const body = bodyOf(source);
    this.#chars += source.length;
    if (this.#chars > BODIES_CHARS_MAX)
      throw refusal(`it reaches functions of more than ${BODIES_CHARS_MAX} characters, which are too many to read.`);
    if (body.refused !== undefined) throw unknown(`the function ${schema}.${name}: ${body.refused}`);
    this.#bodies.push(body);
  }
}

type Found = {
  readonly schema: string;
  readonly name: string;
  /** `foreign`: it is a table, held by the wrapper that stands as its language. */
  readonly own: string;
  readonly volatile: boolean;
  readonly language: string;
  readonly extension: string | null;
  /** Of a body that can be read. */
  readonly source: string | null;
};

/** What may not be called by a statement, and may be by what an operator has made: it ends with the transaction. */
const WITHIN = /^pg_notify$|^pg_(try_)?advisory_xact_lock(_shared)?$/;
/** Functions that make a value of a type which is only named while they run. */
const BY_TYPE = /^(domain|record|array|range|multirange)_(in|recv)$|^pg_input_/;

function isOwnKnown({ name, volatile }: Found): boolean {
  if (WITHIN.test(name)) return true;
  return !isRefusedFunction({ schema: "", name }) && !BY_TYPE.test(name) && (!volatile || isKnownVolatile(name));
}

const unknown = (what: string): ReturnType<typeof refusal> =>
  refusal(
    `${what}, so that no rollback would take back what it does. The statement calls it, or a view, trigger, check, default, policy, cast or function does that the statement reaches. Leave that out; or an operator who knows it to be harmless names it in vouchedFor of this source.`,
  );
