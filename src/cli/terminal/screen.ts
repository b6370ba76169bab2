// The terminal, as commands write to it: lines and streamed words to standard output, messages and progress to
// standard error.
//
// Invariants:
//   T1. Progress is drawn only on a terminal, and is wiped before anything else is written.
//   T2. A line begins at the left edge, even if streamed words stand before it.
import colours from "picocolors";
import type { CliHost, TerminalOutput } from "../host.ts";
import { duration } from "./figures.ts";
import { cut, wrap } from "./text.ts";

export type Paint = ReturnType<typeof colours.createColors>;

/** Narrower than this nobody can read it: the terminal may break the lines then. */
const FITTED_COLUMNS_MIN = 30;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_MS = 120;
const WIPE = "\r\u001b[2K";

export class Screen {
  /** Colours of standard output. */
  readonly paint: Paint;
  /** Colours of standard error. */
  readonly paintMessage: Paint;
  readonly #host: CliHost;
  #midLine = false;
  #status: { readonly text: string; readonly sinceMs: number } | null = null;
  #drawn = false;
  #frame = 0;
  #stopTimer: (() => void) | null = null;

  constructor(host: CliHost, { color }: { readonly color: boolean }) {
    const colourful = ({ isTTY }: TerminalOutput): boolean =>
      color && isTTY === true && (host.env["NO_COLOR"] ?? "") === "" && host.env["TERM"] !== "dumb";
    this.paint = colours.createColors(colourful(host.stdout));
    this.paintMessage = colours.createColors(colourful(host.stderr));
    this.#host = host;
  }

  /** Columns of standard output; undefined where it is no terminal and nothing is to be cut. */
  get columns(): number | undefined {
    const { isTTY, columns } = this.#host.stdout;
    return isTTY === true ? (columns ?? 80) : undefined;
  }

  /** The text, its lines broken at spaces where the terminal would break them within a word; `taken` columns stand before it. */
  fitted(text: string, taken: number): string {
    const { columns } = this;
    if (columns === undefined) return text;
    const room = Math.max(FITTED_COLUMNS_MIN, columns - taken);
    return text
      .split("\n")
      .flatMap((line) => wrap(line, room))
      .join("\n");
  }

  line(text = ""): void {
    this.#wipe();
    this.#host.stdout.write(`${this.#midLine ? "\n" : ""}${text}\n`);
    this.#midLine = false;
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) this.line(text);
  }

  /** Words in the middle of a line; the next `line` begins a new one. */
  words(text: string): void {
    if (text === "") return;
    this.#wipe();
    this.#host.stdout.write(text);
    this.#midLine = !text.endsWith("\n");
  }

  /** Words of a program's standard error. */
  errorWords(text: string): void {
    if (text === "") return;
    this.#wipe();
    this.#host.stderr.write(text);
  }

  /** To standard error. */
  message(text: string): void {
    this.#wipe();
    if (this.#midLine && this.#host.stdout.isTTY === true) this.line();
    this.#host.stderr.write(`${text}\n`);
  }

  /** What is going on, with the time since it began; null for nothing. */
  progress(text: string | null): void {
    if (this.#host.stderr.isTTY !== true || this.#host.env["TERM"] === "dumb") return;
    if (text === null) {
      this.#wipe();
      this.#status = null;
      this.#stopTimer?.();
      this.#stopTimer = null;
      return;
    }
    if (this.#status?.text !== text) this.#status = { text, sinceMs: this.#host.nowMs() };
    this.#stopTimer ??= this.#arm();
  }

  #arm(): () => void {
    return this.#host.after(FRAME_MS, () => {
      this.#draw();
      this.#stopTimer = this.#arm();
    });
  }

  #draw(): void {
    if (this.#status === null || this.#midLine) return;
    const frame = FRAMES[(this.#frame += 1) % FRAMES.length] ?? "";
    const elapsedMs = this.#host.nowMs() - this.#status.sinceMs;
    const timer = elapsedMs < 1000 ? "" : ` ${duration(elapsedMs)}`;
    const text = cut(`${this.#status.text}${timer}`, (this.#host.stderr.columns ?? 80) - 4);
    this.#host.stderr.write(`${WIPE}${this.paintMessage.cyan(frame)} ${this.paintMessage.dim(text)}`);
    this.#drawn = true;
  }

  #wipe(): void {
    if (!this.#drawn) return;
    this.#host.stderr.write(WIPE);
    this.#drawn = false;
  }
}
