// Following a process at the terminal until it is over, until only somebody else can help it on, or until Ctrl-C.
//
// Invariants:
//   A1. What the process or a descendant asks of a human is asked here once, if somebody sits here; nobody is asked
//       about what has been decided elsewhere, and a question on the screen is taken back when that happens.
//   A2. With nobody here and nobody elsewhere who could decide, it does not wait for ever.
import { OsError } from "../../abi/errors.ts";
import type { ProcessId, RequestId } from "../../abi/ids.ts";
import type { InboxItem } from "../../abi/requests.ts";
import type { Followed } from "../../sdk/client.ts";
import type { Context } from "../context.ts";
import type { Session } from "../session.ts";
import { askDecision, askMessage } from "./prompts.ts";
import { Feed } from "./feed.ts";
import { standingOf, type Standing } from "./standing.ts";
import type { Summary } from "./summary.ts";
import { waitsText } from "./wording.ts";

export type AttendOptions = {
  readonly pid: ProcessId;
  /** The seq of the first event to show. */
  readonly from: number;
  readonly show: (item: Followed) => void;
  /** Whether to stay when only a human or a message can help the process on, and nobody sits here. */
  readonly patient: boolean;
  /** Rejects with `timeout` after this time. */
  readonly timeoutMs?: number;
};

/** After this long without an event it is looked who waits for whom. */
const QUIET_MS = 400;

const WORKING = "working";

/** Resolves with how the process stands at the end. Rejects with the client's errors and `timeout`. */
export async function attend(context: Context, session: Session, options: AttendOptions): Promise<Summary> {
  const attendance = new Attendance(context, session, options);
  const unlisten = context.interrupts.listen(() => attendance.leave());
  const stopTimer =
    options.timeoutMs === undefined
      ? () => undefined
      : context.host.after(options.timeoutMs, () => attendance.expire());
  try {
    return await attendance.run();
  } finally {
    stopTimer();
    unlisten();
    attendance.leave();
    context.screen.progress(null);
  }
}

class Attendance {
  readonly #context: Context;
  readonly #session: Session;
  readonly #options: AttendOptions;
  readonly #left = new AbortController();
  readonly #feed: Feed;
  /** Requests that were put to the person here. */
  readonly #put = new Set<RequestId>();
  #expired = false;
  /** Looks that found the process exited while nothing came any more. */
  #quietSinceExit = 0;

