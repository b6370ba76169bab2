// Goal: a workspace of a hundred thousand files is kept, and put back, within its bounds.
// Method: a hundred folders of a thousand files; what is told is bounded, what is done is not.
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WORKSPACE_CHANGES_MAX } from "../../abi/limits.ts";
import { shelfOf } from "./scene.fake.ts";

const FOLDERS = 100;
const EACH = 1000;

test("a hundred thousand files are kept and put back", () => {
  const { shelf, live } = shelfOf();
  for (let folder = 0; folder < FOLDERS; folder += 1) {
    fs.mkdirSync(join(live, `f${folder}`));
    for (let file = 0; file < EACH; file += 1) fs.writeFileSync(join(live, `f${folder}/${file}`), `${file}`);
  }
  expect(shelf.snapshot(0)).toBe(true);
  const { changes, more } = shelf.rollback(null);
  expect(fs.readdirSync(live)).toEqual([]);
  expect(changes).toHaveLength(WORKSPACE_CHANGES_MAX);
  expect(changes.length + more).toBe(FOLDERS * EACH);
  shelf.rollback(0);
  expect(fs.readdirSync(join(live, "f99"))).toHaveLength(EACH);
  expect(fs.readFileSync(join(live, "f42/17"), "utf8")).toBe("17");
});
