// A journal's events as lines: what happened, in short.
import type { Event, EventHeader } from "../../abi/events.ts";
import type { Json } from "../../abi/json.ts";
import { duration } from "../terminal/figures.ts";
import { fieldOf, inShort, oneLine, textField } from "../terminal/text.ts";
import { amountsText, budgetText } from "./budget.ts";
import {
  callText,
  decidedText,
  egressRequestText,
  errorText,
  leakedText,
  outcomeText,
  placeText,
  usageText,
  waitText,
  withInputCounted,
} from "./wording.ts";

/** Of a program that was executed, its standard input is counted. */
function taskOf({ spec, task }: Event["payloads"]): Json | undefined {
  const isCommand = textField(fieldOf(fieldOf(spec, "agent"), "program"), "kind") === "command";
  return isCommand && task !== undefined ? withInputCounted(task) : task;
}

/** Enough of an agent's hash to tell two of its versions apart. */
const HASH_CHARACTERS = 8;

/** Reads events in order and says what each is about; it remembers the arguments, which stand in a call's first event only. */
export class EventLines {
  readonly #args = new Map<number, Json>();

  /** What happened, without the kind. */
  text({ header, payloads }: Event): string {
    switch (header.kind) {
      case "process.created":
        return `${oneLine(header.agent)}@${header.agentHash.slice(0, HASH_CHARACTERS)}: ${inShort(taskOf(payloads))} (by ${oneLine(header.by)})`;
      case "call.reserved":
        return `#${header.call} ${header.syscall} reserves ${amountsText(header.amounts)}`;
      case "call.waiting":
        return `${this.#call(header, payloads["args"])} → waits: ${waitText(header.wait)}`;
      case "call.intended":
        return `${this.#call(header, payloads["args"])} (${header.effect}${header.approval === undefined ? "" : `, approved by ${header.approval}`})`;
      case "call.completed":
        return this.#completed(header, payloads);
      case "request.opened":
        return `${header.request} ${header.requestKind}: ${inShort(textField(payloads["request"], "question") ?? null)} (rule ${oneLine(header.rule)})`;
      case "request.decided": {
        const note = textField(payloads["decision"], "note");
        const said = [decidedText(header.verdict, payloads["decision"]), note].filter((text) => text !== undefined);
        return `${header.request} ${header.verdict} by ${oneLine(header.by)}${said.map((text) => `: ${oneLine(text)}`).join("")}`;
      }
      case "message.delivered":
        return `${header.message} ${oneLine(header.topic)} from ${oneLine(header.from)}: ${inShort(payloads["body"])}`;
      case "egress.requested":
        return egressText(header, payloads["request"]);
      case "egress.ended":
        return `${header.n} ${header.status === 0 ? "ended" : header.status}: ${header.sentBytes} bytes sent, ${header.receivedBytes} received${leakedText(header.leaked)}`;
      case "workspace.changed":
        return `${header.what}${stateText(header)} by ${oneLine(header.by)}`;
      case "call.undone":
        return `#${header.call} undone by ${header.by}`;
      case "undo.begun":
        return `by ${header.by}`;
      case "process.reclassed":
        return `${placeText(header)} (by ${oneLine(header.by)})`;
      case "process.limited":
        return `${budgetText(header.budget)} (by ${oneLine(header.by)})`;
      case "process.stopped":
      case "process.continued":
        return `by ${oneLine(header.by)}`;
      case "process.exited":
        return exitedText(header, payloads["exit"]);
    }
  }

  #call(header: { readonly call: number; readonly syscall: string }, args: Json | undefined): string {
    if (args !== undefined) this.#args.set(header.call, args);
    return `#${header.call} ${callText(header.syscall, this.#args.get(header.call))}`;
  }

  #completed(header: Extract<EventHeader, { kind: "call.completed" }>, payloads: Event["payloads"]): string {
    const call = this.#call(header, payloads["args"]);
    this.#args.delete(header.call);
    const charged = header.charged === undefined ? "" : ` (charged ${amountsText(header.charged)})`;
    const aged = header.agedMs === undefined ? "" : ` (had its turn by age, after ${duration(header.agedMs)})`;
    const settled = `${header.settled === undefined ? "" : ` (settled by ${header.settled})`}${charged}${aged}`;
    if (header.error !== undefined) return `${call} → ${errorText(payloads["error"], header.error)}${settled}`;
    const usage = usageText(header);
    return `${call} → ${usage === "" ? "" : `(${usage}) `}${outcomeText(header.syscall, payloads["value"])}${settled}`;
  }
}

/** Which state of the workspace was kept, or gone back to. */
function stateText({ what, before }: Extract<EventHeader, { kind: "workspace.changed" }>): string {
  if (before === "replaced") return " (as it stood before it was last put back)";
  if (before !== null) return ` (before #${before})`;
  return what === "rollback" ? " (as it began or was last written back)" : "";
}

function egressText(header: Extract<EventHeader, { kind: "egress.requested" }>, request: Json | undefined): string {
  const secrets = header.secrets.length === 0 ? "" : `, with the secrets ${header.secrets.map(oneLine).join(", ")}`;
  const times = header.times === undefined ? "" : `, ${header.times} times`;
  return `${header.n} ${header.decision} ${egressRequestText(request)} (rule ${oneLine(header.rule)}${secrets}${leakedText(fieldOf(request, "leaked"))}${times})`;
}

function exitedText(header: Extract<EventHeader, { kind: "process.exited" }>, exit: Json | undefined): string {
  const open = header.open.length === 0 ? "" : ` (uncertain: ${header.open.map((call) => `#${call}`).join(", ")})`;
  if (header.how === "completed") return `completed${open}`;
  if (header.how === "killed") {
    const reason = textField(exit, "reason");
    return `killed by ${oneLine(header.by)}${reason === undefined || reason === "" ? "" : `: ${oneLine(reason)}`}${open}`;
  }
  const error = typeof exit === "object" && exit !== null && "error" in exit ? exit.error : undefined;
  return `failed: ${errorText(error, header.error ?? "internal")}${open}`;
}
