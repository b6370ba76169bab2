// What the tests of this driver share: a driver on a folder of its own, and a way to run a program to its end.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sandboxLimitsSchema, type SandboxLimitsPart } from "../../abi/isolation.ts";
import type { Sandbox, SandboxExit, SandboxProcess, SandboxSpec } from "../../ports/sandbox.ts";
import { createBubblewrap } from "./sandbox.ts";

export const HAS_BUBBLEWRAP = process.platform === "linux" && existsSync("/usr/bin/bwrap");
export const IS_ROOT = process.geteuid?.() === 0;

export type Scene = { readonly sandbox: Sandbox; readonly folder: string; readonly end: () => Promise<void> };

export function openScene(warm = { shell: 0, python: 0, node: 0 }): Scene {
  const folder = mkdtempSync(join(tmpdir(), "reeve-bubblewrap-"));
  const sandbox = createBubblewrap({ folder: join(folder, "sandbox"), uids: { from: 200_000, to: 265_535 }, warm });
  const end = async (): Promise<void> => {
    await sandbox.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { sandbox, folder, end };
}

type Part = Partial<Omit<SandboxSpec, "limits">> & { readonly limits?: SandboxLimitsPart };

export const specOf = ({ limits, ...part }: Part): SandboxSpec => ({
  owner: "test",
  level: "process",
  command: ["true"],
  env: {},
  mounts: [],
  limits: sandboxLimitsSchema.parse({ wallMs: 20_000, ...limits }),
  ...part,
});

export type Ran = { readonly exit: SandboxExit; readonly out: string; readonly err: string };

export async function ended(running: SandboxProcess, input = ""): Promise<Ran> {
  let out = "";
  let err = "";
  const read = async (stream: NodeJS.ReadableStream, add: (text: string) => void): Promise<void> => {
    for await (const chunk of stream) add(String(chunk));
  };
  running.stdin.end(input);
  const [exit] = await Promise.all([
    running.exit,
    read(running.stdout, (text) => (out += text)),
    read(running.stderr, (text) => (err += text)),
  ]);
  return { exit, out, err };
}

export const run = async (sandbox: Sandbox, part: Part, input?: string): Promise<Ran> =>
  ended(await sandbox.start(specOf(part)), input);

export const shell = (sandbox: Sandbox, text: string, part: Part = {}): Promise<Ran> =>
  run(sandbox, { ...part, command: ["sh", "-c", text] });
