// `tool({ … })`: a TypeScript function as a tool of agents.
//
// The schema of its arguments may be of any library that speaks Standard Schema. The model is shown the schema as JSON
// Schema; arguments are checked before the function runs, so that it gets what its types say.
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { OsError } from "../abi/errors.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import {
  toolContentSchema,
  toolManifestSchema,
  type FunctionTool,
  type ToolContent,
  type ToolContext,
} from "../abi/tools.ts";

type Manifest = FunctionTool["manifest"];

/** What a tool's function may answer: text, content, or any other JSON object, which the model gets as JSON and programs as data. */
export type ToolAnswer = string | ToolContent | JsonObject;

export type ToolOptions<Input extends StandardSchemaV1> = Manifest & {
  /** Unique among the tools of its source; 1 to 128 characters without blanks. */
  readonly name: string;
  /** For the model: what the tool does and when to use it. */
  readonly description: string;
  /** Checks the arguments and gives them their type. Must describe an object. */
  readonly input: Input;
  /** JSON Schema of the arguments, needed only where `input` cannot say it itself. */
  readonly inputSchema?: JsonObject;
  /** What is thrown here the model gets as the tool's error. After the signal has fired nobody waits for the answer. */
  readonly run: (args: StandardSchemaV1.InferOutput<Input>, context: ToolContext) => ToolAnswer | Promise<ToolAnswer>;
};

const invalid = (name: string, why: string): OsError =>
  new OsError("invalid_argument", `The tool "${name}" cannot be made: ${why}`, { data: { issues: [why] } });

function speaksJsonSchema(schema: StandardSchemaV1): schema is StandardSchemaV1 & StandardJSONSchemaV1 {
  return "jsonSchema" in schema["~standard"];
}

function jsonSchemaOf(name: string, input: StandardSchemaV1): JsonObject {
  if (!speaksJsonSchema(input))
    throw invalid(
      name,
      `its input (${input["~standard"].vendor}) cannot say its JSON Schema; give inputSchema as well.`,
    );
  try {
    return input["~standard"].jsonSchema.input({ target: "draft-2020-12" }) as JsonObject;
  } catch (error) {
    throw invalid(
      name,
      `its input has no JSON Schema (${error instanceof Error ? error.message : String(error)}); use types that JSON has.`,
    );
  }
}

function lineOf({ path, message }: StandardSchemaV1.Issue): string {
  const keys = (path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  return `${keys.length === 0 ? "(whole)" : keys.join(".")}: ${message}`;
}

async function checked<Input extends StandardSchemaV1>(
  input: Input,
  args: JsonObject,
): Promise<StandardSchemaV1.InferOutput<Input>> {
  const result = await input["~standard"].validate(args);
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(lineOf);
  throw new OsError(
    "invalid_argument",
    `The arguments do not fit, so nothing was done: ${issues.join("; ")}. Correct them and call again.`,
    { data: { issues } },
  );
}

function contentOf(name: string, answer: unknown): ToolContent {
  if (typeof answer === "string") return { text: answer };
  const content = toolContentSchema.safeParse(answer);
  if (content.success) return content.data;
  // Through JSON and back: dates and numbers that JSON has not become texts, undefined goes, and what is not JSON shows now and not in the journal.
  const text = jsonOf(name, answer);
  if (text === undefined) return { text: "" };
  const data = JSON.parse(text) as Json;
  return typeof data === "object" && data !== null && !Array.isArray(data)
    ? { text, data: data as JsonObject }
    : { text };
}

/** The function has run by now, so whatever can be told of its answer is told. */
function jsonOf(name: string, answer: unknown): string | undefined {
  try {
    return JSON.stringify(answer, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  } catch (error) {
    throw new OsError(
      "tool_failed",
      `The tool "${name}" ran, but its answer is not JSON: ${error instanceof Error ? error.message : String(error)}. What it did is done; correct the tool, so that it answers with text or plain data.`,
      { data: { tool: name, content: { text: "" } }, cause: error },
    );
  }
}

/**
 * Makes a tool of a function. What is not declared of its effect is taken at its worst: a tool that names no `effect`
 * asks a human before each call. Throws `invalid_argument` if the tool cannot be made. Its `run` rejects with
 * `invalid_argument` (data: issues) for arguments that do not fit, before the function is called.
 */
export function tool<Input extends StandardSchemaV1>(options: ToolOptions<Input>): FunctionTool {
  const { name, description, input, inputSchema, run, ...manifest } = options;
  const known = toolManifestSchema.safeParse(manifest);
  if (!known.success)
    throw invalid(
      name,
      known.error.issues.map((issue) => `${issue.path.map(String).join(".")}: ${issue.message}`).join("; "),
    );
  const schema = inputSchema ?? jsonSchemaOf(name, input);
  if (schema["type"] !== "object") throw invalid(name, "its input must be an object, since arguments have names.");
  return {
    name,
    description,
    inputSchema: schema,
    manifest,
    run: async (args, context) => contentOf(name, await run(await checked(input, args), context)),
  };
}
