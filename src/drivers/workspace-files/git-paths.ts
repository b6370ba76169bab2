// Paths that mean something to git, which people run on the folder that a workspace is written back to.
import type { Name } from "./beneath.ts";

/** Whether it is git's own folder, or in one: git takes no patch of that. */
export const isOfGit = (path: Name): boolean => path.split("/").some((name) => name.toLowerCase() === ".git");

/**
 * Whether what stands there makes git run programs, with the rights of whoever types a git command: a hook, settings, or what says where
 * git's folder is (a file of that name).
 */
export function makesGitRun(path: Name, kind: "file" | "folder" | "link"): boolean {
  const names = path.toLowerCase().split("/");
  const at = names.indexOf(".git");
  if (at === -1) return false;
  const inside = names.slice(at + 1);
  if (inside.length === 0) return kind !== "folder";
  if (kind === "folder") return false;
  return inside.includes("hooks") || inside.some((name) => name === "config" || name === "config.worktree");
}
