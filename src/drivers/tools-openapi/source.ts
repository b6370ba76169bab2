// A source of tools that is an interface described by an OpenAPI document: each operation is a tool, each call one request
// through the only way out, under a rule for that operation's server and method alone.
//
// Invariants:
//   O1. Nothing is sent anywhere but to the server that the operator or the document names.
//   O2. `not_performed` is said only where nothing left; an effect at which the server or a gateway failed is `unknown`.
import { errorRecord, OsError } from "../../abi/errors.ts";
import { needsIntent } from "../../abi/effects.ts";
import { egressRuleSchema } from "../../abi/isolation.ts";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { Egress, EgressLog, HttpResponse } from "../../ports/egress.ts";
import type { CallOptions, EgressNotes, SourceTool, ToolOutcome, ToolSource } from "../../ports/tools.ts";
import { leavesOpen } from "../../lib/http-status.ts";
import { isRemote, load, markOf, unavailable } from "./document.ts";
import { type Operation, operationsOf, serverUrl } from "./operations.ts";
import { requestOf } from "./request.ts";
import type { Selection } from "./selection.ts";
import { list, type Tree } from "./tree.ts";

export type OpenApiConfig = {
  /** An absolute path, or an https address. */
  readonly document: string;
  readonly baseUrl?: string | undefined;
  readonly only?: Selection | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
  readonly allowPrivate: boolean;
};
export type OpenApiParts = {
  readonly egress: Egress;
  /** For the reading of a document, which is no call's. */
  readonly log: EgressLog;
  /** Told of operations that cannot be called, once for each reading of the document. */
  readonly onNotice: (message: string) => void;
};

/** What an answer may be, so that text and data of it stay within what a tool may answer. Bytes. */
const RESPONSE_BYTES_MAX = 900 * 1024;
/** Up to here the answer is given as data beside its text. */
const DATA_BYTES_MAX = 400 * 1024;
/** Operations that are no tools, of which a notice says why. */
const LEFT_OUT_SHOWN = 10;
/** What of it a person is shown who has to say what became of a call. Characters. */
const REASON_CHARACTERS_MAX = 500;

/** The operations of the document as the source `name`. It is read at first use. */
export function createOpenApiSource(name: string, config: OpenApiConfig, parts: OpenApiParts): ToolSource {
  return new OpenApiSource({ name, config, parts });
}

type Listing = {
  readonly mark: string;
  readonly document: Tree;
  readonly tools: readonly SourceTool[];
  readonly byName: ReadonlyMap<string, Operation>;
};

class OpenApiSource implements ToolSource {
  readonly isolation = "none";
  readonly #name: string;
  readonly #config: OpenApiConfig;
  readonly #parts: OpenApiParts;
  #listing: Listing | undefined;
  #loading: Promise<Listing> | undefined;

  constructor({ name, config, parts }: { name: string; config: OpenApiConfig; parts: OpenApiParts }) {
    this.#name = name;
    this.#config = config;
    this.#parts = parts;
  }

