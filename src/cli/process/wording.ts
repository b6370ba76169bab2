// Calls, waits and outcomes in words, each short enough for a line.
import { budgetSchema, EXEC_TOOL } from "../../abi/agents.ts";
import type { EventHeader } from "../../abi/events.ts";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { RequestId } from "../../abi/ids.ts";
import type { Exit, Spent, Wait } from "../../abi/process.ts";
import { programInputBytes, programInputSchema } from "../../abi/program-input.ts";
import type { RequestKind, Verdict } from "../../abi/requests.ts";
import type { Class } from "../../abi/scheduling.ts";
import type { InboxItem } from "../../abi/requests.ts";
import { count, counted, duration, money, time, timeShort } from "../terminal/figures.ts";
import { fieldOf, inShort, oneLine, textField } from "../terminal/text.ts";
import { budgetText } from "./budget.ts";

/**
 * What a program is run with. Its standard input may be megabytes, of anything: people are told how much it is, and with --json it
 * stands there.
 */
export function withInputCounted(args: Json): Json {
  const input = programInputSchema.safeParse(fieldOf(args, "input"));
  if (!input.success) return args;
  return { ...(args as JsonObject), input: `${count(programInputBytes(input.data))} bytes (--json shows them)` };
}

/** A call with its arguments in short: `shop.refund {"order":17}`. */
export function callText(syscall: string, args: Json | undefined): string {
  switch (syscall) {
    case "tool.call": {
      const [tool, given] = [textField(args, "tool"), fieldOf(args, "args")];
      const shown = tool === EXEC_TOOL && given !== undefined ? withInputCounted(given) : given;
      return `${oneLine(tool ?? "a tool")} ${inShort(shown)}`.trimEnd();
    }
    case "model.generate":
      return `model.generate ${oneLine(textField(args, "model") ?? "")}`.trimEnd();
    case "human.ask":
      return `human.ask ${inShort(fieldOf(args, "question"))}`;
    case "process.spawn":
      return `process.spawn ${inShort(fieldOf(args, "agent"))} ${inShort(fieldOf(args, "task"))}`;
    case "clock.sleep": {
      const ms = fieldOf(args, "ms");
      return `clock.sleep ${typeof ms === "number" ? duration(ms) : ""}`.trimEnd();
    }
    case "lock.acquire":
    case "lock.release":
      return `${syscall} ${oneLine(textField(args, "key") ?? "")}`.trimEnd();
    default:
      return `${syscall} ${inShort(args) === "{}" ? "" : inShort(args)}`.trimEnd();
  }
}

/** What a call answered with, in short. */
export function outcomeText(syscall: string, value: Json | undefined): string {
  switch (syscall) {
    case "tool.call":
      return oneLine(textField(value, "text") ?? inShort(value));
    case "model.generate":
      return generatedText(value);
    case "human.ask":
      return inShort(fieldOf(value, "answer"));
    case "process.spawn":
      return inShort(fieldOf(value, "pid"));
    case "lock.acquire": {
      const untilMs = fieldOf(value, "untilMs");
      return typeof untilMs === "number" ? `held until ${time(untilMs)} at most` : "";
    }
    case "lock.release":
      return fieldOf(value, "released") === false ? "it was not held any more" : "";
    default:
      return inShort(value);
  }
}

/** The parts of a model's answer of one type. */
function partsOf(value: Json | undefined, type: "text" | "tool-call"): readonly Json[] {
  const content = fieldOf(value, "content");
  return Array.isArray(content) ? (content as readonly Json[]).filter((part) => textField(part, "type") === type) : [];
}

export const spokenText = (value: Json | undefined): string =>
  partsOf(value, "text")
    .map((part) => textField(part, "text") ?? "")
    .join("");

function generatedText(value: Json | undefined): string {
  const asked = partsOf(value, "tool-call").map((part) => textField(part, "name") ?? "");
  const said = oneLine(spokenText(value));
  const asks = asked.length === 0 ? "" : `asks for ${oneLine(asked.join(", "))}`;
  return [said, asks].filter((text) => text !== "").join(" · ");
}

/** What an event's error payload says: the code with its message. */
export function errorText(error: Json | undefined, code: string): string {
  const message = textField(error, "message");
  return message === undefined ? code : `${code}: ${oneLine(message)}`;
}

