// The source of the tools that come with Reeve: those that a configuration asks for, under one name.
import { errorRecord } from "../../abi/errors.ts";
import type { IsolationLevel } from "../../abi/isolation.ts";
import type { ToolSource } from "../../ports/tools.ts";
import type { BuiltinTool } from "./tool.ts";

/** `isolation`: the least that its tools run under. */
export function createBuiltinSource(tools: readonly BuiltinTool[], isolation: IsolationLevel): ToolSource {
  const listing = tools.map(({ name, description, inputSchema, declared }) => ({
    name,
    description,
    inputSchema,
    declared,
  }));
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  return {
    isolation,
    tools: async () => listing,
    call: async (name, args, options) => {
      const tool = byName.get(name);
      if (tool === undefined)
        return { kind: "not_performed", error: errorRecord(new Error(`There is no tool ${name}.`), "not_found") };
      return tool.run(args, options);
    },
    close: async () => {},
  };
}
