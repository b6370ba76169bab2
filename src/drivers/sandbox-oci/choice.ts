// Which runtime of containers is used: the one that is asked for, or the first that works.
import { lstatSync } from "node:fs";
import { askEngine, findRuntime, isEngine, lackOfMachine, RUNTIMES, type RuntimeName } from "./host.ts";
import type { Runtime } from "./launch.ts";

export type Choice = { readonly wanted: RuntimeName | undefined; readonly image: string | undefined };

const INSTALL = "Install runc (Debian, Ubuntu, Fedora: the package `runc`).";

/** What may be tried, one after the other; why not, for each that may not, is added to `reasons`. */
export async function* chooseRuntime({ wanted, image }: Choice, reasons: string[]): AsyncGenerator<Runtime> {
  const lack = lackOfMachine() ?? lackOfImage(image);
  if (lack !== undefined) return void reasons.push(lack);
  for (const name of wanted === undefined ? RUNTIMES : [wanted]) {
    const found = isEngine(name)
      ? await lackOfEngine(name as "podman" | "docker")
      : await findRuntime(name as "runc" | "crun");
    if (typeof found === "string") reasons.push(found);
    else yield found;
  }
  if (wanted === undefined) reasons.push(INSTALL);
}

function lackOfImage(image: string | undefined): string | undefined {
  if (image === undefined) return undefined;
  const stats = lstatSync(image, { throwIfNoEntry: false });
  if (stats?.isDirectory() === true) return undefined;
  return `The image ${image} (sandbox.oci.image) is not a folder. Unpack one there, for example with \`docker export\` and tar.`;
}

async function lackOfEngine(name: "podman" | "docker"): Promise<string> {
  const engine = await askEngine(name);
  if (typeof engine === "string") return engine;
  return `${name} ${engine.version} has an engine, and Reeve starts containers by runc or crun alone`;
}
