// What the tidy checks look at: files as text, their syntax trees, and the faults that are found in them.
//
// Boundary: pure. Nothing here touches the disk, so every check can be shown to fail on a handful of made-up files.
import { parseSync, visitorKeys } from "oxc-parser";
import type { Comment, Node, ParseResult, Program } from "oxc-parser";

export type SourceFile = {
  /** From the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
};

/** A breach of a rule; `remedy` says what to do about it. */
export type Fault = {
  readonly path: string;
  readonly line: number;
  readonly what: string;
  readonly remedy: string;
};

/** A made-up tree in which a rule must find (`faults`: "path:line") or must not find (none) something. */
export type Planted = {
  readonly what: string;
  readonly files: Readonly<Record<string, string>>;
  readonly faults: readonly string[];
};

export type Rule = {
  readonly name: string;
  readonly check: (files: readonly SourceFile[]) => readonly Fault[];
  /** At least one with faults and one without, so that the check is seen to tell them apart. */
  readonly planted: readonly Planted[];
};

export type Parsed = {
  readonly program: Program;
  readonly module: ParseResult["module"];
  readonly comments: readonly Comment[];
  readonly errors: readonly string[];
};

const parsedFiles = new WeakMap<SourceFile, Parsed>();

/** The syntax tree of a file, parsed once. */
export function parse(file: SourceFile): Parsed {
  const known = parsedFiles.get(file);
  if (known !== undefined) return known;
  const { program, module, comments, errors } = parseSync(file.path, file.text);
  const parsed = { program, module, comments, errors: errors.map(({ message }) => message) };
  parsedFiles.set(file, parsed);
  return parsed;
}

export const isCode = (path: string): boolean => /\.(ts|tsx|mts|js|mjs)$/.test(path);
/** Tests, and the fakes and fixtures that stand beside the source for them. */
export const isTest = (path: string): boolean => /^test\/|\/fixtures\/|\.(test|fake|bench)\.tsx?$/.test(path);
/** Code that ships: under `src/` or `console/`, and no test. */
export const isShipped = (path: string): boolean => isCode(path) && /^(src|console)\//.test(path) && !isTest(path);

export const shippedCode = (files: readonly SourceFile[]): readonly SourceFile[] =>
  files.filter(({ path }) => isShipped(path));

/** The line, from 1, on which an offset stands. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line += 1;
  return line;
}

/** Visits a node and all below it, with the chain of its ancestors, nearest last. */
export function walk(node: Node, visit: (node: Node, ancestors: readonly Node[]) => void): void {
  const ancestors: Node[] = [];
  const step = (at: Node): void => {
    visit(at, ancestors);
    ancestors.push(at);
    for (const key of visitorKeys[at.type] ?? []) for (const child of childNodes(at, key)) step(child);
    ancestors.pop();
  };
  step(node);
}

function childNodes(node: Node, key: string): readonly Node[] {
  const child: unknown = Reflect.get(node, key);
  return (Array.isArray(child) ? child : [child]).filter(isNode);
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "type" in value;

/** The name of an identifier or the text of a string literal; undefined for anything else. */
export function nameOf(node: Node): string | undefined {
  if (node.type === "Identifier" || node.type === "PrivateIdentifier") return node.name;
  return node.type === "Literal" && typeof node.value === "string" ? node.value : undefined;
}

export const fault = (file: SourceFile, offset: number, what: string, remedy: string): Fault => ({
  path: file.path,
  line: lineAt(file.text, offset),
  what,
  remedy,
});

/** The lines, from 1, that hold code: neither blank nor comment alone. */
export function codeLines(file: SourceFile): ReadonlySet<number> {
  const characters = [...Array(file.text.length).keys()].map((at) => file.text[at] ?? "");
  for (const { start, end } of parse(file).comments)
    for (let at = start; at < end; at += 1) if (characters[at] !== "\n") characters[at] = " ";
  const lines = characters.join("").split("\n");
  return new Set(lines.flatMap((line, index) => (line.trim() === "" ? [] : [index + 1])));
}
