// The lock file holds what `npm ci` needs on every machine. Made against a registry that lacks the packages of other platforms,
// it comes out with holes, and `npm ci` then refuses it, here as well as there.
import { fault } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

type Entry = { readonly version?: string; readonly optionalDependencies?: Readonly<Record<string, string>> };
type Lock = { readonly packages?: Readonly<Record<string, Entry>> };

const LOCK = /(^|\/)package-lock\.json$/;

function checkLock(files: readonly SourceFile[]): readonly Fault[] {
  return files
    .filter(({ path }) => LOCK.test(path))
    .flatMap((file) => {
      const { packages = {} } = JSON.parse(file.text) as Lock;
      return Object.entries(packages).flatMap(([place, { optionalDependencies = {} }]) => {
        const missing = Object.entries(optionalDependencies)
          .filter(([name, version]) => !holds(packages, { place, name, version }))
          .map(([name]) => name);
        return missing.length === 0 ? [] : [hole(file, place, missing)];
      });
    });
}

function hole(file: SourceFile, place: string, missing: readonly string[]): Fault {
  const [first = "", ...others] = missing;
  const names = others.length === 0 ? first : `${first} and ${others.length} others`;
  const remedy =
    "add each with its version, os and cpu, or install again from a registry that has every platform's packages";
  return fault(
    file,
    Math.max(0, file.text.indexOf(`"${place}"`)),
    `${place} names ${names}, without an entry that fits`,
    remedy,
  );
}

type Named = { readonly place: string; readonly name: string; readonly version: string };

/** Whether the entry that a name leads to is there, and is of the version named if that is an exact one. */
function holds(packages: Readonly<Record<string, Entry>>, { place, name, version }: Named): boolean {
  const found = placesOf(place, name).find((at) => at in packages);
  if (found === undefined) return false;
  return !/^\d+\.\d+\.\d+$/.test(version) || packages[found]?.version === version;
}

/** Where a package that is named at a place may stand: below it, or beside it, or beside one of those that hold it. */
function placesOf(place: string, name: string): readonly string[] {
  const places = [`${place === "" ? "" : `${place}/`}node_modules/${name}`];
  for (let at = place.lastIndexOf("node_modules/"); at !== -1; at = place.lastIndexOf("node_modules/", at - 1)) {
    places.push(`${place.slice(0, at)}node_modules/${name}`);
    if (at === 0) break;
  }
  return places;
}

const lock = (packages: Lock["packages"]): string => `${JSON.stringify({ packages }, null, 1)}\n`;

export const lockRules: readonly Rule[] = [
  {
    name: "lock: every optional package that is named has its entry",
    check: checkLock,
    planted: [
      {
        what: "a binding that is named and not there, and one that is there in another version",
        files: {
          "package-lock.json": lock({
            "node_modules/tool": {
              version: "1.0.0",
              optionalDependencies: { "@tool/linux": "1.0.0", "@tool/darwin": "1.0.0" },
            },
            "node_modules/@tool/linux": { version: "1.0.0" },
            "node_modules/old": { version: "1.0.0", optionalDependencies: { "@tool/linux": "0.9.0" } },
          }),
        },
        faults: ["package-lock.json:3", "package-lock.json:13"],
      },
      {
        what: "bindings beside their tool, below it, and at the top",
        files: {
          "package-lock.json": lock({
            "": { optionalDependencies: { extra: "^1.0.0" } },
            "node_modules/extra": { version: "1.2.0" },
            "node_modules/a/node_modules/tool": {
              optionalDependencies: { one: "1.0.0", two: "1.0.0", three: "1.0.0" },
            },
            "node_modules/a/node_modules/tool/node_modules/one": { version: "1.0.0" },
            "node_modules/a/node_modules/two": { version: "1.0.0" },
            "node_modules/three": { version: "1.0.0" },
          }),
        },
        faults: [],
      },
    ],
  },
];
