// Completes package-lock.json where npm left out what other platforms need: `node scripts/complete-lock.ts [FILE]`.
//
// Needed after every `npm install` against a registry that does not carry the packages of all platforms. npm then writes
// no entry for an optional dependency that it could not find there, and `npm ci` refuses the lock on every machine
// (EUSAGE: not in sync). This adds the missing entries, with version, os, cpu and libc read from the package's name; they
// have no `resolved` and no `integrity`, so npm looks them up by name and version where it wants them. Where the registry
// carries everything, it finds nothing to add.
//
// Boundary: reads and writes one lock file of version 3 and asks no registry. A package whose name does not tell its
// platform is named, left out, and makes the exit status 1.
import { readFileSync, writeFileSync } from "node:fs";

type Entry = {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
};
type Packages = Record<string, Entry>;
type Lock = { lockfileVersion: number; packages: Packages; [field: string]: unknown };
type Platform = { readonly os: string; readonly cpu?: string; readonly libc?: string };
type Missing = { readonly owner: string; readonly name: string; readonly version: string };

const SYSTEMS = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
/** The processor by the word that follows the system in a package's name. */
const PROCESSORS: Readonly<Record<string, string>> = {
  arm: "arm",
  "arm-eabi": "arm",
  "arm-gnueabihf": "arm",
  "arm-musleabihf": "arm",
  arm64: "arm64",
  ia32: "ia32",
  loong64: "loong64",
  mips64el: "mips64el",
  ppc64: "ppc64",
  riscv64: "riscv64",
  s390x: "s390x",
  x64: "x64",
};
/** Packages that do not name the one system that they are for. */
const OF_ONE_SYSTEM: Readonly<Record<string, string>> = { fsevents: "darwin" };
const EXACT_VERSION = /^\d/;

/** The platform that a name such as `@scope/binding-linux-arm64-musl` tells; undefined if it tells none. */
function platformOf(name: string): Platform | undefined {
  const only = OF_ONE_SYSTEM[name];
  if (only !== undefined) return { os: only };
  const os = SYSTEMS.find((system) => name.includes(system));
  if (os === undefined) return undefined;
  const rest = name.slice(name.indexOf(os) + os.length + 1);
  // The longest first: `arm-gnueabihf` begins with `arm`.
  const words = Object.keys(PROCESSORS).toSorted((a, b) => b.length - a.length);
  const cpu = PROCESSORS[words.find((word) => rest === word || rest.startsWith(`${word}-`)) ?? ""];
  if (cpu === undefined) return undefined;
  if (os !== "linux") return { os, cpu };
  if (rest.includes("musl")) return { os, cpu, libc: "musl" };
  return rest.includes("gnu") ? { os, cpu, libc: "glibc" } : { os, cpu };
}

/** Where Node would find a package that `owner` names, nearest first. */
function placesOf(owner: string, name: string): readonly string[] {
  const places: string[] = [];
  for (let at = owner; at !== "";) {
    places.push(`${at}/node_modules/${name}`);
    const outer = at.lastIndexOf("/node_modules/");
    at = outer === -1 ? "" : at.slice(0, outer);
  }
  return [...places, `node_modules/${name}`];
}

/** Optional dependencies that are named and have no entry. A range is met by whatever stands there. */
function missingFrom(packages: Packages): readonly Missing[] {
  return Object.entries(packages).flatMap(([owner, { optionalDependencies }]) =>
    Object.entries(optionalDependencies ?? {})
      .filter(([name, version]) => {
        const found = placesOf(owner, name).map((place) => packages[place]);
        return !found.some(
          (entry) => entry !== undefined && (entry.version === version || !EXACT_VERSION.test(version)),
        );
      })
      .map(([name, version]) => ({ owner, name, version })),
  );
}

/** Adds an entry; false if the name does not tell the platform. */
function add(packages: Packages, { owner, name, version }: Missing): boolean {
  const platform = platformOf(name);
  if (platform === undefined) return false;
  const { os, cpu, libc } = platform;
  const isTaken = packages[`node_modules/${name}`] !== undefined || owner.includes("/node_modules/");
  packages[`${isTaken ? `${owner}/` : ""}node_modules/${name}`] = {
    version,
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(packages[owner]?.dev === true ? { dev: true } : {}),
    ...(libc === undefined ? {} : { libc: [libc] }),
    optional: true,
    os: [os],
  };
  return true;
}

/** In npm's order: the root, then by path. */
const sorted = (packages: Packages): Packages =>
  Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));

const file = process.argv[2] ?? "package-lock.json";
const lock = JSON.parse(readFileSync(file, "utf8")) as Lock;
if (lock.lockfileVersion !== 3) throw new Error(`${file} has version ${lock.lockfileVersion}; this knows version 3.`);
const missing = missingFrom(lock.packages);
const left = missing.filter((each) => !add(lock.packages, each));
writeFileSync(file, `${JSON.stringify({ ...lock, packages: sorted(lock.packages) }, null, 2)}\n`);
process.stdout.write(`${file}: ${missing.length - left.length} entries added\n`);
for (const { owner, name } of left)
  process.stderr.write(`${name}, which ${owner === "" ? "the project" : owner} names, tells no platform: left out\n`);
process.exitCode = left.length > 0 ? 1 : 0;
