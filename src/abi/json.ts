// JSON values: the only data that crosses the system call boundary.
//
// Written by hand and not as a schema that contains itself: these are the schemas that every call passes through, and the
// general machinery for recursive unions takes ten times as long and cannot say where in a value the fault lies.
//
// Invariants:
//   J1. What comes out is a copy that shares nothing with what went in and holds nothing but JSON.
//   J2. What is refused is refused with the path to it.
import { z } from "zod";
import { JSON_DEPTH_MAX } from "./limits.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** Why something is not JSON, and where in it. The path is put together from its end. */
type Fault = { readonly path: PropertyKey[]; message: string };

/** Any JSON value. Gives a copy; what is not JSON fails with the path that is at fault. */
export const jsonSchema: z.ZodType<Json, Json> = z
  .unknown()
  .check((payload) => copyInto(payload, "JSON"))
  .meta({ description: "Any JSON value." }) as unknown as z.ZodType<Json, Json>;

/** Any JSON object; otherwise like `jsonSchema`. */
export const jsonObjectSchema: z.ZodType<JsonObject, JsonObject> = z
  .unknown()
  .check((payload) => copyInto(payload, "a JSON object"))
  .meta({ type: "object", additionalProperties: {} }) as unknown as z.ZodType<JsonObject, JsonObject>;

/** Whether JSON text may name half a character: whole ones are never escaped in this way. */
export const mayHoldHalves = (text: string): boolean => text.includes("\\ud");

/** The value with U+FFFD wherever half a character (a lone surrogate) stands in its texts and names; the very same if none does. */
export function wellFormed<T extends Json>(value: T): T {
  return mayHoldHalves(JSON.stringify(value)) ? (mended(value) as T) : value;
}

function mended(value: Json): Json {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map((item: Json) => mended(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name.toWellFormed(), mended(item)]));
}

function copyInto(payload: z.core.ParsePayload, expected: "JSON" | "a JSON object"): void {
  const { value } = payload;
  const fault: Fault = { path: [], message: "" };
  const fits = expected === "JSON" || (typeof value === "object" && value !== null && !Array.isArray(value));
  const copy = fits ? copyOf(value, 0, fault) : refuse(fault, expected, value);
  if (copy === undefined)
    payload.issues.push({ code: "custom", input: value, path: fault.path, message: fault.message });
  else payload.value = copy;
}

/** Undefined, which is no JSON, where there is a fault. */
function copyOf(value: unknown, depth: number, fault: Fault): Json | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : refuse(fault, "JSON", value);
    case "object":
      if (value === null) return null;
      if (depth === JSON_DEPTH_MAX) {
        fault.message = `Invalid input: JSON may be nested ${JSON_DEPTH_MAX} deep at most`;
        return undefined;
      }
      if (Array.isArray(value)) return copyOfArray(value, depth + 1, fault);
      return isPlain(value) ? copyOfObject(value, depth + 1, fault) : refuse(fault, "JSON", value);
    default:
      return refuse(fault, "JSON", value);
  }
}

function copyOfArray(values: readonly unknown[], depth: number, fault: Fault): Json | undefined {
  const copy: Json[] = [];
  for (let at = 0; at < values.length; at += 1) {
    const item = copyOf(values[at], depth, fault);
    if (item === undefined) {
      fault.path.unshift(at);
      return undefined;
    }
    copy.push(item);
  }
  return copy;
}

function copyOfObject(value: object, depth: number, fault: Fault): Json | undefined {
  const copy: Record<string, Json> = {};
  for (const key of Object.keys(value)) {
    // As a key of a copy it would not be a key but the copy's prototype.
    if (key === "__proto__") continue;
    const item = copyOf((value as Record<string, unknown>)[key], depth, fault);
    if (item === undefined) {
      fault.path.unshift(key);
      return undefined;
    }
    copy[key] = item;
  }
  return copy;
}

/** No instance of a class. Objects of another realm have another Object.prototype. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return (
    prototype === null ||
    prototype === Object.prototype ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"))
  );
}

function refuse(fault: Fault, expected: string, value: unknown): undefined {
  fault.message = `Invalid input: expected ${expected}, received ${kindOf(value)}`;
}

function kindOf(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (typeof value !== "object") return typeof value;
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : ((value.constructor as { name?: string } | undefined)?.name ?? "object");
}
