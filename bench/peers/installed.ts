// Which version of a package is installed here. Read from its folder, since not every package exports its package.json.
import { readFileSync } from "node:fs";

export function installedVersion(name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
