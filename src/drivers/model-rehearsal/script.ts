// A rehearsal's script: YAML that says what the model would say, turn by turn. docs/rehearsal.md describes it for people.
//
//   # a rehearsal: what the model would say, turn by turn
//   turns:
//     - say: I will look at the open tickets first.
//       call: [{ tool: shop.tickets, input: {} }]
//     - call: [{ tool: shop.refund, input: { order: 1001, cents: 4900 } }]
//     - when_denied: { say: "The refund was refused; I leave the ticket open." }
//       say: The refund is done.
//
// A turn says something, calls tools, or both. `when_denied` stands in for the rest of its turn
// if one of the tool results just given is an error.
import { type Document, isNode, LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { issueLines, OsError } from "../../abi/errors.ts";
import { jsonObjectSchema } from "../../abi/json.ts";

const callSchema = z.strictObject({ tool: z.string().min(1), input: jsonObjectSchema.default({}) });
const line = { say: z.string().min(1).optional(), call: z.array(callSchema).min(1).optional() };
type Line = { readonly say?: string | undefined; readonly call?: readonly z.infer<typeof callSchema>[] | undefined };

const SPEAKS = "has neither `say` nor `call`";
const speaks = ({ say, call }: Line): boolean => say !== undefined || call !== undefined;
const turnSchema = z
  .strictObject({ ...line, when_denied: z.strictObject(line).refine(speaks, SPEAKS).optional() })
  .refine(speaks, SPEAKS);
const scriptSchema = z.strictObject({ turns: z.array(turnSchema).min(1) });

export type Script = z.infer<typeof scriptSchema>;
/** What is said in one turn. */
export type Spoken = Line;

/** Throws `config_invalid`, naming file, line and fault of everything that is wrong. */
export function parseScript(text: string, file: string): Script {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors.map(({ pos, message }) => `line ${lines.linePos(pos[0]).line}: ${message}`);
  if (broken.length > 0) throw invalid(file, broken);
  const parsed = scriptSchema.safeParse(plain(document, file));
  if (parsed.success) return parsed.data;
  const texts = issueLines(parsed.error.issues);
  throw invalid(
    file,
    parsed.error.issues.map(({ path }, index) => `line ${lineOf(document, path, lines)}: ${texts[index]}`),
  );
}

function plain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    // Aliases that lead nowhere or multiply without end.
    throw invalid(file, [error instanceof Error ? error.message : String(error)]);
  }
}

/** The line of the nearest thing on the path that is in the file: what is missing has no line of its own. */
function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

const invalid = (file: string, issues: readonly string[]): OsError =>
  new OsError(
    "config_invalid",
    `The rehearsal ${file} cannot be played: ${issues.join("; ")}. Correct the script; docs/rehearsal.md describes its form.`,
    {
      data: { file, issues },
    },
  );
