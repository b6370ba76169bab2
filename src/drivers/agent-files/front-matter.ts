// A Markdown agent's text: YAML between two lines of `---`, then the instructions.
//
// Every fault is said with the line at which it stands in the file.
import { LineCounter, parseDocument } from "yaml";
import type { Document } from "yaml";
import { agentManifestSchema } from "../../abi/agents.ts";
import type { AgentManifest } from "../../abi/agents.ts";

export type ParsedAgent = { readonly manifest: AgentManifest; readonly instructions: string };

/** What is wrong, each as `line N: …`; and the name that the file gives, if it could be read at all. */
export class FrontMatterError extends Error {
  readonly issues: readonly string[];
  readonly claimed: string | undefined;

  constructor(issues: readonly string[], claimed?: string) {
    super(issues.join("; "));
    this.issues = issues;
    this.claimed = claimed;
  }
}

const KEYS = Object.keys(agentManifestSchema.shape);
/** Lists that may also be written as coding assistants do: names with commas between them. */
const LISTS = ["tools", "agents"] as const;

/** `defaultName` is the agent's name where the front matter gives none. Throws FrontMatterError. */
export function parseAgentText(text: string, defaultName: string): ParsedAgent {
  const { yaml, body } = split(text);
  const lines = new LineCounter();
  const document = parseDocument(yaml, { lineCounter: lines, prettyErrors: true });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) throw new FrontMatterError(faults.map(yamlFault));
  const declared = declaredIn(document);
  const claimed = typeof declared["name"] === "string" ? declared["name"] : defaultName;
  const checked = agentManifestSchema.safeParse({ name: defaultName, ...declared });
  const issues = checked.success ? [] : checked.error.issues.map((issue) => schemaFault(issue, { document, lines }));
  if (body.trim() === "")
    issues.push("there are no instructions below the front matter; write there what the agent is to do");
  if (!checked.success || issues.length > 0) throw new FrontMatterError(issues, claimed);
  return { manifest: checked.data, instructions: body.trim() };
}

function split(text: string): { yaml: string; body: string } {
  const lines = text.split(/\r?\n/);
  const end = lines.findIndex((line, at) => at > 0 && line.trimEnd() === "---");
  if (lines[0]?.trimEnd() !== "---")
    throw new FrontMatterError([
      "line 1: there is no front matter. Begin the file with a line `---`, then `description: …`, then a line `---`",
    ]);
  if (end < 0) throw new FrontMatterError(["the front matter has no end. Close it with a line `---`"]);
  // The opening fence stays in as an empty line, so that lines are counted as in the file.
  return { yaml: ["", ...lines.slice(1, end)].join("\n"), body: lines.slice(end + 1).join("\n") };
}

function declaredIn(document: Document): Record<string, unknown> {
  const value = valueOf(document) ?? {};
  if (typeof value !== "object" || Array.isArray(value))
    throw new FrontMatterError(["line 2: the front matter is not a list of `key: value`"]);
  const declared: Record<string, unknown> = { ...value };
  for (const key of LISTS) {
    const list = declared[key];
    // A key without a value is an empty list.
    if (list === null) declared[key] = [];
    if (typeof list === "string")
      declared[key] = list
        .split(",")
        .map((name) => name.trim())
        .filter((name) => name !== "");
  }
  return declared;
}

function valueOf(document: Document): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // A text whose aliases would grow without bound.
    throw new FrontMatterError([`line 2: ${(error as Error).message}`]);
  }
}

const yamlFault = ({
  linePos,
  message,
}: {
  linePos?: [{ line: number; col: number }, ...unknown[]] | undefined;
  message: string;
}): string => {
  const what = (message.split("\n")[0] ?? message).replace(/ at line \d+, column \d+:?$/, "");
  return linePos === undefined ? what : `line ${linePos[0].line}, column ${linePos[0].col}: ${what}`;
};

type Issue = {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
};

function schemaFault(issue: Issue, place: { document: Document; lines: LineCounter }): string {
  const path = issue.path.map(String);
  if (issue.code !== "unrecognized_keys") return `${lineOf(path, place)}${path.join(".")}: ${issue.message}`;
  const unknown = issue.keys ?? [];
  const known = path.length === 0 ? `; the keys are ${KEYS.join(", ")}` : ` of ${path.join(".")}`;
  return `${lineOf([...path, ...unknown.slice(0, 1)], place)}unknown key ${unknown.map((key) => JSON.stringify(key)).join(", ")}${known}`;
}

/** `line N: ` of the value at this path; nothing if the file does not say it. */
function lineOf(path: readonly string[], { document, lines }: { document: Document; lines: LineCounter }): string {
  const node = document.getIn(path, true) as { range?: [number, number, number] | null } | undefined;
  const at = typeof node === "object" && node !== null ? node.range?.[0] : undefined;
  return at === undefined ? "" : `line ${lines.linePos(at).line}: `;
}
