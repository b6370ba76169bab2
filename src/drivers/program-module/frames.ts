// The syscall socket between the server and the child that runs a module agent: version 1.
//
// File descriptor 3 of the child, a duplex stream. A frame is one line: a JSON object and LF, UTF-8, at most
// FRAME_CHARACTERS_MAX characters. A frame out of place ends the run.
//
//   child → server                                      server → child
//   { type: "hello", protocol: 1 }     first            { type: "start", pid, file, task, createdMs }
//   { type: "loaded", manifest }       module is read   { type: "describe", file }
//   { n, syscall, args }               a call           { n, value } | { n, error }     its outcome
//   { type: "idle", asked }            the answer       { type: "idle", asked }         a question
//   { type: "result", value }          last
//   { type: "failure", error } | { type: "failure", thrown: { text, at, denied } }      last
//
// The server sends one `start` or one `describe`, and outcomes in the order in which they are to be handled. `n` counts
// from 0 without gaps. `error` is an ErrorRecord; `thrown` is any other value that the program threw, with the place
// in its source, and whether it was refused by the guard rail. After `describe` the child ends with `loaded` or `failure`.
// When the socket closes, the child ends itself.
//
// `idle` asks whether the program has anything left to do but to wait for outcomes. `asked` is a number of the server's
// choice. The child answers with the same number once all that was sent before the question is handled and its event loop
// has nothing to run, which may be much later; it answers each question once, in order, and says nothing unasked.
import { OsError } from "../../abi/errors.ts";
import type { ErrorRecord } from "../../abi/errors.ts";
import type { Json } from "../../abi/json.ts";
import { PAYLOAD_BYTES_MAX } from "../../abi/limits.ts";

export const PROTOCOL = 1;
/** A payload and what stands around it. */
export const FRAME_CHARACTERS_MAX = PAYLOAD_BYTES_MAX + 4_096;

export type Order =
  | {
      readonly type: "start";
      readonly pid: string;
      readonly file: string;
      readonly task: Json;
      readonly createdMs: number;
    }
  | { readonly type: "describe"; readonly file: string };
export type Question = { readonly type: "idle"; readonly asked: number };
export type Outcome =
  | { readonly n: number; readonly value: Json }
  | { readonly n: number; readonly error: ErrorRecord };

/** `at`: file, line and column. `denied`: it wanted something that Node's permission model refuses. */
export type Thrown = { readonly text: string; readonly at: string; readonly denied: boolean };

/** Cuts a stream of text into lines. Throws `limit_exceeded` as soon as a line is longer than `charactersMax`. */
export function lineReader(charactersMax: number, onLine: (line: string) => void): (chunk: string) => void {
  let parts: string[] = [];
  let held = 0;
  const check = (length: number): void => {
    if (length > charactersMax)
      throw new OsError("limit_exceeded", `A frame is longer than ${charactersMax} characters.`, {
        data: { limit: "frame", max: charactersMax },
      });
  };
  return (chunk) => {
    let from = 0;
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", from)) {
      check(held + end - from);
      const last = chunk.slice(from, end);
      const line = held === 0 ? last : parts.join("") + last;
      parts = [];
      held = 0;
      from = end + 1;
      onLine(line);
    }
    if (from === chunk.length) return;
    parts.push(from === 0 ? chunk : chunk.slice(from));
    held += chunk.length - from;
    check(held);
  };
}

/**
 * JSON text of a value that a program hands over. Throws `invalid_argument` where JSON would silently say something
 * else (NaN, a Map, a Date, a function) or nothing at all, and `limit_exceeded` for more than a payload may hold.
 */
export function encode(value: unknown, what: string): string {
  const text = JSON.stringify(value, strict) as string | undefined;
  if (text === undefined) throw notJson(what, typeof value);
  if (text.length > PAYLOAD_BYTES_MAX) {
    throw new OsError(
      "limit_exceeded",
      `${what} is ${text.length} characters of JSON; at most ${PAYLOAD_BYTES_MAX} may be handed over. Hand over less.`,
      { data: { limit: "payload", max: PAYLOAD_BYTES_MAX } },
    );
  }
  return text;
}

// JSON.stringify gives the holder as `this`: there the value stands as it was before any toJSON.
function strict(this: unknown, key: string, value: unknown): unknown {
  const raw = (this as Record<string, unknown>)[key];
  if (raw === undefined || raw === null || typeof raw === "string" || typeof raw === "boolean") return value;
  if (typeof raw === "number") {
    if (Number.isFinite(raw)) return value;
    throw notJson(named(key), String(raw));
  }
  if (typeof raw !== "object") throw notJson(named(key), typeof raw);
  if (Array.isArray(raw)) return value;
  const prototype: unknown = Object.getPrototypeOf(raw);
  if (prototype === null || prototype === Object.prototype) return value;
  throw notJson(
    `the value of ${JSON.stringify(key)}`,
    (raw.constructor as { name?: string } | undefined)?.name ?? "object of a class",
  );
}

const named = (key: string): string => (key === "" ? "what is handed over" : `the value of ${JSON.stringify(key)}`);

const notJson = (what: string, found: string): OsError =>
  new OsError(
    "invalid_argument",
    `${what[0]?.toUpperCase()}${what.slice(1)} is not JSON (${found}). Hand over only null, booleans, finite numbers, text, arrays and plain objects.`,
    {
      data: { issues: [`${what}: ${found}`] },
    },
  );
