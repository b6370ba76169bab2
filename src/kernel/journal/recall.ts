// What the journal holds of a process's calls: the memory that makes a program durable by replay.
//
// A program that runs again issues the same calls; each is answered from here until the journal's end is reached.
// The journal is read in pages as the program advances, and what was delivered is forgotten, so a long journal
// does not have to fit in memory.
//
// Invariants:
//   R1. A call's record is complete when `find` answers it: its outcome is in it if the journal has one.
//   R2. `nextOutcome` gives outcomes in the order of their events: the order in which the program saw them.
//   R3. Only events up to the head at the time of loading are read; what is appended later reaches the run directly.
import type { ErrorRecord } from "../../abi/errors.ts";
import type { Actor } from "../../abi/events.ts";
import type { RequestKind } from "../../abi/requests.ts";
import type { Address, MessageId, ProcessId, RequestId } from "../../abi/ids.ts";
import type { Json } from "../../abi/json.ts";
import type { Spent, Wait } from "../../abi/process.ts";
import type { ProcessCall } from "../../abi/syscalls.ts";
import type { Decision } from "../../abi/requests.ts";
import type { Store } from "../../ports/store.ts";
import { decodeValue } from "./encoding.ts";
import { chainHash, CHAIN_START, type Opened, payloadTexts, type SubjectKey } from "./events.ts";
import { openPage, type Page } from "./page.ts";
import { NOTHING_SPENT, plus, spendFor } from "../amounts.ts";

const PAGE_EVENTS = 256;
/** Pages on their way while one is awaited and worked through. */
const PAGES_AHEAD = 1;
/** The first page is short: the program starts on it while the next ones are read. */
const FIRST_PAGE_EVENTS = 32;

export type RecordedRequest = {
  readonly id: RequestId;
  readonly kind: RequestKind;
  readonly decision?: Decision & { readonly by: Actor };
};
export type Outcome = { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly error: ErrorRecord };

export type RecordedCall = {
  readonly number: number;
  readonly syscall: ProcessCall;
  /** Absent if it was erased. */
  readonly argsText: string | undefined;
  wait?: Wait;
  intended: boolean;
  /** What was reserved for it, each time that it was made. */
  reserved: Spent | undefined;
  requests: RecordedRequest[];
  outcome?: Outcome;
};

export type Mail = { readonly id: MessageId; readonly from: Actor; readonly topic: string; readonly body: Json };

export class Recall {
  readonly #store: Store;
  readonly #pid: ProcessId;
  readonly #end: number;
  readonly #calls = new Map<number, RecordedCall>();
  readonly #order: number[] = [];
  readonly #mail = new Map<MessageId, Mail>();
  #read = 0;
  #hash = CHAIN_START;
  #brokenAt: number | null = null;
  #reading: Promise<void> | undefined;
  readonly #ahead: Promise<Page>[] = [];
  #asked = 0;
  #spent: Spent = NOTHING_SPENT;
  #callsRecorded = 0;
  readonly #checkedBy: SubjectKey | undefined;
  /** The contexts that this process's model calls have made; whoever makes another adds it. */
  readonly contexts: Set<Address> = new Set();

  /** `end` is the number of events that the journal holds. With `checkedBy` every payload is compared with its address. */
  constructor(store: Store, pid: ProcessId, { end, checkedBy }: { end: number; checkedBy?: SubjectKey }) {
    this.#store = store;
    this.#pid = pid;
    this.#end = end;
    this.#checkedBy = checkedBy;
  }

