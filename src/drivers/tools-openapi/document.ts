// Where a document comes from: a file, read again when it has changed, or an https address, read once.
import { readFile, stat } from "node:fs/promises";
import { parse } from "yaml";
import { OsError } from "../../abi/errors.ts";
import { egressRuleSchema } from "../../abi/isolation.ts";
import type { Egress } from "../../ports/egress.ts";
import type { EgressNotes } from "../../ports/tools.ts";
import { text, tree, type Tree } from "./tree.ts";

const DOCUMENT_BYTES_MAX = 32 * 1024 * 1024;
const LOAD_MS = 15_000;

/** How an address is asked. */
export type WayOut = { readonly egress: Egress; readonly notes: EgressNotes };
export type Loaded = { readonly document: Tree; readonly mark: string };

/** By what a document is known to be the same as before; it need not be read for that. */
export async function markOf(place: string): Promise<string> {
  if (isRemote(place)) return place;
  const { mtimeMs, size } = await stat(place);
  return `${mtimeMs} ${size}`;
}

export const isRemote = (place: string): boolean => /^https?:\/\//i.test(place);

/** Rejects with a plain error that says what is wrong with it. */
export async function load(place: string, wayOut: WayOut): Promise<Loaded> {
  const mark = await markOf(place);
  const content = isRemote(place) ? await fetched(place, wayOut) : await readFile(place);
  if (content.byteLength > DOCUMENT_BYTES_MAX) throw new Error(`it is longer than ${DOCUMENT_BYTES_MAX} bytes`);
  // JSON is YAML; aliases are bounded by the reader, so that a short text cannot become a long one.
  const source = new TextDecoder("utf-8", { fatal: true }).decode(content);
  const document = tree(
    source.trimStart().startsWith("{") ? JSON.parse(source) : parse(source, { maxAliasCount: 100 }),
  );
  const version = text(document.openapi);
  if (!/^3\.[01]\.\d/.test(version))
    throw new Error(
      `it is no OpenAPI document of version 3.0 or 3.1 (it says ${version === "" ? "nothing of its version" : version})`,
    );
  return { document, mark };
}

/** The operator wrote the address, so it may stand for one of his own network; where it redirects to, he did not write. */
async function fetched(place: string, { egress, notes }: WayOut): Promise<Uint8Array> {
  const address = new URL(place);
  if (address.protocol !== "https:") throw new Error("its address is not https");
  const rule = egressRuleSchema.parse({
    host: address.hostname.replace(/^\[(.*)\]$/, "$1"),
    ...(address.port === "" ? {} : { port: Number(address.port) }),
    methods: ["GET"],
    allowPrivate: true,
  });
  const headers = { accept: "application/json, application/yaml, */*;q=0.5" };
  const { status, body } = await egress.request(
    { url: place, method: "GET", headers },
    { owner: "tools", rules: [rule], secrets: [], notes },
    { signal: AbortSignal.timeout(LOAD_MS), responseBytesMax: DOCUMENT_BYTES_MAX },
  );
  if (status >= 300 && status < 400)
    throw new Error(`its server redirects (${status}); name the address that it leads to`);
  if (status !== 200) throw new Error(`its server answered with ${status}`);
  return body;
}

export const unavailable = (
  name: string,
  place: string,
  { why, cause }: { readonly why: string; readonly cause?: unknown },
): OsError =>
  new OsError(
    "tool_unavailable",
    `The OpenAPI document of the tools "${name}" (${place}) cannot be used: ${why}. Correct it, or tools.${name}.document in the configuration; the next use reads it again.`,
    {
      data: { tool: name, document: place },
      cause,
    },
  );
