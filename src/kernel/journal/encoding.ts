// How the arguments and outcomes of calls stand in the journal.
//
// Everything is JSON text. One call is special: a model's history would be written again with every turn, so its
// messages stand by address. A context is a chain: { prev, messages: [addresses] }, one link for each turn; a turn
// costs what it adds, at step 10,000 as at step 10.
import type { Address } from "../../abi/ids.ts";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { GenerateInput, GenerateOutput, Message } from "../../abi/messages.ts";
import type { ProcessCall } from "../../abi/syscalls.ts";
import type { StoredPayload } from "../../ports/store.ts";
import { addressOf, type SubjectKey } from "./events.ts";

export type ContextNode = { readonly prev: Address | null; readonly messages: readonly Address[] };

/** JSON text, with what it refers to by address. */
export type Text = { readonly text: string; readonly parts: readonly StoredPayload[] };

function stored(key: SubjectKey, value: Json): StoredPayload {
  const text = JSON.stringify(value);
  return { address: addressOf(key, text), subject: key.subject, text };
}

export function encodeArgs(key: SubjectKey, syscall: ProcessCall, args: Json): Text {
  if (syscall !== "model.generate") return { text: JSON.stringify(args), parts: [] };
  const { messages, ...rest } = args as unknown as GenerateInput;
  const parts = messages.map((message) => stored(key, message as Json));
  return { text: JSON.stringify({ ...rest, messages: parts.map(({ address }) => address) }), parts };
}

/** A model's answer and the context that it makes. `sent` are the messages of the call, as encoded. */
export function encodeAnswer(
  key: SubjectKey,
  answer: Omit<GenerateOutput, "context">,
  sent: { readonly after: Address | null; readonly parts: readonly StoredPayload[] },
): Text & { readonly context: Address } {
  const { content, ...rest } = answer;
  const message = stored(key, { role: "assistant", content } as Json);
  const node: ContextNode = {
    prev: sent.after,
    messages: [...sent.parts.map(({ address }) => address), message.address],
  };
  const link = stored(key, node);
  return {
    text: JSON.stringify({ ...rest, content: message.address, context: link.address }),
    parts: [...sent.parts, message, link],
    context: link.address,
  };
}

/** Addresses inside a payload's text that must be read to give its value. */
export function innerAddresses(syscall: ProcessCall, name: string, text: string): Address[] {
  if (syscall !== "model.generate") return [];
  const value = JSON.parse(text) as JsonObject;
  if (name === "args") return value["messages"] as unknown as Address[];
  const content = name === "value" ? value["content"] : undefined;
  return typeof content === "string" ? [content as Address] : [];
}

/** The value behind a payload's text. What was erased is null. */
export function decodeValue(
  syscall: ProcessCall,
  name: string,
  text: string,
  texts: ReadonlyMap<Address, string>,
): Json {
  const value = JSON.parse(text) as Json;
  if (syscall !== "model.generate" || (name !== "args" && name !== "value")) return value;
  const read = (address: Address): Json => JSON.parse(texts.get(address) ?? "null") as Json;
  const object = value as JsonObject;
  if (name === "args") return { ...object, messages: (object["messages"] as unknown as Address[]).map(read) };
  // An answer that a guard rewrote stands in full.
  if (typeof object["content"] !== "string") return value;
  const message = read(object["content"] as Address) as unknown as Extract<Message, { role: "assistant" }> | null;
  const content: unknown = message?.content ?? [];
  return { ...object, content: content as Json };
}
