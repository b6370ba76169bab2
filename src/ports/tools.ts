// Tools, as the kernel sees them, and the sources they come from.
import type { ErrorRecord } from "../abi/errors.ts";
import type { JsonObject } from "../abi/json.ts";
import type { PinState, ToolContent, ToolDefinition, ToolManifest, ToolSaid } from "../abi/tools.ts";
import type { EventHeader } from "../abi/events.ts";
import type { IsolationLevel } from "../abi/isolation.ts";
import type { ProcessView } from "./process.ts";
import type { Resource } from "./scheduler.ts";

/** What happens beside a call and belongs into its process's journal. */
export type NoteHeader = Extract<
  EventHeader,
  { kind: "egress.requested" | "egress.ended" | "workspace.changed" | "call.undone" }
>;
/** Resolves when the event is durable. Rejects with `cancelled` once the process is over: then nothing more may be done for it. */
export type Notes = (header: NoteHeader, payloads?: JsonObject) => Promise<void>;
/** What a door writes: the calls for which it was used are filled in by whoever opened it. */
export type EgressNotes = {
  readonly requested: (event: {
    readonly n: string;
    readonly decision: "allow" | "deny";
    readonly rule: string;
    readonly secrets: readonly string[];
    /** Method, scheme, host, port, path: text from inside, so it stands in the payload. */
    readonly request: JsonObject;
    /** How often it was refused alike since that was last told; absent where it was once. */
    readonly times?: number;
  }) => Promise<void>;
  readonly ended: (event: {
    readonly n: string;
    readonly status: number;
    readonly sentBytes: number;
    readonly receivedBytes: number;
    /** Names of secrets whose placeholders stood in the body; those in its address and headers stand in `request`. */
    readonly leaked?: readonly string[];
  }) => Promise<void>;
};

/** For whom a call is made. */
export type CallerView = Pick<ProcessView, "pid" | "manifest">;

/** What a source is told beside the arguments. */
export type CallOptions = {
  readonly process: CallerView;
  /** The number of the call. */
  readonly call: number;
  /** The same for every dispatch of one call. */
  readonly key: string;
  /** Fires when the time is up or the call is given up. */
  readonly signal: AbortSignal;
  readonly notes: Notes;
  /** Passes on what the tool says while it works, to whoever watches; not recorded. */
  readonly output: (text: string) => void;
  /** The digest of the preview that a human approved, if one was shown. */
  readonly previewed?: string | undefined;
};

/** What a call would do, shown before anybody approves it. `digest` stands for it: a call that would do something else is refused. */
export type Preview = { readonly text: string; readonly data?: JsonObject; readonly digest: string };

/**
 * How a call ended, as far as is known:
 * - `done`           it was performed
 * - `failed`         it was performed, and answered with an error
 * - `not_performed`  certain not to have been performed: it never left
 * - `unknown`        it left, and nothing came back
 */
export type ToolOutcome =
  | { readonly kind: "done"; readonly content: ToolContent }
  | { readonly kind: "failed"; readonly content: ToolContent }
  | { readonly kind: "not_performed"; readonly error: ErrorRecord }
  | { readonly kind: "unknown"; readonly reason: string };

export type Settlement =
  | { readonly status: "done"; readonly content: ToolContent }
  | { readonly status: "not_done" }
  | { readonly status: "unknown"; readonly reason: string };

export type Invocation = {
  /** As the process has it pinned. */
  readonly tool: ToolDefinition;
  readonly args: JsonObject;
  /** The same for every dispatch of one call. */
  readonly key: string;
  readonly process: CallerView;
  readonly call: number;
  readonly notes: Notes;
  readonly output: (text: string) => void;
  readonly previewed?: string | undefined;
};

