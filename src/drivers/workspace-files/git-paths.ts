// Paths that mean something to git, which people run on the folder that a workspace is written back to.
import type { Name } from "./beneath.ts";
import type { Difference } from "./tree.ts";

/** Whether it is git's own folder, or in one: git takes no patch of that. */
export const isOfGit = (path: Name): boolean => path.split("/").some((name) => name.toLowerCase() === ".git");

/** Settings; where others are to be read in place of them; and the rest of a rebase, which may hold commands. */
const RUN_BY_GIT: ReadonlySet<string> = new Set(["config", "config.worktree", "commondir", "git-rebase-todo"]);

/**
 * Whether what stands there makes git run programs, with the rights of whoever types a git command: a hook, settings, or what says where
 * these are (a file in place of git's folder, or within it).
 */
function makesGitRun(path: Name, kind: "file" | "folder" | "link"): boolean {
  const names = path.toLowerCase().split("/");
  const at = names.indexOf(".git");
  if (at === -1) return false;
  const inside = names.slice(at + 1);
  if (inside.length === 0) return kind !== "folder";
  if (kind === "folder") return false;
  return inside.includes("hooks") || inside.some((name) => RUN_BY_GIT.has(name));
}

/** Git takes for its own, whatever it is called, a folder with these in it. */
const MARKS = ["HEAD", "objects", "refs"] as const;

/**
 * Of these changes, those that make git run programs: by their path, or because they lie in a folder that is git's by what is in it.
 * One that becomes such a folder is refused by what makes it one, since settings may lie there already.
 */
export function runByGit(work: readonly Difference[], stands: (path: Name) => boolean): Name[] {
  const written = new Map(work.map(({ path, after }) => [path, after !== undefined]));
  const found = new Map<Name, { readonly was: boolean; readonly is: boolean }>();
  const look = (above: Name): { readonly was: boolean; readonly is: boolean } => {
    const known = found.get(above);
    if (known !== undefined) return known;
    const marks = MARKS.map((mark) => above + mark);
    const was = marks.every(stands);
    const is = marks.every((mark) => written.get(mark) ?? stands(mark));
    found.set(above, { was, is });
    return { was, is };
  };
  const isBad = ({ path, after }: Difference): boolean => {
    if (after === undefined) return false;
    if (makesGitRun(path, after.kind)) return true;
    if (isOfGit(path)) return false;
    const names = path.split("/");
    return names.some((name, at) => {
      const makesIt = (MARKS as readonly string[]).includes(name);
      const isRun = (name.toLowerCase() === "hooks" && at < names.length - 1) || RUN_BY_GIT.has(name.toLowerCase());
      if (!makesIt && !isRun) return false;
      const { was, is } = look(
        names
          .slice(0, at)
          .map((above) => `${above}/`)
          .join(""),
      );
      return is && (isRun || !was);
    });
  };
  return work.filter(isBad).map(({ path }) => path);
}
