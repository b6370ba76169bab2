// Whether a condition binds a statement to some of a table's rows, or lets it reach them all.
//
// Both grammars are brought to one small form first. In doubt a condition does not bind: the statement then goes to the
// tool that asks for more care, and loses nothing but ease.

/** A condition, as far as it matters here. */
export type Condition =
  | { readonly kind: "and" | "or"; readonly parts: readonly Condition[] }
  | { readonly kind: "not"; readonly part: Condition }
  | {
      readonly kind: "leaf";
      /** Columns that it reads, each as often as it does, as the statement names them: with or without a table. */
      readonly columns: readonly { readonly table?: string | undefined; readonly column: string }[];
      /** Whether it has anything beside them: a constant, a parameter, a call, a subquery. */
      readonly other: boolean;
    };

type Scope = {
  /** What the statement calls the table that it changes. */
  readonly alias: string;
  /** Whether columns without a table's name may belong to another table. */
  readonly mixed: boolean;
};

/** Whether only rows are reached that meet something about themselves. */
export function binds(condition: Condition | undefined, scope: Scope, negated = false): boolean {
  if (condition === undefined) return false;
  switch (condition.kind) {
    case "not":
      return binds(condition.part, scope, !negated);
    case "and":
    case "or": {
      const each = (part: Condition): boolean => binds(part, scope, negated);
      // A denied "and" is an "or" of denials.
      const every = (condition.kind === "or") !== negated;
      return every ? condition.parts.every(each) : condition.parts.some(each);
    }
    case "leaf":
      return leafBinds(condition, scope);
  }
}

function leafBinds({ columns, other }: Extract<Condition, { kind: "leaf" }>, { alias, mixed }: Scope): boolean {
  const own = columns.filter(({ table }) => (table === undefined ? !mixed : same(table, alias)));
  if (own.length === 0) return false;
  // A column against itself says nothing: `id = id`, `id IN (id)`.
  const alone = !other && columns.length > 1 && new Set(columns.map(({ column }) => column.toLowerCase())).size === 1;
  return !alone || new Set(columns.map(({ table }) => table ?? alias)).size > 1;
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
