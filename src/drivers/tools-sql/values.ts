// Values of databases as JSON, and back.
//
// Invariants:
//   V1. A number is written as one only where JSON's reader gives back the very same; otherwise it is text.
//   V2. Bytes are `{ "base64": … }`, both ways.
import type { Json, JsonObject } from "../../abi/json.ts";

/** What one answer may hold, counted as JSON; text and data of it stay within what a tool may answer. Bytes. */
export const ANSWER_BYTES_MAX = 384 * 1024;

/** A value of SQLite's. */
export function jsonOfSqlite(value: unknown): Json {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString("base64") };
  return typeof value === "string" ? value : null;
}

const INTEGERS = new Set([20, 21, 23, 26]);
const FLOATS = new Set([700, 701]);
const DOCUMENTS = new Set([114, 3802]);
const TIMES = new Set([1114, 1184]);
const BOOL = 16;
const BYTEA = 17;

/** A value of PostgreSQL's, from its text form and the id of its type. Dates and times are ISO 8601. */
export function jsonOfPostgres(text: string, type: number): Json {
  if (INTEGERS.has(type) || FLOATS.has(type)) return numberOf(text);
  if (type === BOOL) return text === "t";
  if (DOCUMENTS.has(type)) return documentOf(text);
  if (type === BYTEA && text.startsWith(String.raw`\x`))
    return { base64: Buffer.from(text.slice(2), "hex").toString("base64") };
  if (TIMES.has(type)) return text.replace(/^(\d+-\d\d-\d\d) /, "$1T").replace(/([+-]\d\d)$/, "$1:00");
  return text;
}

function numberOf(text: string): Json {
  const value = Number(text);
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? value : text;
}

/** JSON text whose numbers are kept as text where JavaScript's would be others. */
export function documentOf(text: string): Json {
  return JSON.parse(text, (_key, value: unknown, context?: { readonly source?: string }) =>
    typeof value === "number" && context?.source !== undefined ? exact(value, context.source) : value,
  ) as Json;
}

function exact(value: number, source: string): Json {
  if (String(value) === source) return value;
  // `1.50` and `1e2` are the same number as what is read; 0.1234567890123456789 is another.
  const digits = source
    .replace(/[eE].*$/, "")
    .replace(/[-.]/g, "")
    .replace(/^0+/, "");
  return Number.isFinite(value) && digits.length <= 15 ? value : source;
}

const bytesOf = (value: Json): Uint8Array | undefined => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { base64, ...rest } = value as JsonObject;
  return typeof base64 === "string" && Object.keys(rest).length === 0 ? Buffer.from(base64, "base64") : undefined;
};

/** A parameter as SQLite takes it: documents as their text. Its integers are numbers of another kind, and divide as such. */
export function paramOfSqlite(value: Json): null | number | bigint | string | Uint8Array {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (value === null || typeof value === "string") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return bytesOf(value) ?? JSON.stringify(value);
}

/** A parameter as PostgreSQL's client takes it: lists become arrays, objects documents. */
export function paramOfPostgres(value: Json): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const bytes = bytesOf(value);
  return bytes === undefined ? JSON.stringify(value) : Buffer.from(bytes);
}

/** Takes rows until a bound is met. */
export class Gathered {
  readonly rows: (readonly Json[])[] = [];
  cut: "rows" | "bytes" | null = null;
  readonly #rowsMax: number;
  #bytes = 0;

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  /** Whether it takes more after this row. */
  add(row: readonly Json[]): boolean {
    this.#bytes += Buffer.byteLength(JSON.stringify(row));
    if (this.rows.length === this.#rowsMax) this.cut = "rows";
    else if (this.#bytes > ANSWER_BYTES_MAX) this.cut = "bytes";
    else this.rows.push(row);
    return this.cut === null;
  }
}
