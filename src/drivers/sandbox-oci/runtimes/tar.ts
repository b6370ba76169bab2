// A root of folders and links as a tar archive (ustar), the same bytes for the same root whatever the time and the machine.
import type { RootPart } from "../contents/root.ts";

const BLOCK_BYTES = 512;
const MODE_OF_LINKS = 0o777;

/** What a header holds, at its place. */
const FIELDS = {
  name: 0,
  mode: 100,
  uid: 108,
  gid: 116,
  size: 124,
  mtime: 136,
  sum: 148,
  type: 156,
  link: 157,
  magic: 257,
};
const LENGTHS = { name: 100, number: 8, long: 12 };

export function tarOf(parts: readonly RootPart[]): Uint8Array {
  // Two empty blocks end it.
  return Buffer.concat([...parts.map(headerOf), Buffer.alloc(2 * BLOCK_BYTES)]);
}

function headerOf(part: RootPart): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const text = (at: number, value: string): void => void header.write(value, at, "utf8");
  const octal = (at: number, value: number, length: number): void =>
    text(at, `${value.toString(8).padStart(length - 1, "0")}\0`);
  const target = part.kind === "link" ? part.to : "";
  if ([part.path, target].some((path) => Buffer.byteLength(path) >= LENGTHS.name))
    throw new Error(`a path in a root is shorter than ${LENGTHS.name} bytes: ${part.path}`);
  text(FIELDS.name, part.kind === "folder" ? `${part.path}/` : part.path);
  octal(FIELDS.mode, part.kind === "folder" ? part.mode : MODE_OF_LINKS, LENGTHS.number);
  for (const at of [FIELDS.uid, FIELDS.gid]) octal(at, 0, LENGTHS.number);
  for (const at of [FIELDS.size, FIELDS.mtime]) octal(at, 0, LENGTHS.long);
  text(FIELDS.type, part.kind === "folder" ? "5" : "2");
  text(FIELDS.link, target);
  text(FIELDS.magic, "ustar\x0000");
  // The sum is taken with blanks in its own place.
  header.fill(" ", FIELDS.sum, FIELDS.sum + LENGTHS.number);
  const sum = header.reduce((total, byte) => total + byte, 0);
  text(FIELDS.sum, `${sum.toString(8).padStart(6, "0")}\0 `);
  return header;
}
