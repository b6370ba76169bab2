// One recorded conversation, played against a server: a process is started on the user's first words, and hears the
// next ones whenever it waits for a message.
//
// All that it knows of the process it has from the server: every event that it has seen is acknowledged, and must be
// there for ever. It can be driven again after the server died; what is to be said next follows from the journal alone,
// so nothing is said twice.
import type { Event } from "../src/abi/events.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import { PAGE_ROWS_MAX } from "../src/abi/limits.ts";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "../src/sdk/client.ts";
import type { Recording } from "./recordings.ts";

/** `open`; `exited`; or `unknown`: it asks a human what became of an effect. */
export type ConversationState = "open" | "exited" | "unknown";

/** The whole journal of a process from `from` on. */
async function readJournal(client: Client, pid: ProcessId, from: number, signal: AbortSignal): Promise<Event[]> {
  const events: Event[] = [];
  for (;;) {
    const page = await client.journal.read({ pid, from: from + events.length, limit: PAGE_ROWS_MAX }, { signal });
    events.push(...(page.events as unknown as Event[]));
    if (page.events.length < PAGE_ROWS_MAX) return events;
  }
}

export type ConversationOptions = {
  readonly recording: Recording;
  readonly agent: string;
  /** Told of each event once it has been seen. */
  readonly onEvent?: (conversation: Conversation, event: Event) => void;
  /** The user's pause before each message. */
  readonly paceMs?: number;
};

export type Lost = { readonly what: string; readonly count: number };

export class Conversation {
  readonly recording: Recording;
  readonly #agent: string;
  readonly #onEvent: (conversation: Conversation, event: Event) => void;
  readonly #paceMs: number;
  readonly #events: Event[] = [];
  readonly #sent: string[] = [];
  #pid: ProcessId | undefined;

  constructor(options: ConversationOptions) {
    this.recording = options.recording;
    this.#agent = options.agent;
    this.#onEvent = options.onEvent ?? (() => undefined);
    this.#paceMs = options.paceMs ?? 0;
  }

  get pid(): ProcessId | undefined {
    return this.#pid;
  }
  /** What was seen of the process, in order. */
  get events(): readonly Event[] {
    return this.#events;
  }

  /** Messages that the server has promised to deliver. */
  get sent(): number {
    return this.#sent.length;
  }

  get state(): ConversationState {
    if (this.#events.some(({ header }) => header.kind === "process.exited")) return "exited";
    if (this.#events.some(({ header }) => header.kind === "request.opened" && header.requestKind === "settlement"))
      return "unknown";
    return "open";
  }

  /** How it ended, in a word or with the error's message; undefined while it has not. */
  get ending(): string | undefined {
    const last = this.#events.find(({ header }) => header.kind === "process.exited");
    if (last === undefined || last.header.kind !== "process.exited") return undefined;
    const exit = last.payloads["exit"] as { error?: { message?: string } } | undefined;
    return last.header.how === "completed"
      ? "completed"
      : `${last.header.how}: ${last.header.error ?? ""} ${exit?.error?.message ?? ""}`;
  }

  /** Plays on until it is no longer open. Returns early when the signal fires; rejects when the server is gone or refuses. */
  async drive(client: Client, signal: AbortSignal): Promise<void> {
    this.#pid ??= (
      await client.process.spawn(
        { agent: this.#agent, task: this.recording.says[0] ?? "", key: this.recording.id },
        { signal },
      )
    ).pid;
    const pid = this.#pid;
    for (const event of await readJournal(client, pid, this.#events.length, signal)) this.#take(event);
    if (this.state !== "open") return;
    await this.#speak(client, pid, signal);
    for await (const item of client.follow(pid, { from: this.#events.length, signal })) {
      if (item.kind !== "event") continue;
      this.#take(item.event);
      if (this.state !== "open") return;
      if (item.event.header.kind === "call.waiting") await this.#speak(client, pid, signal);
    }
  }

  /** What was acknowledged before and is not in the journal now, byte for byte. */
  async lost(client: Client, signal: AbortSignal): Promise<Lost[]> {
    if (this.#pid === undefined) return [];
    const held = await readJournal(client, this.#pid, 0, signal);
    const gone = this.#events.filter((event, at) => JSON.stringify(held[at]) !== JSON.stringify(event));
    const delivered = new Set(
      held.flatMap(({ header }) => (header.kind === "message.delivered" ? [String(header.message)] : [])),
    );
    const unheard = this.#sent.filter((message) => !delivered.has(message));
    return [
      { what: `events of ${this.#pid}, the first with seq ${gone[0]?.seq ?? "?"}`, count: gone.length },
      { what: `messages to ${this.#pid}`, count: unheard.length },
    ].filter(({ count }) => count > 0);
  }

  #take(event: Event): void {
    this.#events.push(event);
    this.#onEvent(this, event);
  }

  /** Says what is next, if the process waits for a message and every one that was delivered has been taken. */
  async #speak(client: Client, pid: ProcessId, signal: AbortSignal): Promise<void> {
    const answered = new Set(
      this.#events.flatMap(({ header }) => (header.kind === "call.completed" ? [header.call] : [])),
    );
    const waits = this.#events.some(
      ({ header }) => header.kind === "call.waiting" && header.wait.on === "message" && !answered.has(header.call),
    );
    const delivered = this.#events.filter(({ header }) => header.kind === "message.delivered").length;
    const taken = this.#events.filter(
      ({ header }) => header.kind === "call.completed" && header.syscall === "message.receive",
    ).length;
    if (!waits || delivered > taken) return;
    if (this.#paceMs > 0) await delay(this.#paceMs, undefined, { signal });
    const said = this.recording.says[delivered + 1];
    const letter = said === undefined ? { pid, topic: "end", body: null } : { pid, topic: "message", body: said };
    const { message } = await client.message.send(letter, { signal });
    this.#sent.push(message);
  }
}

/** Runs `work` on every item, at most `limit` at once, in order of start. Rejects with the first failure, after all that were begun have ended. */
export async function pool<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
