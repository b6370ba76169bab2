// A body of several parts (multipart/form-data): each field is one, each item of a list one of its own.
//
// Invariants:
//   P1. No value ends its part: what stands between them is made of their own digest.
import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../../abi/json.ts";

type Part = { readonly name: string; readonly content: string; readonly isFile: boolean; readonly type: string };

const word = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));
/** As browsers write them. */
const quoted = (name: string): string =>
  name.replaceAll(/["\r\n]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);

/** `files`: names of the fields that the document calls files. */
export function multipartOf(fields: JsonObject, files: readonly string[]): { type: string; body: string } {
  const parts = Object.entries(fields).flatMap(([name, value]) =>
    (Array.isArray(value) ? (value as Json[]) : [value]).map((item) => partOf(name, item, files.includes(name))),
  );
  const boundary = `part-${createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 40)}`;
  const written = parts.map(({ name, content, isFile, type }) => {
    const file = isFile ? `; filename="${quoted(name)}"` : "";
    const kind = type === "" ? "" : `content-type: ${type}\r\n`;
    return `--${boundary}\r\ncontent-disposition: form-data; name="${quoted(name)}"${file}\r\n${kind}\r\n${content}\r\n`;
  });
  return { type: `multipart/form-data; boundary=${boundary}`, body: `${written.join("")}--${boundary}--\r\n` };
}

function partOf(name: string, value: Json, isFile: boolean): Part {
  const isData = typeof value === "object" && value !== null;
  const type = isFile ? "application/octet-stream" : isData ? "application/json" : "";
  return { name, content: word(value), isFile, type };
}
