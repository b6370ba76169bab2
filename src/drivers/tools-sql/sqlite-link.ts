// The parent's end of the child process in which SQLite runs.
//
// Invariants:
//   I1. One order is under way at a time. An order that is given up ends the child, and with it whatever it had not committed;
//       but for a commit, whose answer is waited for.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Json } from "../../abi/json.ts";
import { SqlFault } from "./database.ts";

/** What the child is told. `allow`: what the authoriser lets through. */
export type Order =
  | { readonly op: "open"; readonly file: string; readonly write: boolean; readonly busyMs: number }
  | { readonly op: "BEGIN" | "BEGIN IMMEDIATE" | "COMMIT" | "ROLLBACK" }
  | {
      readonly op: "run";
      readonly sql: string;
      readonly params: readonly unknown[];
      readonly allow: "read" | "rows" | "define";
      readonly rowsMax: number;
      /** Keep which rows were touched. */
      readonly record: boolean;
    }
  | { readonly op: "close" };

export type Ran = {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Json[])[];
  readonly cut: "rows" | "bytes" | null;
  readonly changes: number;
  readonly followed: number;
  readonly changeset: Uint8Array | null;
  /** Whether that is only the beginning. */
  readonly changesetCut: boolean;
};
export type Reply = { readonly ok: Ran | null } | { readonly error: string; readonly code: number };

const CHILD = fileURLToPath(new URL("sqlite-child.ts", import.meta.url));

export class SqliteLink {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #answer: ((reply: Reply | undefined) => void) | undefined;
  #gone = false;

  constructor() {
    // Nothing of Reeve's environment is its business.
    this.#child = fork(CHILD, {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: {},
      execArgv: [],
    });
    this.#child.on("message", (reply: Reply) => this.#settle(reply));
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#gone = true;
        this.#settle(undefined);
        resolve();
      };
      this.#child.once("exit", end);
      this.#child.once("error", end);
    });
  }

  /** On the machine: the process that SQLite runs in. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isOpen(): boolean {
    return !this.#gone;
  }

  /** Rejects with `SqlFault`. Before a commit whatever went wrong has changed nothing. */
  async order(order: Order, signal?: AbortSignal): Promise<Ran | null> {
    if (signal?.aborted === true) throw new SqlFault("not_performed", "It was given up before it began.");
    const reply = await this.#asked(order, order.op === "COMMIT" ? undefined : signal);
    if (reply === undefined) throw gone(order, signal);
    if ("ok" in reply) return reply.ok;
    throw new SqlFault(order.op === "open" ? "not_performed" : "failed", sentence(reply.error, reply.code));
  }

  async #asked(order: Order, signal: AbortSignal | undefined): Promise<Reply | undefined> {
    const { promise, resolve } = Promise.withResolvers<Reply | undefined>();
    this.#answer = resolve;
    const give = (): void => void this.#child.kill("SIGKILL");
    signal?.addEventListener("abort", give, { once: true });
    if (this.#gone) this.#settle(undefined);
    // One that ended meanwhile is heard of by its end.
    else this.#child.send(order, () => {});
    return promise.finally(() => signal?.removeEventListener("abort", give));
  }

  /** It may wait for its next use without keeping Reeve alive, or not. */
  rest(resting: boolean): void {
    if (resting) {
      this.#child.unref();
      this.#child.channel?.unref();
    } else {
      this.#child.ref();
      this.#child.channel?.ref();
    }
  }

  async end(): Promise<void> {
    // A resting child would let Reeve end before its end is heard of.
    this.rest(false);
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  #settle(reply: Reply | undefined): void {
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.(reply);
  }
}

function gone(order: Order, signal: AbortSignal | undefined): SqlFault {
  if (order.op === "open")
    return new SqlFault("not_performed", "The process that SQLite runs in could not be started.");
  if (order.op === "COMMIT") return new SqlFault("unknown", "SQLite's process ended while it committed");
  if (signal?.aborted === true) return new SqlFault("not_performed", "It was given up and rolled back.");
  return new SqlFault(
    "failed",
    "SQLite's process ended, most likely since it took too much memory. Nothing was changed. Ask for less at once.",
  );
}

const BUSY = 5;
const LOCKED = 6;
const FULL = 13;
const AUTH = 23;

function sentence(error: string, code: number): string {
  const kind = code & 0xff;
  if (kind === BUSY || kind === LOCKED) return "Another program holds the database locked. Try again later.";
  if (kind === FULL)
    return "It would add more to the database than one call may (256 MiB), or the disk is full. Nothing was changed. Do it in parts.";
  if (kind === AUTH)
    return `SQLite's authoriser refused it (${error}): the tool may not do all that the statement does.`;
  return error;
}
