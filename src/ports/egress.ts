// The only way out. A sandbox has a door of its own, behind which a proxy decides each request by rules and records it first; what Reeve
// itself asks for goes the same road.
import type { EgressRule } from "../abi/isolation.ts";
import type { EgressNotes } from "./tools.ts";

export type DoorSpec = {
  /** As in SandboxSpec. */
  readonly owner: string;
  readonly rules: readonly EgressRule[];
  /** Names of secrets whose placeholders are replaced on the way to their destinations. */
  readonly secrets: readonly string[];
  /** Writes what happens into the journal; a request is sent only after its event is durable. */
  readonly notes: EgressNotes;
  /** Both ways together, over the life of the door or the stream. Bytes; `egress.doorBytesMax` of the configuration if absent. */
  readonly bytesMax?: number;
};

export type Door = {
  /** A folder with the one socket, to be seen inside at /run/reeve, read-only. The socket is open to all users; what is above the folder need not be. */
  readonly folder: string;
  /** Environment of the programs inside: proxy addresses, and the authority of the door's own certificates. */
  readonly env: Readonly<Record<string, string>>;
  /** The command that makes `command` run behind the door: it forwards a loopback port inside to the socket. */
  wrap(command: readonly [string, ...string[]]): readonly [string, ...string[]];
  /** Files of the machine that `wrap` needs inside. */
  readonly mounts: readonly { readonly from: string; readonly to: string; readonly access: "read" }[];
  /** Ends every connection and removes the socket. Idempotent. */
  close(): Promise<void>;
};

export type HttpRequest = {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
};
export type HttpResponse = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
};

/** An answer whose head is here and whose body is coming. */
export type HttpStream = {
  readonly status: number;
  /** As they came: one that came twice stands here twice. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /**
   * As it comes, unpacked. Breaks off with `limit_exceeded` (its bytes), `cancelled` (the signal) or `unreachable`. Whoever stops
   * reading ends the request.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends it, whatever is still to come; resolves when what there is to record of it is durable, or was refused. Idempotent. */
  close(): Promise<void>;
};

/** Where Reeve writes down what it asks for in no process's name, for `owner`: a listing, a login, a document. */
export type EgressLog = (owner: string) => EgressNotes;

export interface Egress {
  open(door: DoorSpec): Promise<Door>;
  /**
   * One request from Reeve's own process, under the same rules, checks, secrets and record. Redirects are not followed.
   * Rejects with `egress_denied`; with `tool_unavailable` where it certainly did not leave; with `not_found`,
   * `config_invalid` or `invalid_argument` for secrets and rules that cannot be used, before it leaves. Any other failure may have left;
   * `limit_exceeded` was answered, with the `status` in its data.
   */
  request(
    request: HttpRequest,
    door: Omit<DoorSpec, "bytesMax">,
    options: { readonly signal: AbortSignal; readonly responseBytesMax: number },
  ): Promise<HttpResponse>;
  /**
   * The same, with the answer as it comes, over connections that are kept between requests; `signal` ends it at any time. Rejects as
   * `request` does.
   */
  stream(request: HttpRequest, door: DoorSpec, options: { readonly signal: AbortSignal }): Promise<HttpStream>;
  close(): Promise<void>;
}
