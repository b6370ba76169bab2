// Whether a condition binds a statement to some of a table's rows, or lets it reach them all.
//
// What a condition means cannot be known from its text: `id > 0` and `name IS NOT NULL` bind, and may yet fit every row. So
// of a statement that does not name its rows by values the engines also say whether it reached them all.
//
// Both grammars are brought to one small form first. In doubt a condition does not bind: the statement then goes to the
// tool that asks for more care, and loses nothing but ease.

/** A condition, as far as it matters here. */
export type Condition =
  | { readonly kind: "and" | "or"; readonly parts: readonly Condition[] }
  | { readonly kind: "not"; readonly part: Condition }
  | {
      readonly kind: "leaf";
      /** Columns that it reads, each as often as it does. */
      readonly columns: readonly ColumnName[];
      /** Whether it has anything beside them: a constant, a parameter, a call, a subquery. */
      readonly other: boolean;
      /** The column that must be one of the values that stand there, where that is all that it says. */
      readonly named?: ColumnName | undefined;
    };

/** As the statement names it: with or without a table. */
export type ColumnName = { readonly table?: string | undefined; readonly column: string };

type Scope = {
  /** What the statement calls the table that it changes. */
  readonly alias: string;
  /** Whether columns without a table's name may belong to another table. */
  readonly mixed: boolean;
};

type Leaf = Extract<Condition, { kind: "leaf" }>;

/** Whether only rows are reached that meet something about themselves. */
export const binds = (condition: Condition | undefined, scope: Scope): boolean =>
  condition !== undefined && holds(condition, (leaf) => leafBinds(leaf, scope));

/** Whether only rows are reached that it names by their values: `id = 5`, `id IN (5, 6)`. */
export const namesRows = (condition: Condition | undefined, scope: Scope): boolean =>
  condition !== undefined &&
  holds(condition, ({ named }, negated) => !negated && named !== undefined && isOwn(named, scope));

/** Whether what is asked of each leaf follows for the whole. */
function holds(condition: Condition, leaf: (leaf: Leaf, negated: boolean) => boolean, negated = false): boolean {
  switch (condition.kind) {
    case "not":
      return holds(condition.part, leaf, !negated);
    case "and":
    case "or": {
      const each = (part: Condition): boolean => holds(part, leaf, negated);
      // A denied "and" is an "or" of denials.
      const every = (condition.kind === "or") !== negated;
      return every ? condition.parts.every(each) : condition.parts.some(each);
    }
    case "leaf":
      return leaf(condition, negated);
  }
}

const isOwn = ({ table }: ColumnName, { alias, mixed }: Scope): boolean =>
  table === undefined ? !mixed : same(table, alias);

function leafBinds({ columns, other }: Leaf, scope: Scope): boolean {
  const { alias } = scope;
  const own = columns.filter((column) => isOwn(column, scope));
  if (own.length === 0) return false;
  // A column against itself says nothing: `id = id`, `id IN (id)`.
  const alone = !other && columns.length > 1 && new Set(columns.map(({ column }) => column.toLowerCase())).size === 1;
  return !alone || new Set(columns.map(({ table }) => table ?? alias)).size > 1;
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
