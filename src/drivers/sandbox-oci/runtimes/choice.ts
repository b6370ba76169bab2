// Which runtime of containers is used: the one that is asked for, or the first that works.
import { lstatSync } from "node:fs";
import { lackOfMachine } from "../host.ts";
import { findDocker } from "./docker.ts";
import { findPodman } from "./podman.ts";
import { placeOf } from "./programs.ts";
import { findBareRuntime } from "./runc.ts";
import { RUNTIMES, type Runtime, type RuntimeName } from "./runtime.ts";

export type Choice = {
  readonly wanted: RuntimeName | undefined;
  readonly image: string | undefined;
  /** For what a runtime keeps from one run of Reeve to the next. */
  readonly folder: string;
};

/** What to install where nothing works; without root podman is the only one that can. */
function remedy(): string[] {
  const name = process.geteuid?.() === 0 ? "runc" : "podman";
  return name === "podman" && placeOf(name) !== undefined
    ? []
    : [`Install ${name} (Debian, Ubuntu, Fedora: the package \`${name}\`).`];
}

/** What may be tried, one after the other; why not, for each that may not, is added to `reasons`. */
export async function* chooseRuntime({ wanted, image, folder }: Choice, reasons: string[]): AsyncGenerator<Runtime> {
  const lack = lackOfMachine() ?? lackOfImage(image);
  if (lack !== undefined) return void reasons.push(lack);
  for (const name of wanted === undefined ? RUNTIMES : [wanted]) {
    const found = await FIND[name](folder);
    if (typeof found === "string") reasons.push(found);
    else yield* found;
  }
  if (wanted === undefined) reasons.push(...remedy());
}

const FIND: Readonly<Record<RuntimeName, (folder: string) => Promise<readonly Runtime[] | string>>> = {
  runc: () => findBareRuntime("runc"),
  crun: () => findBareRuntime("crun"),
  podman: findPodman,
  docker: findDocker,
};

function lackOfImage(image: string | undefined): string | undefined {
  if (image === undefined) return undefined;
  const stats = lstatSync(image, { throwIfNoEntry: false });
  if (stats?.isDirectory() === true) return undefined;
  return `The image ${image} (sandbox.oci.image) is not a folder. Unpack one there, for example with \`docker export\` and tar.`;
}
