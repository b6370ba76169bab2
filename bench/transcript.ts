// What was said and done in a process, read from its journal, and where it differs from its recording.
import canonicalize from "canonicalize";
import type { Event } from "../src/abi/events.ts";
import type { Json } from "../src/abi/json.ts";
import type { AssistantPart, Message } from "../src/abi/messages.ts";
import type { Line, Recording } from "./recordings.ts";

export type Difference = { readonly at: number; readonly expected: string; readonly got: string };

type Answer = { readonly content: readonly AssistantPart[] };
type Received = { readonly message: { readonly topic: string; readonly body: Json } | null };
type Sent = { readonly messages: readonly Message[] };
type ToolOutcome = {
  readonly text?: string;
  readonly message?: string;
  readonly data?: { readonly content?: { readonly text?: string } };
};

/** `source.tool` is recorded as `tool`. */
const bareName = (name: string): string => name.slice(name.indexOf(".") + 1);

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : JSON.stringify(value));

/** A payload, as what its call's schema says that it is. */
const payload = (event: Event, name: string): unknown => event.payloads[name];

function linesOfAnswer(content: readonly AssistantPart[]): Line[] {
  return content.flatMap((part): Line[] => {
    if (part.type === "text" && part.text !== "") return [{ kind: "say", text: part.text }];
    if (part.type !== "tool-call") return [];
    return [{ kind: "call", name: bareName(part.name), args: part.invalid ?? canonicalize(part.input) ?? "" }];
  });
}

/** What the tool answered, whether or not it called that an error. */
function resultOf(event: Event): string {
  const value = payload(event, "value") as ToolOutcome | undefined;
  if (value !== undefined) return value.text ?? "";
  const error = payload(event, "error") as ToolOutcome | undefined;
  return error?.data?.content?.text ?? error?.message ?? "";
}

/** The lines of a journal. Results of calls that ran at once stand in the order of the calls. */
function transcriptOf(events: readonly Event[], turnsMax: number): Line[] {
  const lines: Line[] = [];
  let results: { readonly call: number; readonly text: string }[] = [];
  let turns = 0;
  const flush = (): void => {
    lines.push(...results.toSorted((a, b) => a.call - b.call).map(({ text }): Line => ({ kind: "result", text })));
    results = [];
  };
  for (const event of events) {
    const { header } = event;
    if (header.kind === "process.created") lines.push({ kind: "user", text: textOf(event.payloads["task"]) });
    if (header.kind !== "call.completed") continue;
    if (header.syscall === "tool.call") results.push({ call: header.call, text: resultOf(event) });
    if (header.error !== undefined) continue;
    if (header.syscall === "model.generate") {
      flush();
      turns += 1;
      // Beyond the recording's last turn the model only says that there is nothing more.
      if (turns <= turnsMax)
        lines.push(...linesOfAnswer((payload(event, "value") as Answer | undefined)?.content ?? []));
    }
    if (header.syscall === "message.receive") {
      const message = (payload(event, "value") as Received | undefined)?.message ?? null;
      if (message !== null && message.topic !== "end") lines.push({ kind: "user", text: textOf(message.body) });
    }
  }
  flush();
  return lines;
}

/** The tool results that the model was shown, as they were sent. */
function resultsShown(events: readonly Event[]): string[] {
  return events.flatMap((event) => {
    const { header } = event;
    if (header.kind !== "call.completed" || header.syscall !== "model.generate" || header.error !== undefined)
      return [];
    const messages = (payload(event, "args") as Sent | undefined)?.messages ?? [];
    return messages.flatMap((message) =>
      message.role === "tool" ? message.content.map(({ output }) => textOf(output)) : [],
    );
  });
}

const show = (line: Line | undefined): string =>
  line === undefined
    ? "(nothing)"
    : line.kind === "call"
      ? `call ${line.name} ${line.args}`
      : `${line.kind} ${line.text}`;

function firstDifference(expected: readonly Line[], got: readonly Line[]): Difference | null {
  for (let at = 0; at < Math.max(expected.length, got.length); at += 1) {
    const [wanted, found] = [show(expected[at]), show(got[at])];
    if (wanted !== found) return { at, expected: wanted, got: found };
  }
  return null;
}

/** Where a journal first differs from its recording: in what was said and done, then in what the model was shown of the results. */
export function compare(recording: Recording, events: readonly Event[]): Difference | null {
  const difference = firstDifference(recording.lines, transcriptOf(events, recording.turns));
  if (difference !== null) return difference;
  const recorded = recording.lines.filter(({ kind }) => kind === "result");
  const shown = resultsShown(events).map((text): Line => ({ kind: "result", text }));
  return firstDifference(recorded, shown);
}
