// The built-in tools `get`, `send` and `delete`: one HTTP request each, from Reeve itself, by the rules of the agent's way out.
//
// Three, and not one with a method: what a tool does to the world stands in its manifest and not in its arguments.
import { z } from "zod";
import { errorRecord, OsError } from "../../abi/errors.ts";
import { jsonSchema, type Json } from "../../abi/json.ts";
import type { ToolContent } from "../../abi/tools.ts";
import type { Egress, HttpRequest, HttpResponse } from "../../ports/egress.ts";
import type { CallOptions, ToolOutcome } from "../../ports/tools.ts";
import { namesMethod } from "../../lib/http-overrides.ts";
import { leavesOpen } from "../../lib/http-status.ts";
import { egressNotes } from "./job.ts";
import { type BuiltinTool, builtinTool } from "./tool.ts";

export type HttpPorts = { readonly egress: Egress };

/** What an answer may weigh; a larger one is not read to its end. Bytes. */
const RESPONSE_BYTES_MAX = 512 * 1024;
/** What of its text is shown; it stands in an outcome twice. Characters. */
const TEXT_CHARACTERS_MAX = 128 * 1024;
/** What of it a person is shown who has to say what became of a call. Characters. */
const REASON_CHARACTERS_MAX = 500;

const RULED =
  "It reaches only the hosts that you were granted. Where a credential is needed, write its placeholder (reeve-secret:NAME) into the header: the value is put in on the way. Redirects are answered to you, not followed.";

const address = {
  url: z
    .url({ protocol: /^https?$/ })
    .max(8192)
    .describe("The whole address."),
  headers: z
    .record(
      // With such a header a reading would delete.
      z.string().refine((name) => !namesMethod(name.trim()), {
        message: "asks for another method than is sent: use the tool that fits it",
      }),
      z.string(),
    )
    .optional()
    .describe("Headers of the request."),
};
const content = {
  body: z.string().optional().describe("Text to send."),
  json: jsonSchema.optional().describe("A value to send as JSON, in place of `body`."),
};
const oneBody = ({ body, json }: { body?: unknown; json?: unknown }): boolean =>
  body === undefined || json === undefined;

type Asked = {
  readonly url: string;
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  readonly json?: Json | undefined;
};

export const httpTools = (ports: HttpPorts): readonly BuiltinTool[] => [
  builtinTool({
    name: "get",
    description: `Reads an address by HTTP (GET, or HEAD for its headers alone). ${RULED}`,
    input: z.strictObject({ ...address, method: z.enum(["GET", "HEAD"]).default("GET") }),
    declared: { effect: "read", idempotency: "natural", summary: "read {url}" },
    run: (asked, options) => perform(ports, asked, options),
  }),
  builtinTool({
    name: "send",
    description: `Sends to an address by HTTP. ${RULED}`,
    input: z
      .strictObject({ ...address, method: z.enum(["POST", "PUT", "PATCH"]).default("POST"), ...content })
      .refine(oneBody, { message: "takes body or json, not both" }),
    declared: { effect: "send", idempotency: "none", summary: "{method} to {url}" },
    run: (asked, options) => perform(ports, asked, options),
  }),
  builtinTool({
    name: "delete",
    description: `Deletes what an address stands for, by HTTP. ${RULED}`,
    input: z.strictObject({ ...address, ...content }).refine(oneBody, { message: "takes body or json, not both" }),
    declared: { effect: "destroy", idempotency: "none", summary: "delete {url}" },
    run: (asked, options) => perform(ports, { ...asked, method: "DELETE" }, options),
  }),
];

function requestOf({ url, method, headers = {}, body, json }: Asked): HttpRequest {
  if (json === undefined) return { url, method, headers, body };
  const typed = Object.keys(headers).some((name) => name.toLowerCase() === "content-type");
  return {
    url,
    method,
    headers: typed ? headers : { ...headers, "content-type": "application/json" },
    body: JSON.stringify(json),
  };
}

async function perform({ egress }: HttpPorts, asked: Asked, options: CallOptions): Promise<ToolOutcome> {
  const { pid, manifest } = options.process;
  const door = { owner: pid, rules: manifest.egress, secrets: manifest.secrets, notes: egressNotes(options) };
  try {
    const limits = { signal: options.signal, responseBytesMax: RESPONSE_BYTES_MAX };
    const answer = await egress.request(requestOf(asked), door, limits);
    if (leavesOpen(answer.status) && !CHANGES_NOTHING.has(asked.method))
      return {
        kind: "unknown",
        reason: `It was answered with ${contentOf(answer, asked).text.slice(0, REASON_CHARACTERS_MAX)}. Whether it was performed is not known.`,
      };
    return { kind: answer.status < 400 ? "done" : "failed", content: contentOf(answer, asked) };
  } catch (error) {
    return failure(error, asked);
  }
}

const CHANGES_NOTHING: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** Before anything leaves there is one of these. */
const UNSENT: ReadonlySet<string> = new Set([
  "egress_denied",
  "tool_unavailable",
  "invalid_argument",
  "not_found",
  "config_invalid",
]);

function failure(error: unknown, { method }: Asked): ToolOutcome {
  const record = errorRecord(error, "internal");
  if (OsError.is(error) && UNSENT.has(error.code)) return { kind: "not_performed", error: record };
  // It was performed, and answered with more than anybody reads.
  const decided = CHANGES_NOTHING.has(method) || !leavesOpen(record.data["status"]);
  if (OsError.is(error, "limit_exceeded") && decided) return { kind: "failed", content: { text: record.message } };
  return { kind: "unknown", reason: record.message };
}

function contentOf({ status, headers, body }: HttpResponse, { method }: Asked): ToolContent {
  const text = method === "HEAD" || body.length === 0 ? "" : bodyText(headers["content-type"] ?? "", body);
  const type = headers["content-type"] === undefined ? "" : ` (${headers["content-type"]})`;
  const location = headers["location"] === undefined ? "" : `\nLocation: ${headers["location"]}`;
  return {
    text: `HTTP ${status}${type}${location}${text === "" ? "" : `\n\n${text}`}`,
    data: { status, headers: { ...headers }, body: text, bodyBytes: body.length },
  };
}

const TEXTUAL =
  /^(text\/|application\/(.*\+)?(json|xml|yaml|javascript|ecmascript|x-www-form-urlencoded|graphql|sql|toml|x-ndjson))/i;

/** The body as text, cut where it is long; what is no text is described. */
function bodyText(type: string, body: Uint8Array): string {
  const text = decode(type, body);
  if (text === undefined)
    return `[${body.length} bytes of ${/^[\w.+/-]{1,100}/.exec(type)?.[0] ?? "an unknown type"}, which is no text and not shown]`;
  if (text.length <= TEXT_CHARACTERS_MAX) return text;
  return `${text.slice(0, TEXT_CHARACTERS_MAX)}\n[cut here: ${TEXT_CHARACTERS_MAX} of ${text.length} characters]`;
}

function decode(type: string, body: Uint8Array): string | undefined {
  const charset = /charset="?([\w-]{1,40})/i.exec(type)?.[1] ?? "utf-8";
  try {
    const text = new TextDecoder(charset, { fatal: !TEXTUAL.test(type) }).decode(body);
    return !TEXTUAL.test(type) && text.includes("\0") ? undefined : text;
  } catch {
    // Not of that encoding, or of one that nobody knows.
    return undefined;
  }
}
