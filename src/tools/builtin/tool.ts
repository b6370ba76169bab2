// What a tool that comes with Reeve is, and how what it takes is checked.
import { z } from "zod";
import { issueLines } from "../../abi/errors.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { ToolManifest } from "../../abi/tools.ts";
import type { CallOptions, ToolOutcome } from "../../ports/tools.ts";

export type BuiltinTool = {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly inputSchema: JsonObject;
  readonly declared: Partial<ToolManifest>;
  readonly run: (args: JsonObject, options: CallOptions) => Promise<ToolOutcome>;
};

type Definition<Input extends z.ZodObject> = {
  readonly name: string;
  readonly description: string;
  readonly input: Input;
  readonly declared: Partial<ToolManifest>;
  readonly run: (args: z.output<Input>, options: CallOptions) => Promise<ToolOutcome>;
};

/** A tool whose arguments are checked before it runs; what does not fit is answered with what is wrong, and nothing is done. */
export function builtinTool<Input extends z.ZodObject>(definition: Definition<Input>): BuiltinTool {
  const { name, description, input, declared, run } = definition;
  return {
    name,
    description,
    inputSchema: z.toJSONSchema(input, { io: "input" }) as JsonObject,
    declared,
    run: async (args, options) => {
      const parsed = input.safeParse(args);
      if (parsed.success) return run(parsed.data, options);
      return { kind: "failed", content: { text: `${name}: ${issueLines(parsed.error.issues).join("; ")}` } };
    },
  };
}
