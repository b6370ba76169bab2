// Differences as one patch in the form of git: all of them, so that `git apply` makes of what was before what is after, or nothing.
//
// What git does not know is not in it: empty folders, and of permissions all but whether a file can be run.
import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";
import { createTwoFilesPatch } from "diff";
import { OsError } from "../../abi/errors.ts";
import { WORKSPACE_DIFF_BYTES_MAX, WORKSPACE_PATCH_CHARACTERS_MAX } from "../../abi/limits.ts";
import type { Name } from "./beneath.ts";
import { isExecutable } from "./commit.ts";
import type { Objects } from "./objects.ts";
import type { Difference, Entry } from "./tree.ts";

/** Lines that differ, beyond which no shortest difference is sought. */
const EDITS_MAX = 4_000;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Rejects with `limit_exceeded` where it would be too long. */
export function patchOf(all: readonly Difference[], objects: Objects): string {
  const parts: string[] = [];
  let left = WORKSPACE_PATCH_CHARACTERS_MAX;
  for (const one of all) {
    // What no patch of that length can hold is not read.
    if (bytesOf(one.before) + bytesOf(one.after) > WORKSPACE_PATCH_CHARACTERS_MAX) throw tooLong();
    const part = partOf(one, objects);
    left -= part.length;
    if (left < 0) throw tooLong();
    parts.push(part);
  }
  return parts.join("");
}

const bytesOf = (entry: Entry | undefined): number => (entry?.kind === "file" ? entry.size : 0);

const tooLong = (): OsError =>
  new OsError(
    "limit_exceeded",
    `What differs is too much for one patch of ${WORKSPACE_PATCH_CHARACTERS_MAX} characters. \`reeve diff --stat\` lists it, \`reeve commit\` writes it back.`,
    { data: { limit: "patch_characters", max: WORKSPACE_PATCH_CHARACTERS_MAX } },
  );

/** What git keeps: files and links, each with its kind as git has it. */
type Blob = { readonly mode: "100644" | "100755" | "120000"; readonly bytes: Buffer };

function blobOf(entry: Entry | undefined, objects: Objects): Blob | undefined {
  if (entry === undefined || entry.kind === "folder") return undefined;
  if (entry.kind === "link") return { mode: "120000", bytes: Buffer.from(entry.target, "latin1") };
  return { mode: modeOf(entry.mode), bytes: objects.read(entry.hash) };
}

const modeOf = (mode: number): "100644" | "100755" => (isExecutable(mode) ? "100755" : "100644");

function partOf({ path, before, after }: Difference, objects: Objects): string {
  const [from, to] = [blobOf(before, objects), blobOf(after, objects)];
  // What becomes another kind of thing goes, and comes anew.
  if (from !== undefined && to !== undefined && (from.mode === "120000") !== (to.mode === "120000"))
    return blobPatch(path, from, undefined) + blobPatch(path, undefined, to);
  return blobPatch(path, from, to);
}

function blobPatch(path: Name, from: Blob | undefined, to: Blob | undefined): string {
  const same = from !== undefined && to !== undefined && from.bytes.equals(to.bytes);
  if ((from === undefined && to === undefined) || (same && from.mode === to.mode)) return "";
  const [one, other] = [quoted(`a/${path}`), quoted(`b/${path}`)];
  const head = [`diff --git ${one} ${other}`];
  if (from === undefined) head.push(`new file mode ${to?.mode ?? ""}`);
  else if (to === undefined) head.push(`deleted file mode ${from.mode}`);
  else if (from.mode !== to.mode) head.push(`old mode ${from.mode}`, `new mode ${to.mode}`);
  head.push(`index ${idOf(from)}..${idOf(to)}`);
  if (same) return `${head.slice(0, -1).join("\n")}\n`;
  const names = { from: from === undefined ? "/dev/null" : one, to: to === undefined ? "/dev/null" : other };
  return `${head.join("\n")}\n${hunksOf(from?.bytes ?? NOTHING, to?.bytes ?? NOTHING, names)}`;
}

const NOTHING = Buffer.alloc(0);

/** The name by which git knows the content. */
const idOf = (blob: Blob | undefined): string =>
  blob === undefined
    ? "0".repeat(40)
    : createHash("sha1").update(`blob ${blob.bytes.length}\0`).update(blob.bytes).digest("hex");

function hunksOf(from: Buffer, to: Buffer, names: { readonly from: string; readonly to: string }): string {
  if (from.length + to.length === 0) return "";
  const texts = [textOf(from), textOf(to)];
  const [a, b] = texts;
  const patch =
    a === undefined || b === undefined
      ? undefined
      : createTwoFilesPatch("a", "b", a, b, undefined, undefined, { context: 3, maxEditLength: EDITS_MAX });
  const first = patch?.indexOf("@@") ?? -1;
  if (patch === undefined || first === -1) return `GIT binary patch\n${literal(to)}\n${literal(from)}\n`;
  return `--- ${names.from}\n+++ ${names.to}\n${patch.slice(first)}`;
}

function textOf(bytes: Buffer): string | undefined {
  if (bytes.length > WORKSPACE_DIFF_BYTES_MAX || bytes.includes(0)) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    // Not UTF-8: its bytes are told.
    return undefined;
  }
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
const LINE_BYTES = 52;

/** The whole content as git writes it: deflated, in lines of base 85, each with its length before it. */
function literal(bytes: Buffer): string {
  const packed = deflateSync(bytes);
  const lines = [`literal ${bytes.length}`];
  for (let at = 0; at < packed.length; at += LINE_BYTES) {
    const line = packed.subarray(at, at + LINE_BYTES);
    const length = String.fromCharCode(line.length <= 26 ? 64 + line.length : 70 + line.length);
    lines.push(length + base85(line));
  }
  return `${lines.join("\n")}\n`;
}

function base85(bytes: Buffer): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const four = Buffer.alloc(4);
    bytes.copy(four, 0, at, at + 4);
    let value = four.readUInt32BE();
    let five = "";
    for (let digit = 0; digit < 5; digit += 1) {
      five = (DIGITS[value % 85] ?? "") + five;
      value = Math.floor(value / 85);
    }
    text += five;
  }
  return text;
}

const ESCAPES: { readonly [char: string]: string } = { "\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\" };

/** A name as git writes it: as it is, or between quotes with all that is not plain ASCII as octal bytes. */
function quoted(name: Name): string {
  if (/^[ !#-[\]-~]*$/.test(name)) return name;
  const inner = name.replaceAll(
    /[^ !#-[\]-~]/g,
    (char) => ESCAPES[char] ?? `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
  return `"${inner}"`;
}
