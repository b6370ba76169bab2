// Where a request asks Anthropic to keep what came so far in its prompt cache, so that the next turn pays a tenth for it.
//
// The other providers cache by themselves. Anthropic keeps what stands before a mark (tools, system, messages, in this order),
// and looks for what is kept at the marks of the next request, some twenty content blocks before them included.
// At most four marks are allowed; these are three:
//   - the end of the instructions, which all processes of an agent share;
//   - the end of what this request adds, which the next turn goes on from;
//   - the end of what the request before it added: a turn may add more blocks than are looked at.
//
// What is written costs a quarter more, so the messages of a call are marked only where another turn is likely.
import type { LanguageModelV4Message } from "@ai-sdk/provider";

const MARK = { anthropic: { cacheControl: { type: "ephemeral" } } };

/** The prompt with its marks. `mayCall`: the model is offered tools. */
export function withCacheMarks(
  prompt: readonly LanguageModelV4Message[],
  { mayCall }: { readonly mayCall: boolean },
): LanguageModelV4Message[] {
  const answered = prompt.findLastIndex(({ role }) => role === "assistant");
  const marked = new Set([prompt.findLastIndex(({ role }) => role === "system")]);
  if (mayCall || answered >= 0) marked.add(lastSaid(prompt, prompt.length)).add(lastSaid(prompt, answered));
  return prompt.map((message, at) =>
    marked.has(at) && holdsWords(message) ? { ...message, providerOptions: MARK } : message,
  );
}

/** The last message before `end` that did not come from the model; -1 if there is none. */
const lastSaid = (prompt: readonly LanguageModelV4Message[], end: number): number =>
  prompt.findLastIndex(({ role }, at) => at < end && (role === "user" || role === "tool"));

/** An empty text may not be marked. */
function holdsWords({ role, content }: LanguageModelV4Message): boolean {
  if (typeof content === "string") return content !== "";
  const last = content.at(-1);
  return role === "tool" || (last?.type === "text" && last.text !== "");
}
