// Names that somebody may have meant.

const DISTANCE_MAX = 3;
const SHOWN_MAX = 3;

/** Edits (insert, delete, replace) that turn one name into the other, without regard to case. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/** At most three of the names: those close to `name`, or containing it, nearest first. */
export function nearest(name: string, names: Iterable<string>): readonly string[] {
  const wanted = name.toLowerCase();
  const near: { readonly other: string; readonly edits: number }[] = [];
  for (const other of names) {
    const given = other.toLowerCase();
    const contained = wanted.length > 2 && (given.includes(wanted) || wanted.includes(given));
    // The difference in length is a lower bound of the distance.
    if (!contained && Math.abs(given.length - wanted.length) > DISTANCE_MAX) continue;
    const edits = distance(wanted, given);
    if (contained || edits <= DISTANCE_MAX) near.push({ other, edits });
  }
  near.sort((a, b) => a.edits - b.edits || (a.other < b.other ? -1 : 1));
  return near.slice(0, SHOWN_MAX).map(({ other }) => other);
}

/** The end of a message: ` Did you mean …?`, or nothing. */
export function didYouMean(near: readonly string[]): string {
  return near.length === 0 ? "" : ` Did you mean ${near.join(" or ")}?`;
}
