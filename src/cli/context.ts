// What every command is given: the host, the global options, the screen, and a way to the system.
import type { Json } from "../abi/json.ts";
import { STATUS } from "./exit-status.ts";
import type { CliHost } from "./host.ts";
import { openSession, type Session } from "./session.ts";
import { Screen } from "./terminal/screen.ts";
import { plain } from "./terminal/text.ts";

export type GlobalOptions = { readonly config?: string; readonly json?: boolean; readonly color?: boolean };

/** Who is told of Ctrl-C. With nobody listening it ends the command at once, and so does the second one in any case. */
export class Interrupts {
  readonly #quit: (status: number) => void;
  readonly #listeners = new Set<() => void>();
  #told = false;

  /** `quit` ends the command without waiting for it. */
  constructor(quit: (status: number) => void) {
    this.#quit = quit;
  }

  fire(): void {
    if (this.#told) this.#quit(STATUS.interrupted);
    else this.leave(STATUS.interrupted);
  }

  /** Has the command come to its end, or ends it with this status if it does not listen. Later calls do nothing. */
  leave(status: number): void {
    if (this.#told) return;
    this.#told = true;
    if (this.#listeners.size === 0) this.#quit(status);
    for (const listener of this.#listeners) listener();
  }

  /** The answer undoes it. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export class Context {
  readonly host: CliHost;
  readonly json: boolean;
  readonly config: string | undefined;
  readonly screen: Screen;
  readonly interrupts: Interrupts;

  constructor(host: CliHost, options: GlobalOptions, interrupts: Interrupts) {
    this.host = host;
    this.json = options.json === true;
    this.config = options.config;
    this.screen = new Screen(host, { color: options.color !== false });
    this.interrupts = interrupts;
  }

  /** Whether somebody sits at the terminal who can be asked. */
  get interactive(): boolean {
    return !this.json && this.host.stdin.isTTY === true && this.host.stdout.isTTY === true;
  }

  /** Shows what comes unasked, on standard error. Its words may be of anybody. */
  readonly notice = (message: string): void => this.screen.message(plain(this.said(message)));

  /** Runs `use` with a session, and closes that in any case. */
  async session<T>(run: boolean, use: (session: Session) => Promise<T>): Promise<T> {
    const session = await openSession(this.host, { config: this.config, run, onNotice: this.notice });
    try {
      return await use(session);
    } finally {
      this.screen.progress(null);
      await session.close();
    }
  }

  /** Prints the answer: one JSON document, or what `text` gives for people. */
  answer(value: unknown, text: () => readonly string[]): void {
    if (this.json) this.document(value);
    else this.screen.lines(text());
  }

  /** One JSON document on one line. */
  document(value: unknown): void {
    this.screen.line(JSON.stringify(value));
  }

  /** A command line to type next, on the same project; npx finds the command in the project's own packages. */
  typed(command: string): string {
    if (this.config === undefined) return `npx reeve ${command}`;
    const file = /^[\w./-]+$/.test(this.config) ? this.config : `'${this.config.replaceAll("'", "'\\''")}'`;
    return `npx reeve --config ${file} ${command}`;
  }

  /** A message of the system for whoever sits here: the commands in it, which every part writes as `reeve …`, as they are typed. */
  said(message: string): string {
    return message.replaceAll(/`reeve ([a-z][^`]*)`/g, (_, command: string) => `\`${this.typed(command)}\``);
  }
}

/** Text that may be JSON: its value, or the text itself. */
export function jsonOrText(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    // Not JSON: what was typed is meant as it stands.
    return text;
  }
}