/** What a list of processes knows beside their rows: the time, and what the open requests are. */
export type Known = { readonly nowMs: number; readonly kinds: ReadonlyMap<RequestId, RequestKind> };

/** What is waited for. With `known` in as few words as a column has room for. */
export function waitText(wait: Wait, known?: Known): string {
  const until = (ms: number): string => `until ${known === undefined ? time(ms) : timeShort(ms, known.nowMs)}`;
  switch (wait.on) {
    case "human":
      return `${known?.kinds.get(wait.request) ?? "human"} ${wait.request}`;
    case "time":
      return until(wait.untilMs);
    case "message":
      return `message${wait.topic === undefined ? "" : ` ${oneLine(wait.topic)}`}${wait.untilMs === undefined ? "" : ` ${until(wait.untilMs)}`}`;
    case "process":
      return `exit of ${wait.pid}`;
    case "turn":
      return `turn: ${oneLine(wait.resource)}`;
    case "lock":
      return `lock: ${oneLine(wait.key)}`;
  }
}

export const waitsText = (waits: readonly Wait[], known?: Known): string =>
  waits.map((wait) => waitText(wait, known)).join(", ");

export const tokensOf = ({ inputTokens, outputTokens }: Spent): number => inputTokens + outputTokens;

/** `4 calls · 2,310 tokens · $0.0042` */
export function spentText(spent: Spent): string {
  const parts = [counted(spent.calls, "call"), `${count(tokensOf(spent))} tokens`];
  return [...parts, ...(spent.costUsd === 0 ? [] : [money(spent.costUsd)])].join(" · ");
}

export function exitText(exit: Exit): string {
  if (exit.how === "completed") return "completed";
  if (exit.how === "failed") return `failed: ${exit.error.code}: ${oneLine(exit.error.message)}`;
  return `killed by ${oneLine(exit.by)}${exit.reason === "" ? "" : `: ${oneLine(exit.reason)}`}`;
}

/** What a decision gives: the answer, or the budget that was raised. */
export function decidedText(verdict: Verdict, decision: Json | undefined): string | undefined {
  if (verdict === "answered") return inShort(fieldOf(decision, "answer"));
  if (verdict !== "raised") return undefined;
  const budget = budgetSchema.safeParse(fieldOf(decision, "budget"));
  return budget.success ? budgetText(budget.data) : undefined;
}

/** Who is asked for what, on one line. */
export function requestText({ kind, tool, effect }: Pick<InboxItem, "kind" | "tool" | "effect">): string {
  const what =
    kind === "settlement" ? "settlement: did it happen?" : kind === "budget" ? "budget: may it use up more?" : kind;
  return [what, tool === undefined ? "" : oneLine(tool), effect ?? ""].filter((text) => text !== "").join(" · ");
}

const PORTS: Readonly<Record<string, number>> = { https: 443, http: 80 };

/** What was to leave, as `egress.requested` has it: `GET https://example.com/a`, or of a tunnel `CONNECT example.com:443`. */
export function egressRequestText(request: Json | undefined): string {
  const part = (name: string): string => textField(request, name) ?? "";
  const [scheme, port] = [part("scheme"), fieldOf(request, "port")];
  // What could not be read as a request has none.
  const isShown = typeof port === "number" && port !== 0 && port !== PORTS[scheme];
  const place = `${scheme === "" ? "" : `${scheme}://`}${part("host")}${isShown ? `:${port}` : ""}${part("path")}`;
  const others = fieldOf(request, "others") === true ? " and others" : "";
  return `${oneLine(`${part("method")} ${place}`)}${others}`;
}

/** Secrets whose placeholders went where they are not replaced. */
export function leakedText(names: Json | undefined): string {
  if (!Array.isArray(names) || names.length === 0) return "";
  return `, placeholders not replaced: ${oneLine(names.join(", "))}`;
}

export function usageText(header: Extract<EventHeader, { kind: "call.completed" }>): string {
  const { usage } = header;
  if (usage === undefined) return "";
  const cost = usage.costUsd === undefined || usage.costUsd === 0 ? "" : ` · ${money(usage.costUsd)}`;
  return `${count(usage.inputTokens)} in, ${count(usage.outputTokens)} out${cost}`;
}

/** Where a process stands among the others: `batch, weight 2`. */
export const placeText = ({ class: name, weight }: { readonly class: Class; readonly weight: number }): string =>
  `${name}${weight === 1 ? "" : `, weight ${weight}`}`;
