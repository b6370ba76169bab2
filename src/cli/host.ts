// What the command line needs from the program that it is part of.
//
// `command-line.ts` hands in a host that boots the real system on the real terminal; tests hand in one of their own, so that
// every command runs in their process, with its output captured.
import type { Readable, Writable } from "node:stream";

export type TerminalInput = Readable & { readonly isTTY?: boolean };
export type TerminalOutput = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** Hears what no caller waits for: trouble, and what agents and servers write. It is text of others, and may come at any time. */
export type OnNotice = (message: string) => void;

/** A system in this process. */
export type Embedded = {
  readonly fetch: (request: Request) => Promise<Response>;
  readonly token: string;
  /** What the user should know of it, a line each: that a rehearsal plays the model, say. */
  readonly notices: readonly string[];
  /** Parks what is under way on disk and lets go of the data folder. */
  close(): Promise<void>;
};

/** A server that listens. */
export type Serving = {
  readonly url: string;
  readonly token: string;
  /** The data folder. */
  readonly folder: string;
  readonly notices: readonly string[];
  close(): Promise<void>;
};

/** Waits on a loopback port of its own for a browser to come back. */
export type Browser = {
  /** Where the browser is to be sent back to. */
  readonly redirect: string;
  /** The query that it came back with; nothing is known of its truth. */
  readonly answer: Promise<string>;
  readonly close: () => void;
};

export interface CliHost {
  /**
   * Boots the kernel in this process on the project's data folder. With `run: false` no process runs, whatever state
   * it is in; an operator's calls are answered all the same, signals and decisions included.
   * Rejects with `config_invalid`, `store_busy`, `store_failed`.
   */
  embed(options: { readonly config?: string; readonly run: boolean; readonly onNotice: OnNotice }): Promise<Embedded>;
  /** Starts the server. Rejects as `embed` does, and with `address_in_use`. */
  serve(options: { readonly config?: string; readonly port?: number; readonly onNotice: OnNotice }): Promise<Serving>;
  /** The running server that owns the project's data folder, if there is one. */
  locate(options: { readonly config?: string }): Promise<{ readonly url: string; readonly token: string } | null>;
  readonly version: string;
  readonly stdin: TerminalInput;
  readonly stdout: TerminalOutput;
  readonly stderr: TerminalOutput;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Rejects with `address_in_use` where no port can be had. */
  waitForBrowser(): Promise<Browser>;
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Runs `fire` once after `ms` milliseconds; the answer cancels it. */
  after(ms: number, fire: () => void): () => void;
  /** Has `listener` called whenever the user wants to end the program (Ctrl-C, SIGTERM), in place of its end; the answer undoes that. */
  onInterrupt(listener: () => void): () => void;
}
