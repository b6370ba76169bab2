// The built-in tool `javascript`: a snippet that computes on data that it is given, and can do nothing else.
import { z } from "zod";
import { jsonSchema } from "../../abi/json.ts";
import type { Json } from "../../abi/json.ts";
import { errorRecord } from "../../abi/errors.ts";
import { limitText, type SandboxLimits } from "../../abi/isolation.ts";
import type { SnippetResult, Snippets } from "../../ports/sandbox.ts";
import type { ToolOutcome } from "../../ports/tools.ts";
import { callMs, tightest } from "./bounds.ts";
import { shortened } from "./text.ts";
import { type BuiltinTool, builtinTool } from "./tool.ts";

export const javascriptTool = (ports: { readonly snippets: Snippets; readonly limits: SandboxLimits }): BuiltinTool =>
  builtinTool({
    name: "javascript",
    description:
      "Computes with a snippet of JavaScript: the body of an async function that finds its data as `input` and returns a JSON value. It has no files, no network, no modules and no timers, and is meant for short work: for long computations use another tool.",
    input: z.strictObject({
      code: z.string().min(1).max(200_000).describe("Such as `return input.prices.reduce((a, b) => a + b, 0)`."),
      input: jsonSchema.optional().describe("What the snippet finds as `input`."),
    }),
    // It changes nothing, wherever it ends.
    declared: {
      ...{ effect: "none", idempotency: "natural", isolation: "snippet", summary: "javascript: {code}" },
      timeoutMs: callMs(ports.limits),
    },
    run: async ({ code, input }, options) => {
      const limits = tightest(ports.limits, options.process.manifest.limits);
      try {
        const inputJson = JSON.stringify(input ?? null);
        return outcomeOf(await ports.snippets.run(code, { inputJson, limits, signal: options.signal }));
      } catch (error) {
        return { kind: "not_performed", error: errorRecord(error, "tool_unavailable") };
      }
    },
  });

function outcomeOf(result: SnippetResult): ToolOutcome {
  const shown = shortened(result.console);
  const printed = shown === "" ? "" : `\n[printed]\n${shown.replace(/\n$/, "")}`;
  switch (result.kind) {
    case "value":
      return {
        kind: "done",
        content: {
          text: `${result.json}${printed}`,
          data: { value: JSON.parse(result.json) as Json, console: shown },
        },
      };
    case "thrown":
      return { kind: "failed", content: { text: `${result.message}${printed}` } };
    case "killed":
      return { kind: "unknown", reason: "it was ended before it was done" };
    case "limit":
      return { kind: "failed", content: { text: `The snippet was ended: it ${endText(result)}.${printed}` } };
  }
}

function endText({ limit, max }: Extract<SnippetResult, { kind: "limit" }>): string {
  if (limit === "steps")
    return "computed for longer than a snippet may without waiting; use a tool that runs programs for long work";
  if (limit === "result") return `gave a result of more than ${max} bytes; return less`;
  return limitText(limit, max);
}
