// The request of a call: arguments in their places, and who asks, by placeholders that are replaced on the way out.
//
// Invariants:
//   A1. An argument stays within its place: none makes another path, another query or another header.
//   A2. No secret is here: what stands for it is useless text, but to the proxy that sends it.
import { placeholderOf } from "../../abi/isolation.ts";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { HttpRequest } from "../../ports/egress.ts";
import { multipartOf } from "./multipart.ts";
import type { Operation, Parameter } from "./operations.ts";
import { inCookie, inHeader, inPath, inQuery } from "./styles.ts";
import { invalid, isTree, resolved, text, tree, type Tree } from "./tree.ts";

type Parts = {
  path: string;
  readonly query: string[];
  readonly headers: Record<string, string>;
  readonly cookies: string[];
};

export type Sender = {
  readonly document: Tree;
  /** The server's address. */
  readonly base: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Names of secrets that may be used. */
  readonly secrets: readonly string[];
};

/** Throws `invalid_argument` for arguments that make no request. */
export function requestOf(
  operation: Operation,
  args: JsonObject,
  { sender, key }: { sender: Sender; key: string },
): HttpRequest {
  checkNames(operation, args);
  const parts: Parts = {
    path: operation.path,
    query: operation.query === undefined ? [] : [operation.query],
    headers: { accept: "application/json, */*;q=0.5" },
    cookies: [],
  };
  for (const parameter of operation.parameters) place(parameter, args[parameter.argument], parts);
  const left = /\{[^}]*\}/.exec(parts.path);
  if (left !== null) throw invalid(`The document does not say what ${left[0]} in the path is.`);
  identify(operation, sender, parts);
  for (const [name, value] of Object.entries(sender.headers)) parts.headers[name.toLowerCase()] = value;
  if (operation.keyHeader !== undefined) parts.headers[operation.keyHeader.toLowerCase()] = key;
  const { type, body } = bodyOf(operation, args["body"]);
  if (body !== undefined) parts.headers["content-type"] = type;
  if (parts.cookies.length > 0) parts.headers["cookie"] = parts.cookies.join("; ");
  const url = addressOf(sender.base, parts);
  return { url, method: operation.method, headers: parts.headers, ...(body === undefined ? {} : { body }) };
}

function checkNames({ parameters, body }: Operation, args: JsonObject): void {
  const known = new Set([...parameters.map(({ argument }) => argument), ...(body === undefined ? [] : ["body"])]);
  const strange = Object.keys(args).find((name) => !known.has(name));
  if (strange !== undefined)
    throw invalid(`There is no argument ${strange}. These are: ${[...known].join(", ") || "none"}.`);
  const missing = [...parameters, ...(body === undefined ? [] : [{ ...body, argument: "body" }])].find(
    ({ required, argument }) => required && args[argument] === undefined,
  );
  if (missing !== undefined) throw invalid(`The argument ${missing.argument} is missing.`);
}

function place(parameter: Parameter, given: Json | undefined, parts: Parts): void {
  if (given === undefined) return;
  const value = parameter.json ? JSON.stringify(given) : given;
  switch (parameter.place) {
    case "path":
      parts.path = parts.path.replaceAll(`{${parameter.name}}`, () => inPath(parameter, value));
      return;
    case "query":
      parts.query.push(...inQuery(parameter, value));
      return;
    case "header":
      parts.headers[parameter.name.toLowerCase()] = inHeader(parameter, value);
      return;
    case "cookie":
      parts.cookies.push(inCookie(parameter, value));
  }
}

function addressOf(base: string, { path, query }: Parts): string {
  const address = new URL(base);
  const folder = address.pathname.replace(/\/+$/, "");
  const whole = `${address.origin}${folder}${path}${query.length === 0 ? "" : `?${query.join("&")}`}`;
  // An address that reads otherwise than it was written would be another one.
  const normal = new URL(whole);
  if (normal.origin !== address.origin || normal.pathname !== `${folder}${path}`)
    throw invalid(`The arguments would make another address than ${address.origin}${folder}${path}.`);
  return whole;
}

function bodyOf({ body }: Operation, given: Json | undefined): { readonly type: string; readonly body?: string } {
  if (body === undefined || given === undefined) return { type: "" };
  const type = body.type.includes("*") ? "application/json" : body.type;
  if (body.form === "text") return { type, body: typeof given === "string" ? given : JSON.stringify(given) };
  if (body.form === "json") return { type, body: JSON.stringify(given) };
  if (!isTree(given)) throw invalid("The argument body has to be an object: its fields are written one by one.");
  if (body.form === "multipart") return multipartOf(given, body.files);
  const pairs = Object.entries(given).flatMap(([name, value]) =>
    inQuery({ name, style: "form", explode: true, allowReserved: false }, value),
  );
  return { type, body: pairs.join("&") };
}

/** The first way that can be gone with the secrets there are. */
function identify({ security }: Operation, { document, secrets }: Sender, parts: Parts): void {
  const schemes = tree(tree(document.components).securitySchemes);
  const lacks: string[] = [];
  // Who need not say who asks says it all the same, if he can.
  for (const way of security.toSorted((a, b) => Number(a.length === 0) - Number(b.length === 0))) {
    const filled = way.map((name) =>
      fillOf(name, resolved(document, schemes[name]), { secrets, alone: way.length === 1 }),
    );
    const lacking = filled.filter((each) => typeof each === "string");
    if (lacking.length > 0) {
      lacks.push(...lacking);
      continue;
    }
    for (const fill of filled) if (typeof fill !== "string") fill.into(parts);
    return;
  }
  // Who may call without saying who asks is the interface's to say.
  if (secrets.length > 0 && security.length > 0)
    throw invalid(`No way to say who asks can be gone: ${lacks.join("; ")}.`);
}

type Fill = { readonly into: (parts: Parts) => void };

/** A scheme takes the secret of its own name, or the only one there is. */
function fillOf(
  name: string,
  scheme: Tree,
  { secrets, alone }: { readonly secrets: readonly string[]; readonly alone: boolean },
): Fill | string {
  const secret = secrets.includes(name) ? name : alone && secrets.length === 1 ? secrets[0] : undefined;
  if (secret === undefined) return `no secret is called ${name}`;
  const placeholder = placeholderOf(secret);
  const header = (field: string, value: string): Fill => ({
    into: ({ headers }) => void (headers[field.toLowerCase()] = value),
  });
  const type = text(scheme.type);
  if (type === "apiKey" && scheme.in === "header") return header(text(scheme.name), placeholder);
  if (type === "apiKey" && scheme.in === "cookie")
    return { into: ({ cookies }) => void cookies.push(`${text(scheme.name)}=${placeholder}`) };
  if (type === "http" && text(scheme.scheme).toLowerCase() === "basic")
    return header("authorization", `Basic ${Buffer.from(placeholder).toString("base64")}`);
  if (type === "http" || type === "oauth2" || type === "openIdConnect")
    return header(
      "authorization",
      `${type === "http" && text(scheme.scheme).toLowerCase() !== "bearer" ? text(scheme.scheme) : "Bearer"} ${placeholder}`,
    );
  if (type !== "apiKey")
    return `the document does not say what ${name} is, or it is nothing that is sent (${type || "no type"})`;
  return `${name} goes into the address, where a secret would be written down by everybody on the way`;
}
