// Tool names on the wire. Reeve's names are `source.tool`; providers take letters, digits, `_` and `-`, at most 64 of them.
//
// Invariants:
//   N1. The wire name of a tool depends on its name alone, so a history keeps its names whatever is offered beside it.
//   N2. Two tools never share a wire name: a dot becomes `__`, and a name that `__` would not lead back to
//       (it holds other characters, or `__` itself, or is too long) carries a part of its hash instead.
//   N3. A name that the model made up comes back as it would have been written here, so that the answer "no such tool" reads well.
import { createHash } from "node:crypto";
import { OsError } from "../../abi/errors.ts";
import type { ModelRequest } from "../../ports/model.ts";

/** OpenAI's bound, the lowest of the providers'. */
const WIRE_NAME_LENGTH_MAX = 64;
const HASH_LENGTH = 10;

export type ToolNames = {
  toWire(name: string): string;
  fromWire(wire: string): string;
};

/** The names of a request: of the tools it offers and of those in its history. `invalid_argument` if two cannot be told apart. */
export function toolNames(request: ModelRequest): ToolNames {
  const byWire = new Map<string, string>();
  for (const name of namesIn(request)) {
    const wire = wireName(name);
    const other = byWire.get(wire);
    if (other !== undefined && other !== name) {
      throw new OsError(
        "invalid_argument",
        `The tools "${other}" and "${name}" both become "${wire}" for the model's provider. Offer only one of them, or rename one at its source.`,
        { data: { issues: [`tools: ${other} and ${name} share a name`] } },
      );
    }
    byWire.set(wire, name);
  }
  return { toWire: wireName, fromWire: (wire) => byWire.get(wire) ?? dotted(wire) };
}

function* namesIn(request: ModelRequest): Generator<string> {
  for (const tool of request.tools) yield tool.name;
  for (const message of request.messages) {
    if (message.role !== "assistant" && message.role !== "tool") continue;
    for (const part of message.content) {
      if (part.type === "tool-call" || part.type === "tool-result") yield part.name;
    }
  }
}

const dotted = (wire: string): string => wire.replaceAll("__", ".");

export function wireName(name: string): string {
  const plain = name.replaceAll(".", "__").replaceAll(/[^a-zA-Z0-9_-]/g, "_");
  if (dotted(plain) === name && plain.length <= WIRE_NAME_LENGTH_MAX) return plain;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, HASH_LENGTH);
  return `${plain.slice(0, WIRE_NAME_LENGTH_MAX - HASH_LENGTH - 1)}_${hash}`;
}
