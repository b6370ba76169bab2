// The only way out of a sandbox: a door of its own, behind which a proxy decides each request by rules and records it first.
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
  /** Both ways together, over the door's life. Bytes; 64 MiB if absent. */
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

export interface Egress {
  open(door: DoorSpec): Promise<Door>;
  /**
   * One request from Reeve's own process, under the same rules, checks, secrets and record. Redirects are not followed.
   * Rejects with `egress_denied`; with `tool_unavailable` where it certainly did not leave; any other failure has left.
   */
  request(
    request: HttpRequest,
    door: Omit<DoorSpec, "bytesMax">,
    options: { readonly signal: AbortSignal; readonly responseBytesMax: number },
  ): Promise<HttpResponse>;
  close(): Promise<void>;
}
