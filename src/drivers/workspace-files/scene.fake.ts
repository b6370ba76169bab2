// A workspace in a folder of its own, for the tests of this driver: without a disk image, so that anybody can run them.
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { openRoot, ownerOf, removeAt, using } from "./beneath.ts";
import { Objects } from "./objects.ts";
import { type Record, readRecord, writeRecord } from "./record.ts";
import { restore } from "./restore.ts";
import { scan } from "./scan.ts";
import { boundsOf, Shelf } from "./shelf.ts";
import { EMPTY_TEXT } from "./tree.ts";

const made: string[] = [];
afterAll(() => {
  for (const folder of made) using(openRoot(tmpdir()), (root) => removeAt(root, folder.slice(tmpdir().length + 1)));
});

/** Removed after the tests of the file, however deep it has become. */
export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(join(tmpdir(), "reeve-workspace-"));
  made.push(folder);
  return folder;
}

export const DISK_BYTES = 8 * 1024 * 1024;

export type Scene = {
  readonly shelf: Shelf;
  /** The live folder, and the one that it began as a copy of. */
  readonly live: string;
  readonly source: string;
  readonly folder: string;
  /** As after a restart. */
  readonly again: () => Shelf;
  readonly record: () => Record;
};

/** `begin` fills the folder that the workspace begins as a copy of. */
export function shelfOf(begin: (source: string) => void = () => {}, diskBytes = DISK_BYTES): Scene {
  const folder = temporaryFolder();
  const [source, live] = [join(folder, "source"), join(folder, "ws")];
  fs.mkdirSync(source);
  fs.mkdirSync(live, { mode: 0o700 });
  begin(source);
  const objects = new Objects(join(folder, "objects"));
  const empty = objects.put(EMPTY_TEXT);
  const kept = using(openRoot(source), (root) => scan(root, { objects, bounds: boundsOf(diskBytes), sealed: true }));
  using(openRoot(live), (root) => restore(root, { now: empty, to: kept.tree }, { objects, owner: ownerOf(root) }));
  writeRecord(folder, {
    version: 1,
    from: source,
    diskBytes,
    uid: null,
    quota: "none",
    base: kept.tree,
    leftOut: kept.leftOut,
  });
  const record = (): Record => {
    const found = readRecord(folder);
    if (found === undefined) throw new Error("there is no record");
    return found;
  };
  const again = (): Shelf => new Shelf(folder, record());
  return { shelf: again(), live, source, folder, again, record };
}

/** Everything below a folder: kinds, permissions and contents, by path. Bytes of names as latin1. */
export function picture(folder: string): { readonly [path: string]: string } {
  const found: { [path: string]: string } = {};
  const visit = (at: Buffer, path: string): void => {
    for (const name of fs.readdirSync(at, { encoding: "buffer" })) {
      const place = Buffer.concat([at, Buffer.from("/"), name]);
      const key = path + name.toString("latin1");
      const stats = fs.lstatSync(place);
      const mode = (stats.mode & 0o7777).toString(8);
      if (stats.isSymbolicLink()) found[key] = `link ${fs.readlinkSync(place, { encoding: "latin1" })}`;
      else if (stats.isDirectory()) {
        found[key] = `folder ${mode}`;
        visit(place, `${key}/`);
      } else if (stats.isFile()) found[key] = `file ${mode} ${fs.readFileSync(place).toString("base64")}`;
      else found[key] = "other";
    }
  };
  visit(Buffer.from(folder), "");
  return found;
}