export interface Tools {
  /** The definitions behind `source.tool` and `source.*`. Rejects with `not_found` (naming near matches) or `tool_unavailable`. */
  resolve(patterns: readonly string[]): Promise<readonly ToolDefinition[]>;
  /** What a call of this tool occupies. */
  resource(tool: ToolDefinition): Resource;
  /** Performs a call within the manifest's time. Rejects only on a fault of Reeve itself. */
  call(invocation: Invocation, options: { readonly signal: AbortSignal }): Promise<ToolOutcome>;
  /** What the call would do, if its tool can say; undefined if its manifest has no `preview`. Has no effect. Rejects as the source does. */
  preview(
    invocation: Omit<Invocation, "notes" | "output" | "previewed">,
    options: { readonly signal: AbortSignal },
  ): Promise<Preview | undefined>;
  /** Asks the tool's own `reconcile` what became of a call; `unknown` if it has none. */
  reconcile(invocation: Invocation): Promise<Settlement>;
  /** `tools`: what is offered. `held`: what is not, since it is not what was taken from its source; and what is gone. */
  list(): Promise<{
    readonly tools: readonly (ToolDefinition & { readonly isolation: IsolationLevel; readonly pin: PinState })[];
    readonly held: readonly HeldTool[];
    readonly sources: readonly ListedSource[];
    readonly unavailable: readonly { readonly source: string; readonly message: string }[];
  }>;
  /** What was taken of a tool, and what its source says of it now. Rejects with `not_found`, `tool_unavailable`. */
  diff(tool: string): Promise<ToolDiff>;
  /** Takes what is held back. Answers with the names. Rejects with `not_found`, `conflict`, `tool_unavailable`. */
  accept(
    what:
      | { readonly tools: readonly { readonly tool: string; readonly hash?: string | undefined }[] }
      | { readonly source: string },
    by: string,
  ): Promise<readonly string[]>;
  /** Begins, and with an answer ends, the login at a source's authorisation server. Rejects with `not_found`, `unsupported`, `denied`, `tool_unavailable`. */
  login(source: string, login: Login): Promise<LoginStep>;
  /** Forgets what a login gave. Answers whether there was anything. */
  logout(source: string): Promise<boolean>;
  close(): Promise<void>;
}

export type Login = {
  /** Where the browser is sent back to: a loopback address. */
  readonly redirect: string;
  /** The query that it came back with. */
  readonly answer?: string | undefined;
};
/** `address`: to be opened in a browser; null when the source may be used. */
export type LoginStep = { readonly address: string | null };

/** `hash`: of what the source says now; null if it lists no such tool. */
export type HeldTool = { readonly name: string; readonly pin: PinState; readonly hash: string | null };
export type ListedSource = {
  readonly name: string;
  readonly isolation: IsolationLevel;
  /** When it was first seen, by which its tools are pinned; null for those that are Reeve's or yours. Milliseconds since 1970. */
  readonly firstSeenMs: number | null;
};
export type ToolDiff = HeldTool & {
  readonly before: ToolSaid | null;
  readonly after: ToolSaid | null;
  /** Who took what was before, and when; null for what was there when the source was first seen. */
  readonly by: string | null;
  readonly atMs: number | null;
  /** For people; empty if nothing differs. */
  readonly diff: string;
};

/** A tool as its source describes it; `declared` is what the source says of its manifest, if that may be believed. */
export type SourceTool = {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly declared: Partial<ToolManifest>;
  /** What else it says of the tool, believed or not: a change of it is a change of the tool. `declared` in its place if absent. */
  readonly annotations?: JsonObject;
};

/** Where tools come from: an MCP server, a module of functions. One driver for each kind. */
export interface ToolSource {
  /** Its tools now. Rejects with `tool_unavailable` naming the source and the cause, within its start time. */
  tools(): Promise<readonly SourceTool[]>;
  /** What its tools run under; a tool whose manifest asks for more is not called. */
  readonly isolation: IsolationLevel;
  call(name: string, args: JsonObject, options: CallOptions): Promise<ToolOutcome>;
  /** What a call would do; for tools whose manifest has `preview`. */
  preview?(
    name: string,
    args: JsonObject,
    options: Omit<CallOptions, "notes" | "output" | "previewed">,
  ): Promise<Preview>;
  /** As in Tools; for sources that may ask for a login. */
  login?(login: Login): Promise<LoginStep>;
  logout?(): Promise<boolean>;
  close(): Promise<void>;
}