  constructor(context: Context, session: Session, options: AttendOptions) {
    this.#context = context;
    this.#session = session;
    this.#options = options;
    const { pid, from } = options;
    this.#feed = new Feed(session.client.follow(pid, { from, signal: this.#left.signal }), (ms, fire) =>
      context.host.after(ms, fire),
    );
  }

  leave(): void {
    this.#left.abort();
  }

  expire(): void {
    this.#expired = true;
    this.#left.abort();
  }

  async run(): Promise<Summary> {
    this.#context.screen.progress("starting");
    for (;;) {
      const taken = await this.#feed.take(QUIET_MS);
      if (this.#left.signal.aborted) return this.#interrupted();
      if (taken.kind === "end") return this.#summary("exited");
      if (taken.kind === "item") this.#show(taken.item);
      else if (await this.#isOver()) return this.#summary("waiting");
    }
  }

  #show(item: Followed): void {
    this.#context.screen.progress(WORKING);
    this.#options.show(item);
  }

  /** Whether to look no longer: nothing can go on from here, or the process has exited and its last events have come. */
  async #isOver(): Promise<boolean> {
    const standing = await standingOf(this.#session.client, this.#options.pid);
    if (standing.self.state !== "exited") return this.#isStuck(standing);
    this.#quietSinceExit += 1;
    return this.#quietSinceExit > 1;
  }

  /** Asks what is to be asked; true if nothing can go on any more from here. */
  async #isStuck(standing: Standing): Promise<boolean> {
    this.#context.screen.progress(progressText(standing));
    if (this.#context.interactive) {
      const next = standing.requests.find(({ request }) => !this.#put.has(request));
      if (next !== undefined) return this.#put.add(next.request) && this.#ask(next);
      if (standing.blockedOn === "message") return this.#converse(standing);
    }
    return standing.blockedOn !== null && !this.#options.patient;
  }

  async #ask(item: InboxItem): Promise<false> {
    const { screen } = this.#context;
    const isOver = (seen: Followed): boolean =>
      seen.kind === "event" &&
      ((seen.event.header.kind === "request.decided" && seen.event.header.request === item.request) ||
        seen.event.header.kind === "process.exited");
    const { answer, takenBack } = await this.#prompt(
      (signal) => askDecision({ context: this.#context, item, signal }),
      isOver,
    );
    if (takenBack) screen.line("This was decided elsewhere.");
    else if (answer === "leave") this.leave();
    else if (answer !== "later") await this.#decide(item, answer);
    return false;
  }

  /** Asks, and takes the question back as soon as something comes that makes it idle. */
  async #prompt<T>(
    ask: (signal: AbortSignal) => Promise<T>,
    isOver: (seen: Followed) => boolean,
  ): Promise<{ readonly answer: T; readonly takenBack: boolean }> {
    // A signal of its own: prompts go on listening after they were answered, and would write at the end of it all.
    const over = new AbortController();
    let takenBack = false;
    const leave = (): void => over.abort();
    this.#left.signal.addEventListener("abort", leave, { once: true });
    this.#feed.onItem = (seen) => {
      if (!isOver(seen)) return;
      takenBack = true;
      over.abort();
    };
    this.#context.screen.progress(null);
    const answer = await ask(over.signal);
    this.#feed.onItem = () => undefined;
    this.#left.signal.removeEventListener("abort", leave);
    return { answer, takenBack };
  }

  async #decide(item: InboxItem, decision: Exclude<Awaited<ReturnType<typeof askDecision>>, string>): Promise<void> {
    try {
      await this.#session.client.human.decide({ request: item.request, decision });
    } catch (error) {
      // Somebody else was quicker, or the process is gone: that is told, and following goes on.
      if (!OsError.is(error, "conflict") && !OsError.is(error, "process_gone")) throw error;
      this.#context.screen.line(error.message);
    }
  }

  /** Asks for the message that the process waits for; true if it is left waiting. */
  async #converse({ self }: Standing): Promise<boolean> {
    const wait = self.waits.find(({ on }) => on === "message");
    if (wait?.on !== "message") return !this.#options.patient;
    const { answer, takenBack } = await this.#prompt(
      (signal) => askMessage(this.#context, self.agent, signal),
      () => true,
    );
    if (takenBack) return false;
    if (answer === "later") return true;
    if (answer === "leave") this.leave();
    else
      await this.#session.client.message.send({
        pid: self.pid,
        body: answer.text,
        ...(wait.topic === undefined ? {} : { topic: wait.topic }),
      });
    return false;
  }

  #interrupted(): Promise<Summary> {
    if (!this.#expired) return this.#summary("detached");
    const afterMs = this.#options.timeoutMs ?? 0;
    throw new OsError(
      "timeout",
      `${this.#options.pid} has not exited within ${afterMs / 1000} s. It goes on; \`${this.#context.typed(`wait ${this.#options.pid}`)}\` waits further.`,
      { data: { afterMs, pid: this.#options.pid } },
    );
  }

  async #summary(why: Summary["why"]): Promise<Summary> {
    const { self, requests } = await standingOf(this.#session.client, this.#options.pid);
    return { row: self, requests, why: self.state === "exited" ? "exited" : why };
  }
}

function progressText({ self, requests }: Standing): string {
  if (self.state === "stopped") return "stopped";
  if (requests.length > 0) return `waits for a human: ${requests.map(({ request }) => request).join(", ")}`;
  if (self.waits.length > 0) return `waits: ${waitsText(self.waits)}`;
  return self.state === "ready" ? "waits for its turn to run" : WORKING;
}
