// Where links of a workspace may lead.
import type { Name } from "./beneath.ts";

/**
 * A link may lead up, at its beginning and no further than to the root, and then down. Anything else could lead out of the folder,
 * by itself or by way of another link.
 */
export function staysInside(path: Name, target: Name): boolean {
  if (target.startsWith("/")) return false;
  const depth = path.split("/").length - 1;
  const names = target.split("/").filter((name) => name !== "" && name !== ".");
  const ups = names.findIndex((name) => name !== "..");
  const up = ups === -1 ? names.length : ups;
  return up <= depth && !names.slice(up).includes("..");
}
