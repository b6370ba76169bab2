// What happens in a process, as somebody reads it who watches: what the model says, each tool call with its result,
// what is asked, denied, waited for.
//
// Boundary: turns events into lines on the screen. It knows neither connections nor prompts.
import type { Effect } from "../../abi/effects.ts";
import type { Event, EventHeader } from "../../abi/events.ts";
import type { Json } from "../../abi/json.ts";
import type { Followed } from "../../sdk/client.ts";
import { time } from "../terminal/figures.ts";
import type { Screen } from "../terminal/screen.ts";
import { cut, indent, inShort, oneLine, plain, textField, fieldOf } from "../terminal/text.ts";
import { budgetText } from "./budget.ts";
import {
  callText,
  decidedText,
  egressRequestText,
  errorText,
  outcomeText,
  placeText,
  requestText,
  spokenText,
  usageText,
} from "./wording.ts";

type Completed = Extract<EventHeader, { kind: "call.completed" }>;

/** Calls that say nothing to a reader: they are in the journal. */
const QUIET: ReadonlySet<string> = new Set([
  "clock.now",
  "random.bytes",
  "clock.sleep",
  "human.ask",
  "process.wait",
  "message.receive",
]);
/** Where nothing is cut to the terminal's width, lines are still kept short. */
const PIPED_COLUMNS = 120;
const MARGIN = "  ";
/** A mark and the space after it. */
const MARK_COLUMNS = 2;

/** How a line looks; the text itself is cut and coloured apart from its mark. */
type Dress = { readonly margin?: string; readonly mark?: string; readonly paint?: (text: string) => string };

const same = (text: string): string => text;

export type ViewOptions = {
  /** Write the model's words as they come; without it each answer is written when it is complete. */
  readonly streams: boolean;
  /** Somebody is asked here what is asked of humans, and shown the whole of it then. */
  readonly asks: boolean;
};

export class View {
  readonly #screen: Screen;
  readonly #streams: boolean;
  readonly #asks: boolean;
  readonly #args = new Map<number, Json>();
  /** Calls with an effect that are under way: what is said in them is a program's, and stands in their outcome. */
  readonly #dispatched = new Set<number>();
  /** The words of the model call that is being written out, and of no other. */
  #streamed: { readonly call: number; text: string } | null = null;
  #lastSaid = "";
  #last: "call" | "words" = "words";

  constructor(screen: Screen, { streams, asks }: ViewOptions) {
    this.#screen = screen;
    this.#streams = streams;
    this.#asks = asks;
  }

  /** What the model said last, so that a summary need not repeat it. */
  get lastSaid(): string {
    return this.#lastSaid;
  }

  /** Takes in an event from before: what is shown later may refer to it. */
  learn({ header, payloads }: Event): void {
    if (!("call" in header) || header.call === undefined) return;
    if (header.kind === "call.intended") this.#dispatched.add(header.call);
    if (header.kind === "call.completed") this.#args.delete(header.call);
    else if (payloads["args"] !== undefined) this.#args.set(header.call, payloads["args"]);
  }

  show(item: Followed): void {
    if (item.kind === "delta") this.#delta(item.call, item.text);
    else this.#event(item.event);
  }

