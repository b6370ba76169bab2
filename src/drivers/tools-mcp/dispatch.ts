// The one fact on which it hangs whether a call may be repeated: did its request leave?
//
// The client library hides when it writes, so the call's record travels with it (AsyncLocalStorage) down to the
// transport, which marks the record in the moment in which it hands the bytes over. Nothing is inferred from errors
// but what a transport itself knows of them.
import { AsyncLocalStorage } from "node:async_hooks";
import type { JSONRPCMessage } from "@modelcontextprotocol/client";

/** One attempt at a call. */
export class Dispatch {
  readonly #lost = new AbortController();
  #left = false;
  #lostReason: string | undefined;

  /** Whether the request may have reached the server. */
  get left(): boolean {
    return this.#left;
  }

  /** Why no answer can come any more, if that is known. */
  get lostReason(): string | undefined {
    return this.#lostReason;
  }

  /** Fires when no answer can come any more. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  leave(): void {
    this.#left = true;
  }

  /** The transport knows that the request did not get through after all. */
  comeBack(): void {
    this.#left = false;
  }

  /** Takes effect in a later turn: an answer that came in the same breath is still on its way through the library. */
  lose(reason: string): void {
    setImmediate(() => {
      this.#lostReason ??= reason;
      this.#lost.abort(new Error(reason));
    });
  }
}

const current = new AsyncLocalStorage<Dispatch>();

export const dispatching = async <T>(dispatch: Dispatch, run: () => Promise<T>): Promise<T> =>
  current.run(dispatch, run);

/** Whether a call of a tool is being sent, or waited for. */
export const isDispatching = (): boolean => current.getStore() !== undefined;

/** The record of the call whose request this message is; undefined for every other message. */
export const dispatchOf = (message: JSONRPCMessage): Dispatch | undefined =>
  "method" in message && message.method === "tools/call" ? current.getStore() : undefined;
