// The files of the repository, as the tidy checks get them: those that are committed, and those that would be.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { SourceFile } from "./source.ts";

const NEVER_COMMITTED = ["node_modules", "dist", "coverage", ".git", ".reeve"];
/** Larger files are data. Bytes. */
const FILE_BYTES_MAX = 2 * 1024 * 1024;

export function readTree(root: string): readonly SourceFile[] {
  return listFiles(root).flatMap((path) => {
    const file = join(root, path);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isFile() !== true || stats.size > FILE_BYTES_MAX) return [];
    const text = readFileSync(file, "utf8");
    return text.includes("\0") ? [] : [{ path, text }];
  });
}

/** By git, which knows what is ignored; by walking the folders where there is no git, as in an unpacked archive. */
function listFiles(root: string): readonly string[] {
  const walked = () => [...walkFolder(root, "")].sort();
  try {
    const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      maxBuffer: 64 * 1024 * 1024,
    });
    const paths = listed.split("\0").filter((path) => path !== "");
    return paths.length > 0 ? paths : walked();
  } catch {
    // No git, no repository, or one that belongs to another user: the walk sees the same files, or a few more.
    return walked();
  }
}

function* walkFolder(root: string, folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    if (NEVER_COMMITTED.includes(entry.name) || entry.name.endsWith(".log")) continue;
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* walkFolder(root, path);
    else if (entry.isFile()) yield path;
  }
}
