// Paths that mean something to git, which people run on the folder that a workspace is written back to.
import type { Name } from "./beneath.ts";

/** Whether it is git's own folder, or in one: git takes no patch of that. */
export const isOfGit = (path: Name): boolean => path.split("/").some((name) => name.toLowerCase() === ".git");

/** Settings; where others are to be read in place of them; and the rest of a rebase, which may hold commands. */
const RUN_BY_GIT: ReadonlySet<string> = new Set(["config", "config.worktree", "commondir", "git-rebase-todo"]);

/**
 * Whether what stands there makes git run programs, with the rights of whoever types a git command: a hook, settings, or what says where
 * these are (a file in place of git's folder, or within it).
 */
export function makesGitRun(path: Name, kind: "file" | "folder" | "link"): boolean {
  const names = path.toLowerCase().split("/");
  const at = names.indexOf(".git");
  if (at === -1) return false;
  const inside = names.slice(at + 1);
  if (inside.length === 0) return kind !== "folder";
  if (kind === "folder") return false;
  return inside.includes("hooks") || inside.some((name) => RUN_BY_GIT.has(name));
}
