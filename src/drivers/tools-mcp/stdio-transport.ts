// MCP over a child's standard input and output: one JSON-RPC message a line.
//
// The library's own transport gives no word on what was written, kills no process group and lets lines that are no
// messages pass without a trace; hence this one.
//
// Invariants:
//   S1. Memory and work are bounded: by the longest message, by how much may come that is none, and by how much that answers nothing.
//   S2. A call's dispatch is marked before its first byte is written, and unmarked only if its last byte was refused:
//       a line without its end is no request.
//   S3. `onclose` fires once, after every answer that the child still gave.
import { parseJSONRPCMessage, type JSONRPCMessage, type Transport } from "@modelcontextprotocol/client";
import { Child } from "./child.ts";
import { type Dispatch, dispatchOf } from "./dispatch.ts";
import { plain } from "./faults.ts";
import type { Launch } from "./launch.ts";
import { Lines } from "./lines.ts";
import { MESSAGE_BYTES_MAX, NOISE_BYTES_MAX, UNASKED_BYTES_MAX, UNASKED_MAX } from "./bounds.ts";

/** The cause of an end that nobody need be told of. */
const CLOSED = "was closed";

export class StdioTransport implements Transport {
  onclose: (() => void) | undefined;
  onerror: ((error: Error) => void) | undefined;
  onmessage: Transport["onmessage"];
  /** By these two the library knows a transport on standard input and output. */
  readonly stderr = null;
  readonly #child: Child;
  readonly #lines = new Lines(MESSAGE_BYTES_MAX);
  readonly #calls = new Map<string | number, Dispatch>();
  /** Requests of ours that have no answer. */
  readonly #asked = new Set<string | number>();
  #unasked = { count: 0, bytes: 0 };
  #noiseBytes = 0;
  #noise: string | undefined;
  #cause: string | undefined;
  #diedByItself = false;
  #closed = false;

  constructor(launch: Launch) {
    this.#child = new Child(launch, (how) => {
      this.#diedByItself = this.#cause === undefined;
      this.#end(how);
    });
  }

  get pid(): number | null {
    return this.#child.pid;
  }

  /** Whether the child ended without being told to. */
  get diedByItself(): boolean {
    return this.#diedByItself;
  }

  async start(): Promise<void> {
    await this.#child.start((chunk) => this.#read(chunk));
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const dispatch = dispatchOf(message);
    if (this.#cause !== undefined) throw new Error(this.#cause);
    const id = "id" in message ? message.id : undefined;
    if (id !== undefined && "method" in message) this.#asked.add(id);
    if (dispatch !== undefined && id !== undefined) {
      dispatch.leave();
      this.#calls.set(id, dispatch);
    }
    try {
      await this.#child.write(`${JSON.stringify(message)}\n`);
    } catch (error) {
      dispatch?.comeBack();
      // A pipe breaks a moment before the end of whoever read it is known, and that end says more.
      if (!(await this.#child.over())) {
        // A server that takes no more input can be of no more use; the next call finds another.
        this.kill("does not read its standard input any more and was ended");
        this.#end(this.#cause ?? CLOSED);
      }
      throw this.#diedByItself ? new Error(this.#cause) : error;
    }
  }

  async close(): Promise<void> {
    this.#cause ??= CLOSED;
    await this.#child.stop();
    this.#end(this.#cause);
  }

  /** Ends the server without giving it time. */
  kill(cause: string): void {
    this.#cause ??= cause;
    this.#child.kill();
  }

  /** How the server ended, unless it was told to, and what it last said; undefined if there is nothing to tell. */
  describe(): string | undefined {
    const parts = this.#cause === undefined || this.#cause === CLOSED ? [] : [this.#cause];
    const tail = this.#child.stderrTail();
    if (tail !== "") parts.push(`its standard error ends: ${tail}`);
    if (this.#noise !== undefined) parts.push(`its standard output held what is no message, such as: ${this.#noise}`);
    return parts.length === 0 ? undefined : parts.join("; ");
  }

  /** Whether it ended by itself or for a fault of its own: then that is the reason for whatever failed. */
  get isBroken(): boolean {
    return this.#cause !== undefined && this.#cause !== CLOSED;
  }

  #end(cause: string): void {
    this.#cause ??= cause;
    if (this.#closed) return;
    this.#closed = true;
    this.#calls.clear();
    this.#asked.clear();
    this.onclose?.();
  }

  #read(chunk: Buffer): void {
    if (this.#closed) return;
    const lines = this.#lines.push(chunk);
    if (lines === null) {
      this.kill(`sent a line of more than ${MESSAGE_BYTES_MAX} bytes and was ended`);
      return;
    }
    for (const line of lines) this.#take(line);
  }

  #take(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.#makeNoise(line);
      return;
    }
    let message: JSONRPCMessage;
    try {
      message = parseJSONRPCMessage(value);
    } catch {
      this.#misshapen(value, line);
      return;
    }
    this.#noiseBytes = 0;
    const answers = !("method" in message) && message.id !== undefined && this.#asked.delete(message.id);
    if (answers) this.#unasked = { count: 0, bytes: 0 };
    else if (!this.#bears(line.length)) return;
    if (!("method" in message) && message.id !== undefined) this.#calls.delete(message.id);
    this.onmessage?.(message);
  }

  /** Whether one more that nobody asked for is borne; else the server is ended. */
  #bears(bytes: number): boolean {
    this.#unasked = { count: this.#unasked.count + 1, bytes: this.#unasked.bytes + bytes };
    if (this.#unasked.count <= UNASKED_MAX && this.#unasked.bytes <= UNASKED_BYTES_MAX) return true;
    this.kill(
      `sent more than ${UNASKED_MAX} messages or ${UNASKED_BYTES_MAX} bytes that nobody asked for and was ended`,
    );
    return false;
  }

  /** JSON that is no message: if it bears the number of a call, that call will get no better answer. */
  #misshapen(value: unknown, line: string): void {
    const id =
      typeof value === "object" && value !== null && "id" in value && !("method" in value) ? value.id : undefined;
    const dispatch = typeof id === "string" || typeof id === "number" ? this.#calls.get(id) : undefined;
    dispatch?.lose(`its answer is no JSON-RPC message: ${plain(line, 200)}`);
    this.#makeNoise(line);
  }

  #makeNoise(line: string): void {
    const text = plain(line, 200);
    if (text === "") return;
    this.#noise ??= text;
    this.#noiseBytes += line.length;
    if (this.#noiseBytes > NOISE_BYTES_MAX)
      this.kill(`wrote more than ${NOISE_BYTES_MAX} bytes that are no messages and was ended`);
  }
}
