// Goal: a name's id lasts, is nobody else's, and is not lost by a crash, a full disk or a bad file. Method: a small range and a real file.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { lastingUserOf } from "./lasting-users.ts";

const folder = mkdtempSync(join(tmpdir(), "reeve-users-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let made = 0;
const fresh = (range = { from: 5000, to: 5003 }) => ({ file: join(folder, String((made += 1)), "users.json"), range });
const codeOf = (code: string): unknown => expect.objectContaining({ code });

test("a name has the same id each time, and another name another one, to the range's end", () => {
  const options = fresh();
  const names = ["a", "b", "c", "d"];
  const ids = names.map((name) => lastingUserOf(name, options));
  expect(new Set(ids)).toEqual(new Set([5000, 5001, 5002, 5003]));
  expect(names.map((name) => lastingUserOf(name, options))).toEqual(ids);
  expect(() => lastingUserOf("e", options)).toThrow(codeOf("limit_exceeded"));
  expect(lastingUserOf("a", options)).toBe(ids[0]);
});

test("names that the language has a meaning for are names", () => {
  const options = fresh();
  const ids = ["constructor", "toString", ""].map((name) => lastingUserOf(name, options));
  expect(new Set(ids).size).toBe(3);
  expect(lastingUserOf("constructor", options)).toBe(ids[0]);
});

test("a changed range gives another id, the old one is nobody's, and is found again when the range is changed back", () => {
  const { file } = fresh();
  const old = { file, range: { from: 5000, to: 5001 } };
  const before = lastingUserOf("a", old);
  const after = lastingUserOf("a", { file, range: { from: 6000, to: 6001 } });
  expect(after).toBeGreaterThanOrEqual(6000);
  expect(lastingUserOf("b", old)).not.toBe(before);
  expect(() => lastingUserOf("c", old)).toThrow(codeOf("limit_exceeded"));
  expect(lastingUserOf("a", old)).toBe(before);
});

test("a range without ids gives none, and says so", () => {
  expect(() => lastingUserOf("a", fresh({ from: 5000, to: 4999 }))).toThrow(codeOf("limit_exceeded"));
});

test.each([
  ["half a file", '{"version":1,"users":{"a":[50'],
  ["an empty file", ""],
  ["a later version", '{"version":2,"users":{"a":[5000]}}'],
  ["what is no id", '{"version":1,"users":{"a":["5000"]}}'],
  ["one id for two names", '{"version":1,"users":{"a":[5000],"b":[5000]}}'],
])("nothing is given on %s, and it stays as it is", (_, text) => {
  const options = fresh();
  mkdirSync(join(options.file, ".."));
  writeFileSync(options.file, text);
  for (const name of ["a", "c"]) expect(() => lastingUserOf(name, options)).toThrow(codeOf("store_failed"));
  expect(readFileSync(options.file, "utf8")).toBe(text);
});

test("what a crash has left beside the file is written over", () => {
  const options = fresh();
  const first = lastingUserOf("a", options);
  writeFileSync(`${options.file}.new`, '{"version":1,"users":{}}');
  expect(lastingUserOf("b", options)).not.toBe(first);
  expect(lastingUserOf("a", options)).toBe(first);
  expect(existsSync(`${options.file}.new`)).toBe(false);
});

test("an id that cannot be written down is not given", () => {
  const options = fresh();
  const first = lastingUserOf("a", options);
  // A folder in the way stands for a disk that does not take it.
  mkdirSync(`${options.file}.new`);
  expect(() => lastingUserOf("b", options)).toThrow(codeOf("store_failed"));
  expect(lastingUserOf("a", options)).toBe(first);
  rmSync(`${options.file}.new`, { recursive: true });
  chmodSync(options.file, 0o600);
  expect(lastingUserOf("b", options)).not.toBe(first);
});
