// The import graph: who imports what, as the parser sees it (static, dynamic, re-exported, and in types).
import { posix } from "node:path";
import { nameOf, parse, walk } from "./source.ts";
import type { SourceFile } from "./source.ts";

export type Import = {
  readonly from: SourceFile;
  readonly offset: number;
  /** As written. */
  readonly specifier: string;
  /** For a relative import: the path from the root of the repository. */
  readonly target: string | undefined;
  /** What is taken by name from a static import; undefined if it is not known. */
  readonly names: readonly string[] | undefined;
};

const importsOfFile = new WeakMap<SourceFile, readonly Import[]>();

export function importsOf(file: SourceFile): readonly Import[] {
  const known = importsOfFile.get(file);
  if (known !== undefined) return known;
  const found = [...staticImports(file), ...otherImports(file)];
  importsOfFile.set(file, found);
  return found;
}

function staticImports(file: SourceFile): readonly Import[] {
  return parse(file).module.staticImports.map(({ start, moduleRequest, entries }) => {
    const names = entries.map(({ importName }) => importName.name ?? undefined);
    const known = entries.length > 0 && names.every((name) => name !== undefined);
    return imported(file, start, moduleRequest.value, known ? names.filter((name) => name !== undefined) : undefined);
  });
}

function otherImports(file: SourceFile): readonly Import[] {
  const found: Import[] = [];
  walk(parse(file).program, (node) => {
    const source =
      node.type === "ExportNamedDeclaration" ||
      node.type === "ExportAllDeclaration" ||
      node.type === "ImportExpression" ||
      node.type === "TSImportType"
        ? node.source
        : null;
    const specifier = source === null ? undefined : nameOf(source);
    if (specifier !== undefined) found.push(imported(file, node.start, specifier, undefined));
  });
  return found;
}

function imported(from: SourceFile, offset: number, specifier: string, names: Import["names"]): Import {
  const relative = specifier.startsWith("./") || specifier.startsWith("../");
  const target = relative ? posix.join(posix.dirname(from.path), specifier) : undefined;
  return { from, offset, specifier, target, names };
}

/** Every file that can be reached from those given, themselves included, with the import that leads to it. */
export function reach(
  files: readonly SourceFile[],
  starts: readonly SourceFile[],
): ReadonlyMap<SourceFile, Import | null> {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Map<SourceFile, Import | null>(starts.map((file) => [file, null]));
  for (const [file] of reached)
    for (const edge of importsOf(file)) {
      const next = edge.target === undefined ? undefined : byPath.get(edge.target);
      if (next !== undefined && !reached.has(next)) reached.set(next, edge);
    }
  return reached;
}
