// How tests run a program that was assembled for either architecture: on this machine, or by an emulator.
import { spawnSync } from "node:child_process";
import type { Architecture } from "../src/lib/system-calls.ts";

const EMULATORS: Readonly<Record<Architecture, string>> = { x64: "qemu-x86_64-static", arm64: "qemu-aarch64-static" };

/** `before`: what the program's command line begins with. `isHere`: whether that is installed. */
export type Emulation = { readonly name: string; readonly before: readonly string[]; readonly isHere: boolean };

export function emulationOf(architecture: Architecture): Emulation {
  if (process.platform !== "linux") return { name: "Linux", before: [], isHere: false };
  if (process.arch === architecture) return { name: "Linux", before: [], isHere: true };
  const emulator = EMULATORS[architecture];
  const isHere = spawnSync(emulator, ["--version"]).error === undefined;
  return { name: `${emulator} (Debian: qemu-user-static)`, before: [emulator], isHere };
}