  /** Events that this recall covers: those with a smaller seq are read, the others must be told. */
  get end(): number {
    return this.#end;
  }
  /** Whether the whole journal has been read. */
  get exhausted(): boolean {
    return this.#read >= this.#end;
  }
  /** Events read so far, and calls whose outcome was among them. */
  get counts(): { readonly events: number; readonly calls: number } {
    return { events: this.#read, calls: this.#callsRecorded };
  }
  /** The first event whose hash does not fit the chain, or (where that is checked) a payload its address; of those read. */
  get brokenAt(): number | null {
    return this.#brokenAt;
  }
  /** The journal once held more than `end` events: they are gone. */
  cutShort(): void {
    this.#brokenAt ??= this.#end;
  }
  /** Used up so far; the journal's end gives the truth. */
  get spent(): Spent {
    return this.#spent;
  }
  /** Messages delivered and not taken, oldest first; true at the journal's end. */
  get mail(): Mail[] {
    return [...this.#mail.values()];
  }

  /** What the journal holds of a call; undefined if it holds nothing. At once where it has been read far enough. */
  find(number: number): Promise<RecordedCall | undefined> | RecordedCall | undefined {
    const call = this.#calls.get(number);
    return call?.outcome !== undefined || this.exhausted ? call : this.readOn().then(() => this.find(number));
  }

  /** The call whose outcome comes next; undefined when none is left. Only as far as the journal was read. */
  get nextOutcome(): number | undefined {
    return this.#order[0];
  }

  /** The first call numbered at least `number`, of those read and not taken. */
  firstCallFrom(number: number): number | undefined {
    let first: number | undefined;
    for (const known of this.#calls.keys()) if (known >= number && known < (first ?? Infinity)) first = known;
    return first;
  }

  /** Takes the next outcome off the journal. */
  take(): RecordedCall {
    const number = this.#order.shift();
    const call = number === undefined ? undefined : this.#calls.get(number);
    if (call === undefined) throw new Error("No outcome is left to take.");
    this.#calls.delete(call.number);
    return call;
  }

  /** Reads the next page. */
  readOn(): Promise<void> {
    this.#reading ??= this.#readPage().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readPage(): Promise<void> {
    while (this.#ahead.length <= PAGES_AHEAD && this.#asked < this.#end) this.#ahead.push(this.#fetch());
    const next = this.#read + this.#pageEvents(this.#read);
    const page = await this.#ahead.shift();
    if (page === undefined) return;
    for (const { stored, opened } of page.events) {
      if (page.altered.has(stored.seq)) this.#brokenAt ??= stored.seq;
      if (stored.hash !== chainHash(this.#hash, stored.header)) this.#brokenAt ??= stored.seq;
      this.#hash = stored.hash;
      this.#take(opened, page.texts);
    }
    this.#read += page.events.length;
    if (this.#read === next) return;
    // Events that should be there are not: nothing behind the gap belongs to this chain.
    this.#brokenAt ??= this.#read;
    this.#read = this.#end;
  }

  #pageEvents(from: number): number {
    return Math.min(from === 0 ? FIRST_PAGE_EVENTS : PAGE_EVENTS, this.#end - from);
  }

  #fetch(): Promise<Page> {
    const from = this.#asked;
    const limit = this.#pageEvents(from);
    this.#asked += limit;
    const page = this.#store
      .events(this.#pid, from, limit)
      .then((events) => openPage(this.#store, events, this.#checkedBy));
    // Whoever reads on hears of a failure; of a run that has ended before that, nobody needs to.
    page.catch(() => {});
    return page;
  }

  #take(opened: Opened, texts: ReadonlyMap<Address, string>): void {
    const { header } = opened;
    if (header.kind === "message.delivered") {
      const body = JSON.parse(payloadTexts(opened, texts)["body"] ?? "null") as Json;
      this.#mail.set(header.message, { id: header.message, from: header.from, topic: header.topic, body });
    }
    if (!("call" in header)) return;
    const payloads = payloadTexts(opened, texts);
    if (header.kind === "request.opened")
      this.#requestsOf(header.call)?.push({ id: header.request, kind: header.requestKind });
    if (header.kind === "request.decided") {
      const requests = this.#requestsOf(header.call);
      const at = requests?.findIndex(({ id }) => id === header.request) ?? -1;
      const known = requests?.[at];
      const decision = JSON.parse(payloads["decision"] ?? "null") as Decision;
      if (requests !== undefined && known !== undefined)
        requests[at] = { ...known, decision: { ...decision, by: header.by } };
    }
    if (!("syscall" in header)) return;
    const call = this.#callOf(header.call, header.syscall, payloads["args"]);
    if (header.kind === "call.waiting") call.wait = header.wait;
    if (header.kind === "call.reserved") call.reserved = plus(call.reserved ?? NOTHING_SPENT, header.amounts);
    if (header.kind === "call.intended") {
      call.intended = true;
      // A settlement answers for the dispatch before it, and says nothing of this one.
      call.requests = call.requests.filter(({ kind }) => kind !== "settlement");
    }
    if (header.kind !== "call.completed") return;
    this.#spent = spendFor(this.#spent, header);
    this.#complete(call, payloads, texts);
  }

  #complete(call: RecordedCall, payloads: { [name: string]: string }, texts: ReadonlyMap<Address, string>): void {
    const { value, error } = payloads;
    call.outcome =
      error === undefined
        ? { ok: true, value: value === undefined ? null : decodeValue(call.syscall, "value", value, texts) }
        : { ok: false, error: JSON.parse(error) as ErrorRecord };
    this.#order.push(call.number);
    this.#callsRecorded += 1;
    if (call.syscall === "model.generate" && call.outcome.ok) {
      const { context } = (call.outcome.value ?? {}) as { context?: Address };
      if (context !== undefined) this.contexts.add(context);
    }
    if (call.syscall !== "message.receive" || !call.outcome.ok) return;
    const { message } = call.outcome.value as { message: { id: MessageId } | null };
    if (message !== null) this.#mail.delete(message.id);
  }

  /** A call's arguments stand in its first event alone. */
  #callOf(number: number, syscall: ProcessCall, argsText: string | undefined): RecordedCall {
    const known = this.#calls.get(number);
    if (known !== undefined) return known;
    const call: RecordedCall = { number, syscall, argsText, intended: false, reserved: undefined, requests: [] };
    this.#calls.set(number, call);
    return call;
  }

  #requestsOf(number: number): RecordedRequest[] | undefined {
    return this.#calls.get(number)?.requests;
  }
}
