// How values stand in addresses, headers and cookies: the styles of OpenAPI.
import type { Json, JsonObject } from "../../abi/json.ts";
import { invalid } from "./tree.ts";

export type Style = "simple" | "label" | "matrix" | "form" | "spaceDelimited" | "pipeDelimited" | "deepObject";
export type Written = {
  readonly name: string;
  readonly style: Style;
  readonly explode: boolean;
  readonly allowReserved: boolean;
};

/** Everything but what RFC 3986 calls unreserved. */
const encoded = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
/** Reserved signs stay, but for those that would begin another part of the query. */
const reserved = (text: string): string => encodeURI(text).replaceAll(/[#&]/g, (sign) => encodeURIComponent(sign));

const word = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));
const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

type Write = (text: string) => string;

/** Name and value after name and value, or each pair with `=`. */
const pairs = (value: JsonObject, explode: boolean, write: Write): string[] =>
  Object.entries(value).flatMap(([key, inner]) =>
    explode ? [`${write(key)}=${write(word(inner))}`] : [write(key), write(word(inner))],
  );

/** A value in a path. Throws for one that would make it another path. */
export function inPath({ name, style, explode }: Written, value: Json): string {
  const items = isList(value)
    ? value.map((item) => encoded(word(item)))
    : isObject(value)
      ? pairs(value, explode, encoded)
      : [encoded(word(value))];
  const compound = isList(value) || isObject(value);
  const written =
    style === "matrix"
      ? matrix(name, items, { explode: explode && compound, object: isObject(value) })
      : style === "label"
        ? `.${items.join(explode ? "." : ",")}`
        : items.join(",");
  if (written === "" || written === "." || written === "..")
    throw invalid(
      `The argument ${name} stands in the address and may not be ${JSON.stringify(value)}: that would be another address.`,
    );
  return written;
}

function matrix(
  name: string,
  items: readonly string[],
  { explode, object }: { explode: boolean; object: boolean },
): string {
  if (!explode) return `;${name}=${items.join(",")}`;
  return items.map((item) => (object ? `;${item}` : `;${name}=${item}`)).join("");
}

const SEPARATORS: Partial<Record<Style, string>> = { spaceDelimited: "%20", pipeDelimited: "%7C" };

/** A value in a query: pairs that are put together by `&`. */
export function inQuery({ name, style, explode, allowReserved }: Written, value: Json): string[] {
  const write = allowReserved ? reserved : encoded;
  const own = encoded(name);
  if (isObject(value) && style === "deepObject") return deep(own, value);
  if (isObject(value)) return explode ? pairs(value, true, write) : [`${own}=${pairs(value, false, write).join(",")}`];
  if (!isList(value)) return [`${own}=${write(word(value))}`];
  const items = value.map((item) => write(word(item)));
  if (explode && style === "form") return items.map((item) => `${own}=${item}`);
  return [`${own}=${items.join(SEPARATORS[style] ?? ",")}`];
}

function deep(name: string, value: JsonObject): string[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const own = `${name}%5B${encoded(key)}%5D`;
    if (isObject(inner)) return deep(own, inner);
    return isList(inner) ? inner.map((item) => `${own}=${encoded(word(item))}`) : [`${own}=${encoded(word(inner))}`];
  });
}

/** A value in a header. */
export function inHeader({ name, explode }: Written, value: Json): string {
  const plain: Write = (text) => text;
  const written = isList(value)
    ? value.map(word).join(",")
    : isObject(value)
      ? pairs(value, explode, plain).join(",")
      : word(value);
  if (!/^[\t\u0020-\u007e]*$/.test(written)) throw invalid(`The argument ${name} holds what no header can.`);
  return written;
}

/** A value in a cookie, as `name=value`. */
export const inCookie = (written: Written, value: Json): string =>
  inQuery({ ...written, explode: false, style: "form" }, value).join("; ");
