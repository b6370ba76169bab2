// In the course of which call something is asked for over HTTP, and so in whose journal it stands.
//
// What is sent while a call is made is that call's: its own request, and what had to be asked first (a listing that was too old, a new
// token). The latter serves other calls as well, so the end of the process that happened to need it first takes nothing from them.
// What is asked for in no call's course (a listing for a person, a login) stands in the log.
//
// Invariants:
//   E1. A request leaves only after it stands in the journal of its call, or in the log.
//   E2. Nothing is written for a call that is over. With a call its own requests end.
import { AsyncLocalStorage } from "node:async_hooks";
import { OsError } from "../../abi/errors.ts";
import type { HttpStream } from "../../ports/egress.ts";
import type { CallOptions, EgressNotes } from "../../ports/tools.ts";

type Call = Pick<CallOptions, "call" | "notes">;
type Course = {
  readonly call: Call;
  /** Its own requests, and what ends them. */
  readonly own: Set<Promise<HttpStream>>;
  readonly ending: AbortController;
  /** Events that are being written. */
  readonly writing: Set<Promise<void>>;
  over: boolean;
};

const current = new AsyncLocalStorage<Course>();

/** Has all that `run` sends recorded as asked for by the call. */
export async function inCourseOf<T>({ call, notes }: Call, run: () => Promise<T>): Promise<T> {
  const course: Course = {
    call: { call, notes },
    own: new Set(),
    ending: new AbortController(),
    writing: new Set(),
    over: false,
  };
  try {
    return await current.run(course, run);
  } finally {
    course.ending.abort();
    // What failed here has been told to whoever waited for it.
    await Promise.allSettled([...course.own].map(async (stream) => (await stream).close()));
    course.over = true;
    await Promise.allSettled(course.writing);
  }
}

/** Of one request: where it is recorded, and whose it is. `own`: it is the call itself, and ends with it. */
export class Recording implements EgressNotes {
  readonly #course: Course | undefined;
  readonly #own: boolean;
  readonly #log: EgressNotes;
  #inJournal = false;

  constructor(log: EgressNotes, own: boolean) {
    const course = current.getStore();
    this.#course = course?.over === false ? course : undefined;
    this.#own = own && this.#course !== undefined;
    this.#log = log;
  }

  readonly requested: EgressNotes["requested"] = async (event) => {
    const { request, ...header } = event;
    if (this.#course !== undefined && !this.#course.over) {
      const { call, notes } = this.#course.call;
      try {
        await notes({ kind: "egress.requested", call, ...header }, { request });
        this.#inJournal = true;
        return;
      } catch (error) {
        if (this.#own || !OsError.is(error, "cancelled")) throw error;
      }
    }
    await this.#log.requested(event);
  };

  readonly ended: EgressNotes["ended"] = async (event) => {
    if (!this.#inJournal || this.#course === undefined) return this.#log.ended(event);
    // What is known of it is in its first event.
    if (this.#course.over) return;
    const { call, notes } = this.#course.call;
    const writing = notes({ kind: "egress.ended", call, ...event });
    this.#course.writing.add(writing);
    await writing;
  };

  /** Sends it; what is the call's own ends with the call. */
  async send(signal: AbortSignal | undefined, ask: (signal: AbortSignal) => Promise<HttpStream>): Promise<HttpStream> {
    const course = this.#own ? this.#course : undefined;
    if (course === undefined) return ask(signal ?? new AbortController().signal);
    const stream = ask(AbortSignal.any([course.ending.signal, ...(signal === undefined ? [] : [signal])]));
    course.own.add(stream);
    return stream;
  }
}
