// Tools, as the kernel sees them, and the sources they come from.
import type { ErrorRecord } from "../abi/errors.ts";
import type { JsonObject } from "../abi/json.ts";
import type { ToolContent, ToolDefinition, ToolManifest } from "../abi/tools.ts";
import type { Resource } from "./scheduler.ts";

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
};

export interface Tools {
  /** The definitions behind `source.tool` and `source.*`. Rejects with `not_found` (naming near matches) or `tool_unavailable`. */
  resolve(patterns: readonly string[]): Promise<readonly ToolDefinition[]>;
  /** What a call of this tool occupies. */
  resource(tool: ToolDefinition): Resource;
  /** Performs a call within the manifest's time. Rejects only on a fault of Reeve itself. */
  call(invocation: Invocation, options: { readonly signal: AbortSignal }): Promise<ToolOutcome>;
  /** Asks the tool's own `reconcile` what became of a call; `unknown` if it has none. */
  reconcile(invocation: Invocation): Promise<Settlement>;
  list(): Promise<{
    readonly tools: readonly ToolDefinition[];
    readonly unavailable: readonly { readonly source: string; readonly message: string }[];
  }>;
  close(): Promise<void>;
}

/** A tool as its source describes it; `declared` is what the source says of its manifest, if that may be believed. */
export type SourceTool = {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly declared: Partial<ToolManifest>;
};

/** Where tools come from: an MCP server, a module of functions. One driver for each kind. */
export interface ToolSource {
  /** Its tools now. Rejects with `tool_unavailable` naming the source and the cause, within its start time. */
  tools(): Promise<readonly SourceTool[]>;
  /** As in `Tools.call`; the signal fires when the time is up or the call is given up. */
  call(
    name: string,
    args: JsonObject,
    options: { readonly key: string; readonly signal: AbortSignal },
  ): Promise<ToolOutcome>;
  close(): Promise<void>;
}
