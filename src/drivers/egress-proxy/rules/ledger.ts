// What a door writes down, and how much it has let through.
//
// Invariants:
//   L1. A request leaves only after the event that names it is durable. If that cannot be written, the door shuts.
//   L2. What both ways carried over the door's life stays within its bytes; each request counts for something, even one that carried nothing.
//   L3. Refusals fill no journal, and shut no door. The first DENIALS_MAX are told one by one; from there on what is refused alike is told at
//       the first time, the tenth, the hundredth and so on, and at the end, with how often it was; of more different ones than
//       DENIALS_APART_MAX the rest are told as one.
//   L4. No value of a secret is written down, wherever it came from, and nobody's credentials of an address.
import { OsError } from "../../../abi/errors.ts";
import type { JsonObject } from "../../../abi/json.ts";
import type { EgressNotes } from "../../../ports/tools.ts";
import { DENIALS_APART_MAX, DENIALS_MAX, EVENTS_BYTES } from "../bounds.ts";
import type { Refusal } from "./rules.ts";

/** Longer ones are cut in the event; the whole may be as long as headers may. Characters. */
const PATH_CHARS_MAX = 2048;

export type Wanted = {
  readonly method: string;
  /** Unknown of a tunnel. */
  readonly scheme?: string | undefined;
  readonly host: string;
  readonly port: number;
  /** With its query. */
  readonly path?: string | undefined;
  /** Names of secrets whose placeholders stand in it where they are not replaced. */
  readonly leaked?: readonly string[] | undefined;
};

/** `clean` takes out what may not be written down. */
function payloadOf(
  { method, scheme, host, port, path, leaked = [] }: Wanted,
  clean: (text: string) => string,
): JsonObject {
  return {
    method,
    ...(scheme === undefined ? {} : { scheme }),
    host: clean(host),
    port,
    ...(path === undefined ? {} : { path: shortened(clean(withoutUser(path))) }),
    ...(leaked.length === 0 ? {} : { leaked }),
  };
}

const shortened = (path: string): string => (path.length > PATH_CHARS_MAX ? `${path.slice(0, PATH_CHARS_MAX)}…` : path);

/** A whole address that was refused may hold credentials. */
const withoutUser = (path: string): string => path.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/?#]*@/i, "$1");

/** One request that was let out. */
export class Entry {
  readonly #n: string;
  readonly #ledger: Ledger;
  #sentBytes = 0;
  #receivedBytes = 0;
  #leaked: readonly string[] = [];
  #status = 0;
  #ended = false;

  constructor(n: string, ledger: Ledger) {
    this.#n = n;
    this.#ledger = ledger;
  }

  /** Counts what goes out; false once the door's bytes are used up, and then it must not go. */
  send(bytes: number): boolean {
    if (!this.#ledger.take(bytes)) return false;
    this.#sentBytes += bytes;
    return true;
  }

  receive(bytes: number): boolean {
    if (!this.#ledger.take(bytes)) return false;
    this.#receivedBytes += bytes;
    return true;
  }

  leak(names: readonly string[]): void {
    this.#leaked = [...new Set([...this.#leaked, ...names])];
  }

  /** The far side has begun to answer. */
  answered(status: number): void {
    this.#status = status;
  }

  /** It is over, whichever way; told once. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const status = this.#status;
    const [n, sentBytes, receivedBytes, leaked] = [this.#n, this.#sentBytes, this.#receivedBytes, this.#leaked];
    this.#ledger.ended(this, { n, status, sentBytes, receivedBytes, ...(leaked.length === 0 ? {} : { leaked }) });
  }
}

export type LedgerOptions = {
  /** Names the door; begins the numbers of its requests. */
  readonly id: string;
  readonly notes: EgressNotes;
  readonly bytesMax: number;
  /** Takes values of secrets out of a text. */
  readonly clean: (text: string) => string;
  /** The record cannot be kept any more. */
  readonly onOver: () => void;
};

type Refused = {
  readonly rule: Refusal["rule"];
  /** The last of them. */
  readonly request: JsonObject;
  readonly count: number;
  /** Of these, how many no event has told of. */
  readonly untold: number;
};
const OTHERS = "";

/** What is refused alike: whatever its query. */
const keyOf = (rule: string, { path, ...request }: JsonObject): string =>
  JSON.stringify([rule, request, typeof path === "string" ? path.replace(/\?.*$/s, "") : ""]);

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #open = new Set<Entry>();
  readonly #writing = new Set<Promise<void>>();
  readonly #bytesMax: number;
  #bytes = 0;
  #count = 0;
  #denials = 0;
  /** After the first DENIALS_MAX. */
  readonly #refused = new Map<string, Refused>();

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax;
  }

