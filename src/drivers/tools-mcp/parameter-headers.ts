// Parameters that a server wants to see in headers as well: what revision 2026-07-28 asks of a tool that names some (`x-mcp-header`), for
// a tool that breaks it may not be offered over HTTP. The library sends the headers; of listings it checks its own alone.
import { plain } from "./faults.ts";

const MARK = "x-mcp-header";
/** As RFC 9110 (5.6.2) has the name of a header. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: readonly unknown[] = ["string", "integer", "boolean"];
/** Keywords whose value holds schemas by name. Other objects and arrays are gone through as if all of them were schemas. */
const BY_NAME = new Set(["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"]);
/** What stands here is data, whatever it looks like. */
const DATA = new Set(["const", "default", "enum", "examples"]);

type Node = {
  readonly schema: unknown;
  readonly path: string;
  readonly isParameter: boolean;
  readonly isReachable: boolean;
};

/** Why a tool may not be offered over HTTP, in words that begin with the place in its schema; undefined if it may. */
export function headerFault(inputSchema: unknown): string | undefined {
  const names = new Set<string>();
  const left: Node[] = [{ schema: inputSchema, path: "", isParameter: false, isReachable: true }];
  for (let node = left.pop(); node !== undefined; node = left.pop()) {
    const { schema, path } = node;
    if (typeof schema !== "object" || schema === null) continue;
    const fault = Object.hasOwn(schema, MARK) ? faultOf(node, schema as Record<string, unknown>, names) : undefined;
    if (fault !== undefined) return `${plain(path, 200) || "the whole"}: ${MARK} ${fault}`;
    left.push(...insideOf(node, schema));
  }
  return undefined;
}

function faultOf(
  { isParameter, isReachable }: Node,
  schema: Readonly<Record<string, unknown>>,
  names: Set<string>,
): string | undefined {
  const name = schema[MARK];
  if (typeof name !== "string" || !TOKEN.test(name))
    return `is no name of a header: ${plain(JSON.stringify(name), 100)}`;
  if (!isParameter || !isReachable) return "stands where not only `properties` lead to";
  if (!TYPES.includes(schema["type"])) return "stands at what is no string, integer or boolean";
  if (names.has(name.toLowerCase())) return `names "${plain(name, 100)}" a second time`;
  names.add(name.toLowerCase());
  return undefined;
}

function insideOf({ path, isReachable }: Node, schema: object): Node[] {
  return Object.entries(schema).flatMap(([keyword, value]): Node[] => {
    if (DATA.has(keyword) || typeof value !== "object" || value === null) return [];
    const isProperties = keyword === "properties";
    const inside = { isParameter: isProperties, isReachable: isReachable && isProperties };
    if (!BY_NAME.has(keyword) && !Array.isArray(value))
      return [{ schema: value as unknown, path: `${path}/${keyword}`, ...inside }];
    return Object.entries(value as object).map(([key, each]): Node => ({
      schema: each,
      path: `${path}/${keyword}/${key}`,
      ...inside,
    }));
  });
}
