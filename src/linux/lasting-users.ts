// User ids of the machine that last: each belongs to a name, from one run of Reeve to the next.
//
// Files of the machine bear such an id long after the sandbox that wrote them, so which name it belongs to is written down, and stays
// written down when nobody goes by that name any more. The folder's owner (one Reeve at a time) is the file's only writer.
//
// Invariants:
//   N1. A name keeps its id as long as the range holds that, and no id that stands in the file is ever given to another name.
//   N2. An id is given only when it is on disk.
//   N3. A file that cannot be understood stays as it is, and nothing is given.
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { OsError } from "../abi/errors.ts";
import { hashOf, type UidRange } from "./uids.ts";

export type LastingUsersOptions = {
  /** Made at the first name. */
  readonly file: string;
  /** Of which nothing else gets any. */
  readonly range: UidRange;
};

/** By name all ids that it ever had, the newest last: a range that was changed, and changed back, finds the first again. */
type Given = ReadonlyMap<string, readonly number[]>;

const fileSchema = z.strictObject({
  version: z.literal(1),
  users: z.record(z.string(), z.array(z.int().nonnegative()).min(1)),
});

/** The id of `name`. Throws `limit_exceeded` if the range has none left, `store_failed` if the file cannot be read or written. */
export function lastingUserOf(name: string, { file, range }: LastingUsersOptions): number {
  const given = readGiven(file);
  const own = given.get(name) ?? [];
  const kept = own.findLast((id) => id >= range.from && id <= range.to);
  if (kept !== undefined) return kept;
  const id = freeOne(new Set([...given.values()].flat()), range, hashOf(`${file}\0${name}`));
  writeGiven(file, new Map([...given, [name, [...own, id]]]));
  return id;
}

/** The search begins at `first`: another place for each folder, so that two Reeves of one machine hardly meet. */
function freeOne(taken: ReadonlySet<number>, { from, to }: UidRange, first: number): number {
  const size = to - from + 1;
  for (let tried = 0; tried < size; tried += 1) {
    const id = from + ((first + tried) % size);
    if (!taken.has(id)) return id;
  }
  throw new OsError(
    "limit_exceeded",
    `All ${Math.max(0, size)} user ids that servers keep (${from} to ${to}) belong to one, whether it is still in use or not: widen sandbox.uids.`,
    { data: { limit: "sandbox.uids", max: Math.max(0, size) } },
  );
}

function readGiven(file: string): Given {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw failed(file, "io", `cannot be read (${(error as Error).message}). Let Reeve read it`);
  }
  const given = understood(text);
  if (given !== undefined) return given;
  throw failed(
    file,
    "corrupt",
    "holds something else than that. Put back a copy of it; or move it away, and servers get new ids, to which what they wrote may be closed",
  );
}

/** Undefined for what is damaged, or gives one id to two names. */
function understood(text: string): Given | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Damaged, as the answer says.
    return undefined;
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const ids = Object.values(parsed.data.users).flat();
  return new Set(ids).size === ids.length ? new Map(Object.entries(parsed.data.users)) : undefined;
}

/** Whole and on disk when this returns, or as it was. */
function writeGiven(file: string, given: Given): void {
  const fresh = `${file}.new`;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(fresh, JSON.stringify({ version: 1, users: Object.fromEntries(given) }), {
      mode: 0o600,
      flush: true,
    });
    renameSync(fresh, file);
    const folder = openSync(dirname(file), "r");
    fsyncSync(folder);
    closeSync(folder);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === "ENOSPC" || code === "EDQUOT" ? "full" : "io";
    throw failed(file, reason, `cannot be written (${message}). Make room there, and let Reeve write it`);
  }
}

const failed = (file: string, reason: string, what: string): OsError =>
  new OsError("store_failed", `The list of user ids that servers keep, ${file}, ${what}.`, {
    data: { reason, folder: dirname(file) },
  });
