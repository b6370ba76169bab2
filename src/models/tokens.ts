// How many tokens a request is, before it is sent.
//
// Boundary: adds up texts by a tokenizer that it is handed. It is told by how much a model's own tokenizer may give more.
//
// An estimate is reserved from budgets, so it errs to the high side: what is reserved in excess comes back with the
// outcome, what is missing would be an overrun.
//
// Invariants:
//   N1. A message or tool is counted once, however many requests it is part of: turn 1,000 costs what it adds. (Messages are
//       not changed once they are made; the counts go with the objects.)
//   N2. No text has more tokens than bytes: the vocabularies in use hold every single byte. So bytes are a bound, whatever
//       the margin.
//   N3. A text above TEXT_CHARACTERS_MAX is not counted but taken at that bound, so one message never stops the others for
//       longer than some tens of milliseconds.
import type { AssistantPart, Message, ToolResultPart } from "../abi/messages.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { CountTokens, ModelRequest } from "../ports/model.ts";

/** Counted in 20 milliseconds where it is prose or code, in 60 where it is noise. */
const TEXT_CHARACTERS_MAX = 65_536;

/** What formats put around things, in tokens; each a little above what OpenAI and Anthropic are seen to add. */
const PER_REQUEST = 8;
const PER_MESSAGE = 5;
const PER_PART = 10;
const PER_TOOL = 16;

/**
 * What is kept for a provider is mostly reasoning that it sealed: base64, four characters for three bytes, and English has more
 * than three bytes in a token.
 */
const SEALED_CHARACTERS_PER_TOKEN = 4;

type Size = { tokens: number; bytes: number; extra: number };

/** How a model counts: `margin` by how many times it may have more tokens than the tokenizer, `toolsExtra` what offering tools adds. */
export type Counting = { readonly margin: number; readonly toolsExtra: number };

export type TokenCounter = (request: ModelRequest, counting: Counting) => number;

export function createTokenCounter(count: CountTokens): TokenCounter {
  const known = new WeakMap<object, Size>();
  const sizeOf = <Thing extends object>(thing: Thing, measure: (thing: Thing, size: Size) => void): Size => {
    const before = known.get(thing);
    if (before !== undefined) return before;
    const size: Size = { tokens: 0, bytes: 0, extra: 0 };
    measure(thing, size);
    known.set(thing, size);
    return size;
  };
  const text = (size: Size, ...texts: readonly string[]): void => {
    for (const one of texts) {
      const bytes = Buffer.byteLength(one);
      size.bytes += bytes;
      size.tokens += one.length > TEXT_CHARACTERS_MAX ? bytes : count(one);
    }
  };
  const message = (one: Message, size: Size): void => measureMessage(one, size, text);
  const tool = (one: ToolDefinition, size: Size): void => {
    size.extra += PER_TOOL;
    text(size, one.name, one.description, JSON.stringify(one.inputSchema));
  };
  const schema = (one: object, size: Size): void => text(size, JSON.stringify(one));

  return ({ messages, tools, settings }, { margin, toolsExtra }) => {
    const within = ({ tokens, bytes, extra }: Size): number => extra + Math.min(bytes, Math.ceil(tokens * margin));
    let total = PER_REQUEST + (tools.length > 0 ? toolsExtra : 0);
    for (const one of messages) total += within(sizeOf(one, message));
    for (const one of tools) total += within(sizeOf(one, tool));
    if (settings.responseSchema !== undefined) total += PER_TOOL + within(sizeOf(settings.responseSchema, schema));
    return total;
  };
}

type AddText = (size: Size, ...texts: readonly string[]) => void;

function measureMessage(message: Message, size: Size, text: AddText): void {
  size.extra += PER_MESSAGE;
  if (typeof message.content === "string") text(size, message.content);
  else for (const part of message.content) measurePart(part, size, text);
}

function measurePart(part: AssistantPart | ToolResultPart, size: Size, text: AddText): void {
  switch (part.type) {
    case "text":
    case "reasoning":
      text(size, part.text);
      break;
    case "tool-call":
      size.extra += PER_PART;
      text(size, part.id, part.name, part.invalid ?? JSON.stringify(part.input));
      break;
    case "tool-result":
      size.extra += PER_PART;
      text(size, part.id, part.name, typeof part.output === "string" ? part.output : JSON.stringify(part.output));
      return;
  }
  if (part.provider !== undefined)
    size.extra += Math.ceil(JSON.stringify(part.provider).length / SEALED_CHARACTERS_PER_TOKEN);
}