  #delta(call: number, text: string): void {
    if (!this.#streams || text === "" || this.#dispatched.has(call)) return;
    if (this.#streamed === null) {
      this.#streamed = { call, text: "" };
      this.#gap("words");
      this.#screen.words(MARGIN);
    }
    if (this.#streamed.call !== call) return;
    this.#streamed.text += text;
    this.#screen.words(plain(text).replaceAll("\n", `\n${MARGIN}`));
  }

  #event({ header, payloads }: Event): void {
    const { paint } = this.#screen;
    if ("call" in header && header.call !== undefined && payloads["args"] !== undefined)
      this.#args.set(header.call, payloads["args"]);
    switch (header.kind) {
      case "call.waiting":
        return this.#waiting(header);
      case "call.completed":
        return this.#completed(header, payloads);
      case "request.opened":
        return this.#asked(header, payloads["request"]);
      case "request.decided": {
        const note = textField(payloads["decision"], "note");
        const mark = header.verdict === "rejected" ? paint.red("✗") : paint.green("✓");
        const said = [decidedText(header.verdict, payloads["decision"]), note]
          .filter((text) => text !== undefined)
          .map((text) => `: ${oneLine(text)}`);
        return this.#short(`${header.verdict} by ${oneLine(header.by)}${said.join("")}`, { margin: MARGIN, mark });
      }
      case "message.delivered": {
        const text = `${oneLine(header.from)} (${oneLine(header.topic)}): ${inShort(payloads["body"])}`;
        return this.#short(text, { mark: paint.cyan("✉") });
      }
      case "process.stopped":
        return this.#short(`stopped by ${oneLine(header.by)}`, { paint: paint.yellow });
      case "process.continued":
        return this.#short(`continued by ${oneLine(header.by)}`);
      case "process.reclassed":
        return this.#short(`${placeText(header)} by ${oneLine(header.by)}`, { paint: paint.dim });
      case "process.limited":
        return this.#short(`budget: ${budgetText(header.budget)}, by ${oneLine(header.by)}`, { paint: paint.dim });
      // Its header, its reservations, its intents and its end are told by what stands around them.
      case "egress.requested":
        if (header.decision === "allow") return undefined;
        return this.#short(
          `refused: ${egressRequestText(payloads["request"])} (${header.rule}${header.times === undefined ? "" : `, ${header.times} times`})`,
          {
            margin: MARGIN,
            mark: paint.red("✗"),
          },
        );
      case "workspace.changed":
        if (header.what === "snapshot") return undefined;
        return this.#short(`workspace: ${header.what} by ${oneLine(header.by)}`, { paint: paint.dim });
      case "call.undone":
        return this.#short(`#${header.call} undone by ${header.by}`, { paint: paint.yellow });
      case "undo.begun":
        return this.#short(`${header.by} takes back what it did`, { paint: paint.yellow });
      case "call.intended":
        return void this.#dispatched.add(header.call);
      case "egress.ended":
      case "process.created":
      case "call.reserved":
      case "process.exited":
        return undefined;
    }
  }

  #waiting({ wait }: Extract<EventHeader, { kind: "call.waiting" }>): void {
    const { dim } = this.#screen.paint;
    if (wait.on === "time") this.#short(`… waits until ${time(wait.untilMs)}`, { paint: dim });
    if (wait.on === "process") this.#short(`… waits for ${wait.pid}`, { paint: dim });
    if (wait.on !== "message") return;
    const topic = wait.topic === undefined ? "a message" : `a message about ${oneLine(wait.topic)}`;
    this.#short(`… waits for ${topic}`, { paint: dim });
  }

  #asked(header: Extract<EventHeader, { kind: "request.opened" }>, asked: Json | undefined): void {
    if (this.#asks) return;
    const { yellow, bold, dim } = this.#screen.paint;
    const tool = textField(asked, "tool");
    const effect = textField(asked, "effect") as Effect | undefined;
    const about = { ...(tool === undefined ? {} : { tool }), ...(effect === undefined ? {} : { effect }) };
    this.#gap("words");
    this.#whole(oneLine(textField(asked, "question") ?? ""), { mark: yellow("?"), paint: bold });
    this.#short(requestText({ kind: header.requestKind, ...about }), { margin: MARGIN, paint: dim });
    const reason = oneLine(textField(asked, "reason") ?? "");
    const why = reason === "" ? oneLine(header.rule) : `${oneLine(header.rule)}: ${reason}`;
    this.#whole(`${header.request} · ${why}`, { margin: MARGIN, paint: dim });
  }

  #completed(header: Completed, payloads: Event["payloads"]): void {
    const args = this.#args.get(header.call);
    this.#args.delete(header.call);
    this.#dispatched.delete(header.call);
    if (header.syscall === "model.generate") return this.#generated(header, payloads);
    if (header.error !== undefined) return this.#failed(header, callText(header.syscall, args), payloads["error"]);
    if (QUIET.has(header.syscall)) return undefined;
    const { paint } = this.#screen;
    this.#gap("call");
    this.#call(paint.green("●"), callText(header.syscall, args));
    const settled = header.settled === undefined ? "" : `(settled by ${header.settled}) `;
    const outcome = outcomeText(header.syscall, payloads["value"]);
    if (outcome !== "" && outcome !== "null") this.#short(settled + outcome, { margin: MARGIN, paint: paint.dim });
  }

  #failed(header: Completed, call: string, error: Json | undefined): void {
    const { paint } = this.#screen;
    this.#gap("call");
    this.#call(paint.red("✗"), call);
    this.#whole(errorText(error, header.error ?? "internal"), { margin: MARGIN, paint: paint.red });
  }

  #generated(header: Completed, payloads: Event["payloads"]): void {
    const { paint } = this.#screen;
    const value = payloads["value"];
    const streamed = this.#streamed?.call === header.call ? this.#streamed.text : null;
    if (streamed !== null) this.#streamed = null;
    const said = spokenText(value);
    if (header.error !== undefined) {
      this.#gap("words");
      const retry = fieldOf(payloads["error"], "retryable") === true ? " (the program may ask again)" : "";
      return this.#screen.line(
        `${paint.red("✗")} model: ${paint.red(errorText(payloads["error"], header.error))}${retry}`,
      );
    }
    // What was streamed stands there already, unless the stream was joined in the middle or broke.
    if (said !== "" && said !== streamed) {
      this.#gap("words");
      this.#screen.line(indent(this.#screen.fitted(plain(said), MARGIN.length)));
    }
    if (said !== "") this.#lastSaid = said;
    const model = oneLine(textField(value, "model") ?? "model");
    if (said === "") this.#gap("words");
    this.#last = "words";
    this.#short(`${model} · ${usageText(header)}`, { margin: said === "" ? "" : MARGIN, paint: paint.dim });
  }

  /** The name of what is called in bold, the rest as it is, all on one line. */
  #call(mark: string, text: string): void {
    const fitted = cut(text, this.#columns - MARK_COLUMNS);
    const space = fitted.indexOf(" ");
    const [name, rest] = space === -1 ? [fitted, ""] : [fitted.slice(0, space), fitted.slice(space)];
    this.#screen.line(`${mark} ${this.#screen.paint.bold(name)}${rest}`);
  }

  /** One line, cut to the width before it is coloured. */
  #short(text: string, { margin = "", mark = "", paint = same }: Dress = {}): void {
    const head = mark === "" ? margin : `${margin}${mark} `;
    const columns = this.#columns - margin.length - (mark === "" ? 0 : MARK_COLUMNS);
    this.#screen.line(head + paint(cut(text, columns)));
  }

  /** An empty line, but not between one call and the next. */
  #gap(of: "call" | "words"): void {
    if (of === "words" || this.#last === "words") this.#screen.line();
    this.#last = of;
  }

  /** All of it, broken at spaces to the width and indented below its first line. */
  #whole(text: string, { margin = "", mark = "", paint = same }: Dress = {}): void {
    const head = mark === "" ? margin : `${margin}${mark} `;
    const taken = margin.length + (mark === "" ? 0 : MARK_COLUMNS);
    const [first = "", ...more] = this.#screen.fitted(text, taken).split("\n");
    this.#screen.lines([head + paint(first), ...more.map((line) => " ".repeat(taken) + paint(line))]);
  }

  get #columns(): number {
    return this.#screen.columns ?? PIPED_COLUMNS;
  }
}
