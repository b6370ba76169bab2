// What SQLite's session extension recorded: each row that was touched in a table with a primary key, triggers and cascades
// included, as the net of what was done to it. The format is SQLite's own (`sqlite3changeset`).
import type { Json, JsonObject } from "../../abi/json.ts";
import type { RowChange } from "./database.ts";
import { jsonOfSqlite } from "./values.ts";

const DELETE = 9;
const INSERT = 18;
const UPDATE = 23;

/** `columns` gives the names of a table's columns, in their order. At most `rowsMax` rows are read; of a record that was cut, those that are whole. */
export function rowsOfChangeset(
  bytes: Uint8Array,
  columns: (table: string) => readonly string[],
  rowsMax: number,
): RowChange[] {
  const reader = new Reader(bytes);
  const rows: RowChange[] = [];
  let table = { name: "", columns: [] as readonly string[] };
  while (!reader.atEnd && rows.length < rowsMax) {
    const mark = reader.byte();
    if (mark === 0x54) {
      const width = reader.varint();
      reader.skip(width);
      const name = reader.name();
      const known = columns(name);
      table = { name, columns: Array.from({ length: width }, (_, at) => known[at] ?? `column ${at + 1}`) };
      continue;
    }
    // Whether a trigger or a cascade did it.
    reader.byte();
    const before = mark === INSERT ? null : reader.record(table.columns);
    const after = mark === DELETE ? null : reader.record(table.columns);
    if (reader.isPastEnd) break;
    if (mark !== INSERT && mark !== DELETE && mark !== UPDATE)
      throw new Error("The record of changes is not of a form that is known.");
    // Of an update the key stands only in what was.
    rows.push({
      table: table.name,
      before,
      after: before === null || after === null ? after : { ...keyOf(before, after), ...after },
    });
  }
  return rows;
}

const keyOf = (before: JsonObject, after: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(before).filter(([column]) => !Object.hasOwn(after, column)));

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  get isPastEnd(): boolean {
    return this.#at > this.#bytes.length;
  }

  /** Past the end there are zeros. */
  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  skip(count: number): void {
    this.#at += count;
  }

  varint(): number {
    let value = 0;
    for (let read = 0; read < 8; read += 1) {
      const byte = this.byte();
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return value;
    }
    return value * 256 + this.byte();
  }

  name(): string {
    const found = this.#bytes.indexOf(0, this.#at);
    const end = found === -1 ? this.#bytes.length : found;
    const text = this.#bytes.toString("utf8", this.#at, end);
    this.#at = end + 1;
    return text;
  }

  record(columns: readonly string[]): JsonObject {
    const fields: [string, Json][] = [];
    for (const column of columns) {
      const value = this.#value();
      if (value !== undefined) fields.push([column, value]);
    }
    return Object.fromEntries(fields);
  }

  #value(): Json | undefined {
    const type = this.byte();
    if (type === 0) return undefined;
    if (type === 5) return null;
    if (type === 1 || type === 2) {
      const at = this.#at;
      this.#at += 8;
      if (this.isPastEnd) return null;
      return jsonOfSqlite(type === 1 ? this.#bytes.readBigInt64BE(at) : this.#bytes.readDoubleBE(at));
    }
    const size = this.varint();
    const from = this.#at;
    this.#at += size;
    const value = this.#bytes.subarray(from, from + size);
    return type === 3 ? value.toString("utf8") : jsonOfSqlite(value);
  }
}
