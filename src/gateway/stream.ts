// A process's events as server-sent events.
//
// Frames: `event` (id: the event's seq, data: the event), `delta` (the model's words as they come, without id),
// `end` (the process has exited, nothing more will come), `problem` (the stream failed; data: a problem document).
//
// Invariants:
//   E1. A reader that resumes after the last id it saw misses no event and sees none twice.
//   E2. What waits for a slow reader never exceeds STREAM_BACKLOG_BYTES_MAX by more than one frame: the stream then
//       delivers what it holds and closes without `end`, and the reader resumes.
//   E3. When the reader leaves, the follower behind the stream is stopped.
import { OsError, issueLines } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import { STREAM_BACKLOG_BYTES_MAX, STREAM_HEARTBEAT_MS } from "../abi/limits.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { Clock } from "../ports/clock.ts";
import type { StreamItem, System } from "../ports/system.ts";
import { problemOf } from "./problem.ts";

export const RESUME_HEADER = "last-event-id";
/** How long a browser waits before it resumes. Milliseconds. */
const RETRY_MS = 1000;

type Start = { readonly pid: ProcessId; readonly from: number };

/** Where to begin: after `Last-Event-ID` if the request has it, else at `from`. Throws `invalid_argument`. */
export function streamStart(args: object, lastEventId: string | null): Start {
  const resumed = lastEventId === null ? args : { ...args, from: afterSeq(lastEventId) };
  const parsed = SYSCALLS["journal.follow"].input.safeParse(resumed);
  if (parsed.success) return parsed.data;
  const issues = issueLines(parsed.error.issues);
  throw new OsError("invalid_argument", `The stream cannot be opened: ${issues.join("; ")}.`, { data: { issues } });
}

function afterSeq(lastEventId: string): number {
  if (/^\d{1,15}$/.test(lastEventId)) return Number(lastEventId) + 1;
  throw new OsError("invalid_argument", `The header ${RESUME_HEADER} must hold the seq of the last event seen.`, {
    data: { issues: [`${RESUME_HEADER}: is not a seq`] },
  });
}

type Source = Start & { readonly system: System; readonly clock: Clock; readonly signal: AbortSignal };

export function eventStream(source: Source): Response {
  const left = new AbortController();
  const leave = (): void => left.abort();
  source.signal.addEventListener("abort", leave, { once: true });
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        const outlet = new Outlet(controller, left);
        void pump(source, outlet, left.signal).finally(() => source.signal.removeEventListener("abort", leave));
      },
      cancel: leave,
    },
    { highWaterMark: STREAM_BACKLOG_BYTES_MAX, size: (chunk) => chunk.byteLength },
  );
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    },
  });
}

/** Never rejects: what goes wrong is told to the reader, in the stream. */
async function pump(source: Source, outlet: Outlet, signal: AbortSignal): Promise<void> {
  const stopBeating = beat(source.clock, outlet);
  outlet.send(`retry: ${RETRY_MS}\n\n`);
  try {
    for await (const item of source.system.follow(source.pid, source.from, signal)) {
      outlet.send(frame(item));
      if (signal.aborted) break;
    }
    if (!signal.aborted) outlet.send(`event: end\ndata: ${JSON.stringify({ pid: source.pid })}\n\n`);
  } catch (error) {
    // After the reader left, a follower may end by any error: nobody is there to be told.
    if (!signal.aborted) outlet.send(`event: problem\ndata: ${JSON.stringify(problemOf(error))}\n\n`);
  } finally {
    stopBeating();
    outlet.close();
  }
}

function frame(item: StreamItem): string {
  if (item.kind === "event") return `id: ${item.event.seq}\nevent: event\ndata: ${JSON.stringify(item.event)}\n\n`;
  const { pid, call, text } = item;
  return `event: delta\ndata: ${JSON.stringify({ pid, call, text })}\n\n`;
}

/** Sends a comment at intervals, so that nobody in between takes the silence for an end. */
function beat(clock: Clock, outlet: Outlet): () => void {
  let stop = (): void => undefined;
  const arm = (): void => {
    stop = clock.after(STREAM_HEARTBEAT_MS, () => {
      outlet.send(": still here\n\n");
      arm();
    });
  };
  arm();
  return () => stop();
}

/** The writing end, which closes itself at the limit. */
class Outlet {
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  readonly #left: AbortController;
  readonly #encoder = new TextEncoder();
  #closed = false;

  constructor(controller: ReadableStreamDefaultController<Uint8Array>, left: AbortController) {
    this.#controller = controller;
    this.#left = left;
    left.signal.addEventListener("abort", () => this.close(), { once: true });
  }

  send(text: string): void {
    if (this.#closed) return;
    this.#controller.enqueue(this.#encoder.encode(text));
    if ((this.#controller.desiredSize ?? 0) <= 0) this.#left.abort();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#controller.close();
    } catch {
      // The reader cancelled the stream, which has closed it already.
    }
    this.#left.abort();
  }
}
