// The front as a program of its own (see front.ts for what it does): assembled once for each set of limits, and kept in a file.
//
// A shell does the same, and takes a tenth of the whole start for it. It remains where files here may not be executed, and where more than
// the front's own work is to be done.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assemble, type Step } from "../../lib/native-program.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import { DESCRIPTORS_MAX, doorNumbers, type Front } from "./front.ts";

type Work = Omit<Front, "args">;

/** Limits are set by configuration, so there are few; what is beyond goes by the shell. */
const FILES_MAX = 64;
/** From the kernel's headers; the same on x86-64 and arm64. */
const RESOURCES = { cpu: 0, fileBytes: 1, coreBytes: 4, descriptors: 7 } as const;

export class Fronts {
  readonly #folder: string;
  readonly #architecture: Architecture;
  readonly #files = new Map<string, string>();
  readonly #runs: boolean;

  /** `folder`: made anew; whoever runs a sandbox must be able to find it. */
  constructor(folder: string, architecture: Architecture) {
    this.#folder = folder;
    this.#architecture = architecture;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o755 });
    const trial = this.#make({ bwrap: "/bin/true", doors: 0, strays: [], fileBytesMax: 1, cpuSecondsMax: 1 });
    this.#runs = spawnSync(trial, [], { stdio: "ignore" }).status === 0;
  }

  /** Where the program for this work is; undefined where a shell has to do it. */
  programFor({ bwrap, doors, strays, fileBytesMax, cpuSecondsMax }: Work): string | undefined {
    if (!this.#runs) return undefined;
    const key = JSON.stringify([bwrap, doors, strays, fileBytesMax, cpuSecondsMax]);
    const known = this.#files.get(key);
    if (known !== undefined || this.#files.size >= FILES_MAX) return known;
    const file = this.#make({ bwrap, doors, strays, fileBytesMax, cpuSecondsMax });
    this.#files.set(key, file);
    return file;
  }

  #make(work: Work): string {
    const file = join(this.#folder, String(this.#files.size));
    writeFileSync(file, frontProgram(work, this.#architecture), { mode: 0o755 });
    return file;
  }
}

/** What it is started with becomes the arguments of bubblewrap. */
export function frontProgram(work: Work, architecture: Architecture): Uint8Array {
  const steps: readonly Step[] = [
    ...doorNumbers(work).map((door) => ({ call: "write", args: [door, Buffer.from("0"), 1], isNeeded: true })),
    ...limitsOf(work).map(([resource, most]) => ({ call: "prlimit64", args: [0, resource, pair(most), 0] })),
    ...[...doorNumbers(work), ...work.strays].map((number) => ({ call: "close", args: [number] })),
  ];
  const onFailure = `A control group could not be entered, or ${work.bwrap} could not be started`;
  return assemble({ steps, becomes: work.bwrap, onFailure }, architecture);
}

/** A limit that is below already cannot be raised to this one, and need not be. */
const limitsOf = ({ fileBytesMax, cpuSecondsMax }: Work): readonly (readonly [number, number])[] => [
  [RESOURCES.coreBytes, 0],
  [RESOURCES.descriptors, DESCRIPTORS_MAX],
  [RESOURCES.fileBytes, fileBytesMax],
  [RESOURCES.cpu, cpuSecondsMax],
];

/** The limit that a program may raise, and the one that it may not: the same. */
function pair(value: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(value), 0);
  bytes.writeBigUInt64LE(BigInt(value), 8);
  return bytes;
}
