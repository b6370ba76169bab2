// What changed in a tool, as text for people: what was taken against what its source says now.
import { createTwoFilesPatch } from "diff";
import type { Json } from "../abi/json.ts";
import type { ToolSaid } from "../abi/tools.ts";
import { showHidden } from "./clean.ts";

/** A unified diff of description, schema and annotations; empty if nothing differs. What hides in either is shown as `\u{…}`. */
export function diffOf(name: string, before: ToolSaid | null, after: ToolSaid | null): string {
  const [old, now] = [textOf(before), textOf(after)];
  if (old === now) return "";
  const patch = createTwoFilesPatch(name, name, old, now, "taken", "now", { context: 4 });
  return patch.replace(/^=+\n/, "");
}

function textOf(said: ToolSaid | null): string {
  if (said === null) return "";
  const { description, inputSchema, annotations } = said;
  const parts = [
    "description:",
    ...description.split("\n").map((line) => `  ${line}`),
    `input: ${JSON.stringify(ordered(inputSchema), null, 2)}`,
    `annotations: ${JSON.stringify(ordered(annotations), null, 2)}`,
  ];
  return `${showHidden(parts.join("\n"))}\n`;
}

/** Keys in the order of their names: another order is no change. */
function ordered(value: Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => ordered(item));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, ordered(item)]));
}
