// The files by which a server is found: private, whole, and never believed when their writer is gone.
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readServer, removeServer, tokenOf, writeServer } from "./server-file.ts";

/** Above the highest that Linux gives. */
const NOBODYS_PID = 2 ** 22 + 1;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-server-file-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("a folder keeps its token, which only its owner can read", () => {
  const token = tokenOf(folder);
  expect(token).toMatch(/^[\w-]{32}$/);
  expect(tokenOf(folder)).toBe(token);
  expect(statSync(join(folder, "token")).mode & 0o777).toBe(0o600);
});

test("a token that a power cut emptied is made anew", () => {
  const token = tokenOf(folder);
  truncateSync(join(folder, "token"));
  const again = tokenOf(folder);
  expect(again).toMatch(/^[\w-]{32}$/);
  expect(again).not.toBe(token);
});

test("a server is found while its process lives, and not after", () => {
  const address = { url: "http://127.0.0.1:1", token: "t", pid: process.pid };
  writeServer(folder, address);
  expect(readServer(folder)).toEqual(address);
  writeServer(folder, { ...address, pid: NOBODYS_PID });
  expect(readServer(folder)).toBeUndefined();
  writeServer(folder, address);
  removeServer(folder);
  expect(readServer(folder)).toBeUndefined();
});

test("half a file is nobody's address", () => {
  writeFileSync(join(folder, "server.json"), '{"url":"http://127');
  expect(readServer(folder)).toBeUndefined();
});