  get spent(): OsError | undefined {
    if (this.#bytes < this.#bytesMax) return undefined;
    return new OsError(
      "limit_exceeded",
      `This way out has carried the ${this.#bytesMax} bytes that it may, both ways together; nothing more passes.`,
      { data: { limit: "egress_bytes", max: this.#bytesMax } },
    );
  }

  /** Whether so many more bytes may pass. The first that may not use up the rest. */
  take(bytes: number): boolean {
    this.#bytes += bytes;
    return this.#bytes <= this.#bytesMax;
  }

  /** Resolves when the event is durable. Rejects where it could not be written: then nothing may leave. */
  async allowed(rule: string, wanted: Wanted, secrets: readonly string[]): Promise<Entry> {
    const n = this.#number();
    this.take(EVENTS_BYTES);
    await this.#requested({ n, decision: "allow", rule, secrets, request: this.#payload(wanted) });
    const entry = new Entry(n, this);
    this.#open.add(entry);
    return entry;
  }

  async denied({ rule }: Refusal, wanted: Wanted): Promise<void> {
    const request = this.#payload(wanted);
    this.#denials += 1;
    if (this.#denials <= DENIALS_MAX) {
      await this.#requested({ n: this.#number(), decision: "deny", rule, secrets: [], request });
      return;
    }
    const own = keyOf(rule, request);
    const isOther = !this.#refused.has(own) && this.#refused.size >= DENIALS_APART_MAX;
    const key = isOther ? OTHERS : own;
    const { count, untold } = this.#refused.get(key) ?? { count: 0, untold: 0 };
    const refused = {
      rule,
      request: isOther ? { ...request, others: true } : request,
      count: count + 1,
      untold: untold + 1,
    };
    this.#refused.set(key, refused);
    if (/^10*$/.test(String(refused.count))) await this.#tellRefused(key, refused);
  }

  async #tellRefused(key: string, { rule, request, count, untold }: Refused): Promise<void> {
    this.#refused.set(key, { rule, request, count, untold: 0 });
    const times = untold === 1 ? {} : { times: untold };
    await this.#requested({ n: this.#number(), decision: "deny", rule, secrets: [], request, ...times });
  }

  ended(entry: Entry, event: Parameters<EgressNotes["ended"]>[0]): void {
    this.#open.delete(entry);
    const writing = this.#options.notes
      .ended(event)
      // The process is over: what was known of the request is in its first event.
      .catch(() => this.#options.onOver())
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  /** Ends what is under way, and resolves when all that was told is durable or was refused. */
  async settle(): Promise<void> {
    for (const entry of this.#open) entry.end();
    // Where the process is over, what was told before has to do.
    for (const [key, refused] of this.#refused)
      if (refused.untold > 0) await this.#tellRefused(key, refused).catch(() => {});
    await Promise.all(this.#writing);
  }

  async #requested(event: Parameters<EgressNotes["requested"]>[0]): Promise<void> {
    try {
      await this.#options.notes.requested(event);
    } catch (error) {
      this.#options.onOver();
      throw error;
    }
  }

  #payload(wanted: Wanted): JsonObject {
    return payloadOf(wanted, this.#options.clean);
  }

  #number(): string {
    this.#count += 1;
    return `${this.#options.id}.${this.#count}`;
  }
}
