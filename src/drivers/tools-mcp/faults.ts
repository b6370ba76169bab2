// Faults of an MCP server in words: what happened, why, what to do.
import { OsError } from "../../abi/errors.ts";

const TEXT_LENGTH_MAX = 500;

/** One line, free of control and format characters, bounded: a server's words on the way into a message or a log. */
export function plain(text: string, lengthMax = TEXT_LENGTH_MAX): string {
  const line = text
    .slice(0, lengthMax * 4)
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, " ")
    .trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax)} …` : line;
}

/** An error and what caused it, innermost last. */
export function causesOf(error: unknown): readonly unknown[] {
  const causes: unknown[] = [];
  for (
    let at: unknown = error;
    at !== undefined && at !== null && causes.length < 8;
    at = at instanceof Error ? at.cause : undefined
  ) {
    causes.push(at);
    if (at instanceof AggregateError) causes.push(...(at.errors as unknown[]).slice(0, 4));
  }
  return causes;
}

export function textOf(error: unknown): string {
  const texts = causesOf(error).flatMap((cause) => {
    const text = cause instanceof Error ? cause.message : String(cause);
    return text === "" ? [] : [text];
  });
  return plain([...new Set(texts)].join(": ")) || "no reason given";
}

/** What a part of this driver has said of it already, with its own remedy. */
export const ownWord = (error: unknown): OsError | undefined =>
  causesOf(error).find((cause): cause is OsError => OsError.is(cause));

/** `remedy` is a whole sentence. */
export function unavailable(source: string, what: string, remedy: string, cause?: unknown): OsError {
  return new OsError("tool_unavailable", `The MCP server "${source}" ${what}. ${remedy}`, {
    data: { tool: source },
    ...(cause === undefined ? {} : { cause }),
  });
}
