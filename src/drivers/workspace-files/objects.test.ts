// Goal: what contents take on disk is told truly, also after some of them went, without looking at each of them again.
// Method: many small contents in a real folder; what is told is compared with what somebody counts who has just come.
import nodeFs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { Objects } from "./objects.ts";
import { temporaryFolder } from "./scene.fake.ts";
import { encodeTree, type Tree } from "./tree.ts";

test("small contents count for what they take, and what is swept counts no more", () => {
  const folder = join(temporaryFolder(), "objects");
  const objects = new Objects(folder);
  expect(objects.bytes).toBe(0);
  const hashes = Array.from({ length: 50 }, (_, at) => objects.put(`content ${at}`));
  expect(objects.bytes).toBeGreaterThanOrEqual(new Objects(folder).bytes);
  const kept = hashes.slice(0, 5);
  const tree: Tree = new Map(kept.map((hash, at) => [`${at}`, { kind: "file", mode: 0o644, size: 9, hash }]));
  objects.sweep([objects.put(encodeTree(tree))]);
  expect(objects.bytes).toBe(new Objects(folder).bytes);
  expect(hashes.filter((hash) => objects.has(hash))).toEqual(kept);

  const look = vi.spyOn(nodeFs, "existsSync");
  syncBuiltinESMExports();
  try {
    for (const hash of kept) objects.has(hash);
    expect(look).not.toHaveBeenCalled();
  } finally {
    vi.restoreAllMocks();
    syncBuiltinESMExports();
  }
});
