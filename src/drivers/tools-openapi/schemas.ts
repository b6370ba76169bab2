// Schemas of an OpenAPI document as JSON Schema that stands alone: what is referred to comes along under `$defs`, so a schema
// may contain itself. What OpenAPI 3.0 says otherwise than JSON Schema is said as JSON Schema says it; what only answers hold (`readOnly`)
// is not asked for.
import type { Json, JsonObject } from "../../abi/json.ts";
import { at, invalid, isTree, list, resolved, text, tree, type Tree } from "./tree.ts";

/** A schema with all that it refers to. Characters of JSON. */
const SCHEMA_CHARS_MAX = 256 * 1024;
const DEPTH_MAX = 64;

/** What says something to OpenAPI's tools, and nothing about what is allowed. */
const LEFT_OUT = new Set([
  "example",
  "examples",
  "discriminator",
  "xml",
  "externalDocs",
  "nullable",
  "$schema",
  "$id",
  "$anchor",
]);
/** Here the keys are names of properties, and not words of JSON Schema. */
const BY_NAME = new Set(["properties", "patternProperties", "$defs", "dependentSchemas"]);
/** Here stand values and no schemas. */
const VALUES = new Set(["enum", "const", "default", "required"]);

/** Gathers what the schemas of one operation refer to. */
export class Schemas {
  readonly #document: Tree;
  readonly #names = new Map<string, string>();
  readonly #defs: Record<string, Json> = {};
  #chars = 0;

  constructor(document: Tree) {
    this.#document = document;
  }

  /** The schema, whose references lead to `defs`. Throws `invalid_argument` for one too large to be told. */
  of(schema: unknown): JsonObject {
    const made = this.#schema(schema, 0);
    return isTree(made) ? made : made === false ? { not: {} } : {};
  }

  get defs(): JsonObject {
    return this.#defs;
  }

  #schema(value: unknown, depth: number): Json {
    if (depth > DEPTH_MAX) throw invalid("A schema is nested too deeply.");
    if (typeof value === "boolean") return value;
    if (!isTree(value)) return {};
    const made: Record<string, Json> = {};
    for (const [word, inner] of Object.entries(this.#asked(value)))
      if (!LEFT_OUT.has(word) && !word.startsWith("x-")) made[word] = this.#word(word, inner, depth + 1);
    return asJsonSchema(made, value);
  }

  /** A schema without the properties that only answers have. */
  #asked(schema: Tree): Tree {
    const properties = Object.entries(tree(schema.properties));
    const answered = new Set(properties.flatMap(([name, each]) => (this.#isAnswered(each) ? [name] : [])));
    if (answered.size === 0) return schema;
    const required = list(schema.required).filter((name) => !answered.has(text(name)));
    const { required: _, ...rest } = schema;
    return {
      ...rest,
      properties: Object.fromEntries(properties.filter(([name]) => !answered.has(name))),
      ...(required.length === 0 ? {} : { required }),
    };
  }

  #isAnswered(schema: unknown): boolean {
    return (
      isTree(schema) &&
      (schema.readOnly === true || (schema.$ref !== undefined && resolved(this.#document, schema).readOnly === true))
    );
  }

  #word(word: string, inner: unknown, depth: number): Json {
    if (word === "$ref") return `#/$defs/${this.#defined(String(inner))}`;
    if (VALUES.has(word)) return this.#counted(inner);
    if (BY_NAME.has(word) && isTree(inner))
      return Object.fromEntries(Object.entries(inner).map(([name, schema]) => [name, this.#schema(schema, depth)]));
    if (Array.isArray(inner))
      return inner.map((each) => (isTree(each) ? this.#schema(each, depth) : this.#counted(each)));
    return isTree(inner) ? this.#schema(inner, depth) : this.#counted(inner);
  }

  #counted(value: unknown): Json {
    const json = JSON.stringify(value) ?? "null";
    this.#chars += json.length;
    if (this.#chars > SCHEMA_CHARS_MAX) throw invalid("Its schemas are too large to be told to a model.");
    return JSON.parse(json) as Json;
  }

  #defined(reference: string): string {
    const known = this.#names.get(reference);
    if (known !== undefined) return known;
    const plain = (reference.split("/").at(-1) ?? "").replaceAll(/[^A-Za-z0-9_.-]/g, "_") || "schema";
    const taken = new Set(this.#names.values());
    let name = plain;
    for (let n = 2; taken.has(name); n += 1) name = `${plain}_${n}`;
    // Known before it is read: it may refer to itself.
    this.#names.set(reference, name);
    this.#counted(name);
    this.#defs[name] = this.#schema(at(this.#document, reference), 0);
    return name;
  }
}

/** OpenAPI 3.0: `nullable`, and bounds that a flag excludes. */
function asJsonSchema(made: Record<string, Json>, source: Tree): Json {
  for (const [flag, bound] of [
    ["exclusiveMinimum", "minimum"],
    ["exclusiveMaximum", "maximum"],
  ] as const) {
    if (typeof made[flag] !== "boolean") continue;
    const excluded = made[flag];
    delete made[flag];
    if (!excluded || made[bound] === undefined) continue;
    made[flag] = made[bound];
    delete made[bound];
  }
  if (source.nullable !== true) return made;
  if (typeof made.type === "string") {
    return {
      ...made,
      type: [made.type, "null"],
      ...(Array.isArray(made.enum) ? { enum: [...(made.enum as Json[]), null] } : {}),
    };
  }
  return { anyOf: [made, { type: "null" }] };
}