  async tools(): Promise<readonly SourceTool[]> {
    return (await this.#listed()).tools;
  }

  async call(name: string, args: JsonObject, options: CallOptions): Promise<ToolOutcome> {
    try {
      const listing = await this.#listed();
      const operation = listing.byName.get(name);
      if (operation === undefined)
        throw new OsError("not_found", `The document of "${this.#name}" has no operation "${name}" any more.`, {
          data: { what: "tool", id: name },
        });
      return await this.#send(operation, args, { listing, options });
    } catch (error) {
      // Whatever failed here failed before anything left.
      return { kind: "not_performed", error: errorRecord(error, "tool_unavailable", { tool: name }) };
    }
  }

  async close(): Promise<void> {
    // Requests end with their calls, and the way out belongs to others.
  }

  async #send(
    operation: Operation,
    args: JsonObject,
    { listing, options }: { listing: Listing; options: CallOptions },
  ): Promise<ToolOutcome> {
    const { secrets, headers, allowPrivate } = this.#config;
    const base = this.#baseOf(operation, listing.document);
    const request = requestOf(operation, args, {
      sender: { document: listing.document, base, headers, secrets },
      key: options.key,
    });
    const { hostname, port, protocol } = new URL(base);
    const rule = egressRuleSchema.parse({
      host: hostname.replace(/^\[(.*)\]$/, "$1"),
      ...(port === "" ? {} : { port: Number(port) }),
      scheme: protocol === "http:" ? "http" : "https",
      methods: [operation.method],
      allowPrivate,
    });
    const door = { owner: options.process.pid, rules: [rule], secrets, notes: notesOf(options) };
    try {
      const response = await this.#parts.egress.request(request, door, {
        signal: options.signal,
        responseBytesMax: RESPONSE_BYTES_MAX,
      });
      return outcomeOf(operation, response);
    } catch (error) {
      return outcomeOfFault(operation, error);
    }
  }

  #baseOf(operation: Operation, document: Tree): string {
    const said = this.#config.baseUrl ?? operation.server ?? serverUrl(list(document.servers)[0]);
    const place = this.#config.document;
    const base = URL.parse(said, isRemote(place) ? place : undefined);
    if (base === null || !/^https?:$/.test(base.protocol))
      throw unavailable(this.#name, place, {
        why: `it names no server (${said === "" ? "none" : said}); say which as baseUrl`,
      });
    return base.href;
  }

  async #listed(): Promise<Listing> {
    const { document } = this.#config;
    const known = this.#listing;
    if (known !== undefined && (await markOf(document).catch(() => "")) === known.mark) return known;
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #load(): Promise<Listing> {
    const place = this.#config.document;
    try {
      const { document, mark } = await load(place, {
        egress: this.#parts.egress,
        notes: this.#parts.log(`tools.${this.#name}`),
      });
      const { operations, leftOut } = operationsOf(document, this.#config.only);
      if (leftOut.length > 0)
        this.#parts.onNotice(
          `Of the document of "${this.#name}" these operations are no tools: ${leftOut.slice(0, LEFT_OUT_SHOWN).join("; ")}${leftOut.length > LEFT_OUT_SHOWN ? `; and ${leftOut.length - LEFT_OUT_SHOWN} more` : ""}`,
        );
      const tools = operations.map(({ name, description, inputSchema, declared }) => ({
        name,
        description,
        inputSchema,
        declared,
      }));
      // Unchanged tools are shown as the same array, by which others know that nothing changed.
      const same = this.#listing !== undefined && JSON.stringify(this.#listing.tools) === JSON.stringify(tools);
      const listing = {
        mark,
        document,
        tools: same ? (this.#listing?.tools ?? tools) : tools,
        byName: new Map(operations.map((operation) => [operation.name, operation])),
      };
      this.#listing = listing;
      return listing;
    } catch (error) {
      throw unavailable(this.#name, place, {
        why: error instanceof Error ? error.message : String(error),
        cause: error,
      });
    }
  }
}

const notesOf = ({ notes, call }: CallOptions): EgressNotes => ({
  requested: ({ request, ...header }) => notes({ kind: "egress.requested", call, ...header }, { request }),
  ended: (header) => notes({ kind: "egress.ended", call, ...header }),
});

function outcomeOf(operation: Operation, response: HttpResponse): ToolOutcome {
  const { status, headers } = response;
  const type = headers["content-type"] ?? "";
  const body = bodyOf(response.body, type);
  const line = `${operation.method} ${operation.path} answered with ${status}.`;
  if (isOpen(operation, status))
    return {
      kind: "unknown",
      reason: `${line} Whether it was performed is not known. ${body.text.slice(0, REASON_CHARACTERS_MAX)}`.trim(),
    };
  const fits = response.body.byteLength <= DATA_BYTES_MAX;
  const content = {
    text: body.text === "" ? line : status < 400 ? body.text : `${line}\n${body.text}`,
    data: { status, ...(body.json === undefined || !fits ? {} : { body: body.json }) } as JsonObject,
  };
  return status >= 200 && status < 300
    ? { kind: "done", content }
    : {
        kind: "failed",
        content: { ...content, text: status < 400 ? `${line} Redirections are not followed.` : content.text },
      };
}

/** Whether it may or may not have had its effect, if it has any. */
const isOpen = ({ declared }: Operation, status: unknown): boolean =>
  leavesOpen(status) && needsIntent(declared.effect ?? "send");

function bodyOf(bytes: Uint8Array, type: string): { readonly text: string; readonly json?: Json } {
  if (bytes.byteLength === 0) return { text: "" };
  const charset = /charset="?([\w-]+)/i.exec(type)?.[1] ?? "utf-8";
  let text: string;
  try {
    text = new TextDecoder(charset, { fatal: true }).decode(bytes);
  } catch {
    // No text, or none that is known here; a model can read neither.
    return { text: `(${bytes.byteLength} bytes of ${type === "" ? "an unknown kind" : type})` };
  }
  if (!/json/i.test(type)) return { text };
  try {
    return { text, json: JSON.parse(text) as Json };
  } catch {
    // It says that it is JSON and is not: it is shown as it came.
    return { text };
  }
}

function outcomeOfFault(operation: Operation, error: unknown): ToolOutcome {
  if (
    OsError.is(error, "egress_denied") ||
    OsError.is(error, "tool_unavailable") ||
    OsError.is(error, "not_found") ||
    OsError.is(error, "config_invalid")
  )
    return { kind: "not_performed", error: errorRecord(error) };
  if (OsError.is(error, "limit_exceeded") && !isOpen(operation, error.data["status"]))
    return { kind: "failed", content: { text: `It was performed, and its answer was refused: ${error.message}` } };
  return { kind: "unknown", reason: error instanceof Error ? error.message : String(error) };
}
