// The files that payloads consist of, laid out where a sandbox can be shown them.
import { chmod, copyFile, writeFile } from "node:fs/promises";
import { realpathSync } from "node:fs";
import { extname, join } from "node:path";
import type { Mount } from "../../ports/sandbox.ts";
import type { Bait } from "./bait.ts";
import type { InsideBait } from "./inside.ts";
import type { Payload, ProbePayload, ScriptPayload } from "./payload.ts";
import { BOMB, INSIDE, STORM } from "./programs.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import { assembleProber, readResults, type Group, type Results } from "./prober.ts";

export type Kit = {
  /** For `/ws`. */
  readonly workspace: string;
  /** Of what a command names, and of nothing else: what is mounted may decide how a sandbox is started. */
  readonly mountsFor: (command: readonly string[]) => readonly Mount[];
  readonly probeCommand: readonly [string, ...string[]];
  readonly scriptCommand: (names: readonly string[]) => readonly [string, ...string[]];
  readonly read: (output: Uint8Array) => Results;
};

/** Names that every program may find in its environment: those of the sandbox, and those that a shell or a runtime sets. */
const NAMES_ALLOWED = [
  "PATH",
  "HOME",
  "TMPDIR",
  "LANG",
  "PWD",
  "OLDPWD",
  "SHLVL",
  "_",
  "TERM",
  "HOSTNAME",
  "container",
];
const SCRIPT = join(import.meta.dirname, `inside${extname(import.meta.filename)}`);

export const isProbe = (payload: Payload): payload is ProbePayload => payload.kind === "probe";
export const isScript = (payload: Payload): payload is ScriptPayload => payload.kind === "script";

export async function layKit(
  bait: Bait,
  payloads: readonly Payload[],
  { architecture, lies }: { readonly architecture: Architecture; readonly lies: keyof Bait["places"] },
): Promise<Kit> {
  const { folder, workspace } = bait.places[lies];
  const probes: readonly Group[] = payloads
    .filter(isProbe)
    .map((payload) => ({ payload: payload.name, calls: payload.calls(bait) }));
  const at = (name: string): string => join(folder, name);
  const write = async (name: string, groups: readonly Group[]): Promise<void> => {
    await writeFile(at(name), assembleProber(groups, architecture));
    await chmod(at(name), 0o755);
  };
  await write("probe", probes);
  await write("bomb", BOMB);
  await write("storm", STORM);
  const script = `inside${extname(SCRIPT)}`;
  await copyFile(SCRIPT, at(script));
  await chmod(at(script), 0o644);
  const node = realpathSync(process.execPath);
  const given: InsideBait = {
    secret: bait.secret,
    secretFile: bait.secretFile,
    open: bait.open,
    port: bait.port,
    home: "/home",
    namesAllowed: NAMES_ALLOWED,
  };
  const mount = (from: string, to: string): Mount => ({ from, to, access: "read" });
  const mounts = [
    mount(at("probe"), INSIDE.prober),
    mount(at("bomb"), INSIDE.bomb),
    mount(at("storm"), INSIDE.storm),
    mount(at(script), `${INSIDE.folder}/${script}`),
    mount(node, `${INSIDE.folder}/node`),
  ];
  return {
    workspace,
    mountsFor: (command) => mounts.filter(({ to }) => command.includes(to)),
    probeCommand: [INSIDE.prober],
    scriptCommand: (names) => [`${INSIDE.folder}/node`, `${INSIDE.folder}/${script}`, JSON.stringify(given), ...names],
    read: (output) => readResults(probes, architecture, output),
  };
}
