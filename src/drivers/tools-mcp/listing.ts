// What a server says of its tools, read page by page within bounds.
import type { Client, Tool } from "@modelcontextprotocol/client";
import type { JsonObject } from "../../abi/json.ts";
import type { ToolManifest } from "../../abi/tools.ts";
import type { SourceTool } from "../../ports/tools.ts";
import { LISTING_LENGTH_MAX, PAGES_MAX, TOOLS_MAX } from "./bounds.ts";
import { plain } from "./faults.ts";

/** By the specification's own reading: a tool that does not say otherwise may destroy. */
function declaredBy(annotations: Tool["annotations"]): Partial<ToolManifest> {
  if (annotations === undefined) return {};
  const { readOnlyHint, destructiveHint, idempotentHint } = annotations;
  const changing = destructiveHint === false ? "write" : "destroy";
  return {
    effect: readOnlyHint === true ? "read" : changing,
    ...(idempotentHint === true ? { idempotency: "natural" } : {}),
  };
}

export function sourceToolOf(tool: Tool, trustAnnotations: boolean): SourceTool {
  return {
    name: tool.name,
    description: tool.description ?? tool.title ?? "",
    // It came as JSON, and the library has checked that it is an object.
    inputSchema: tool.inputSchema as JsonObject,
    declared: trustAnnotations ? declaredBy(tool.annotations) : {},
    annotations: (tool.annotations ?? {}) as JsonObject,
  };
}

/** All tools of the server, in its order. Rejects if there are too many, if they are too long, or if two have one name. */
export async function fetchTools(
  client: Client,
  options: { readonly signal: AbortSignal; readonly timeout: number },
): Promise<readonly Tool[]> {
  if (client.getServerCapabilities()?.tools === undefined) return [];
  const tools = new Map<string, Tool>();
  let length = 0;
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const listed = await client.request(
      { method: "tools/list", params: cursor === undefined ? {} : { cursor } },
      options,
    );
    for (const tool of listed.tools) {
      if (tools.has(tool.name)) throw new Error(`it lists the tool "${plain(tool.name, 128)}" twice`);
      tools.set(tool.name, tool);
      length += JSON.stringify(tool).length;
      if (tools.size > TOOLS_MAX) throw new Error(`it lists more than ${TOOLS_MAX} tools`);
      if (length > LISTING_LENGTH_MAX)
        throw new Error(`its tools are described in more than ${LISTING_LENGTH_MAX} characters`);
    }
    cursor = listed.nextCursor;
    if (cursor === undefined || cursor === "") return [...tools.values()];
  }
  throw new Error(`its list of tools does not end within ${PAGES_MAX} pages`);
}
