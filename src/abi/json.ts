// JSON values: the only data that crosses the system call boundary.
import { z } from "zod";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** Accepts any value; what is not JSON fails when it is encoded, with the path that is at fault. */
export const jsonSchema: z.ZodType<Json, Json> = z.json();
export const jsonObjectSchema: z.ZodType<JsonObject, JsonObject> = z.record(z.string(), z.json());
