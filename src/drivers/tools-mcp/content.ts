// From what an MCP server answers to a call to what a model is told.
import type { CallToolResult, ContentBlock } from "@modelcontextprotocol/client";
import type { JsonObject } from "../../abi/json.ts";
import type { ToolContent } from "../../abi/tools.ts";
import type { ToolOutcome } from "../../ports/tools.ts";
import { plain } from "./faults.ts";

const base64Bytes = (text: string): number => Math.floor((text.replace(/=+$/, "").length * 3) / 4);
const textBytes = (text: string): number => Buffer.byteLength(text, "utf8");

/** `[kind type, size]`: what cannot be told in words is named. */
const named = (kind: string, ...facts: readonly (string | undefined)[]): string =>
  `[${[kind, ...facts]
    .filter((fact) => fact !== undefined)
    .map((fact) => plain(fact, 200))
    .join(" ")}]`;

function lineOf(block: ContentBlock): string {
  switch (block.type) {
    case "text":
      return block.text;
    case "image":
    case "audio":
      return named(block.type, `${block.mimeType},`, `${base64Bytes(block.data)} bytes`);
    case "resource_link":
      return named(
        "resource link",
        block.uri,
        block.mimeType,
        block.size === undefined ? undefined : `${block.size} bytes`,
      );
    case "resource": {
      const { resource } = block;
      const isText = "text" in resource;
      const bytes = isText ? textBytes(resource.text) : base64Bytes(resource.blob);
      const head = named("resource", resource.uri, resource.mimeType, `${bytes} bytes`);
      return isText ? `${head}\n${resource.text}` : head;
    }
  }
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Texts stand byte for byte, one part a line. A result of data alone is told as JSON. */
function contentOf({ content, structuredContent: data }: CallToolResult): ToolContent {
  const text = content.length === 0 && data !== undefined ? JSON.stringify(data) : content.map(lineOf).join("\n");
  return isObject(data) ? { text, data } : { text };
}

export function outcomeOf(result: CallToolResult): ToolOutcome {
  return { kind: result.isError === true ? "failed" : "done", content: contentOf(result) };
}
