// Writes docs/reference: the pages that derive from the syscall table, the table of errors and the command line.
//
// `node scripts/reference.ts` writes them; with `--check` it writes nothing and fails if one of them is stale.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import type { Command } from "commander";
import { z } from "zod";
import { EFFECTS } from "../src/abi/effects.ts";
import { ERROR_CODES, ERRORS } from "../src/abi/errors.ts";
import { jsonObjectSchema, jsonSchema } from "../src/abi/json.ts";
import { PAYLOAD_BYTES_MAX, STREAM_BACKLOG_BYTES_MAX, STREAM_HEARTBEAT_MS } from "../src/abi/limits.ts";
import { rowOf, SYSCALLS, type SyscallName } from "../src/abi/syscalls.ts";
import { buildProgram, COMMANDS } from "../src/cli/cli.ts";
import type { CliCommand } from "../src/cli/command.ts";
import { ROUTES } from "../src/gateway/routes.ts";

const FOLDER = join(import.meta.dirname, "..", "docs", "reference");
const MADE =
  "<!-- Written by scripts/reference.ts. Change the source that it derives from, then run `npm run reference`. -->";

type Schema = { readonly [key: string]: unknown };
const calls = Object.keys(SYSCALLS) as SyscallName[];

/** Each page by its file name. */
export function referencePages(): ReadonlyMap<string, string> {
  const pages: readonly (readonly [string, readonly string[]])[] = [
    ["syscalls.md", syscallsPage()],
    ["errors.md", errorsPage()],
    ["http.md", httpPage()],
    ["cli.md", cliPage()],
  ];
  return new Map(pages.map(([name, lines]) => [name, `${MADE}\n\n${lines.join("\n")}\n`]));
}

/** Pages whose file does not hold what it should. */
export const stalePages = (): readonly string[] =>
  [...referencePages()]
    .filter(([name, text]) => read(join(FOLDER, name)) !== text)
    .map(([name]) => `docs/reference/${name}`);

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // A page that is not there is stale like one that is wrong.
    return undefined;
  }
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (titles: readonly string[], rows: readonly (readonly string[])[]): string[] =>
  [titles, titles.map(() => "---"), ...rows].map((cells) => `| ${cells.map(cell).join(" | ")} |`);
const code = (text: string): string => `\`${text}\``;
const block = (text: string, language = "text"): string[] => ["", `\`\`\`${language}`, text, "```", ""];

function syscallsPage(): string[] {
  return [
    "# System calls",
    "",
    "Everything that a process does to the world, and everything that an operator asks of the system, is one of these calls.",
    "A process issues those marked *process* through `sys`; an operator those marked *operator* over [HTTP](http.md), with the",
    "[command line](cli.md), or with the client. `?` marks a field that may be left out. `Json` is any JSON value.",
    "",
    ...table(
      ["call", "issued by", "what it does"],
      calls.map((name) => [
        `[${code(name)}](#${name.replace(".", "")})`,
        rowOf(name).callers.join(", "),
        rowOf(name).doc,
      ]),
    ),
    "",
    `Effects, from harmless to dangerous: ${EFFECTS.map(code).join(", ")}. \`tool\` is whatever the tool's manifest says.`,
    ...calls.flatMap(syscallPart),
  ];
}

function syscallPart(name: SyscallName): string[] {
  const { doc, callers, input, output, effect, right, errors, http } = rowOf(name);
  const needs = callers.includes("process") ? ` · right ${code(right)}` : "";
  const route = http === undefined ? [] : ["", `HTTP: ${code(`${http.method.toUpperCase()} ${http.path}`)}`];
  const codes =
    errors.length === 0 ? "none of its own" : errors.map((each) => `[${code(each)}](errors.md#${each})`).join(", ");
  return [
    "",
    `## ${name}`,
    "",
    doc,
    "",
    `Issued by ${callers.join(" and ")} · effect ${code(effect)}${needs}`,
    ...route,
    ...block(
      `input  ${shapeOf(input, "input")}\n${http?.stream === true ? "events" : "output"} ${shapeOf(output, "output")}`,
      "ts",
    ),
    `Errors: ${codes}.`,
  ];
}

/** A schema in the notation of TypeScript. */
function shapeOf(schema: z.ZodType, io: "input" | "output"): string {
  const registry = z.registry<{ id: string }>();
  registry.add(jsonSchema, { id: "Json" }).add(jsonObjectSchema, { id: "JsonObject" });
  registry.add(schema, { id: "it" });
  return shape(z.toJSONSchema(registry, { io, uri: (id) => id }).schemas["it"] as Schema, 0);
}

const LINE_COLUMNS = 100;

function shape(schema: Schema, depth: number): string {
  const { $ref, const: only, enum: values, type, items, properties, additionalProperties } = schema;
  if (typeof $ref === "string") return $ref;
  if (only !== undefined) return JSON.stringify(only);
  if (Array.isArray(values)) return values.map((value) => JSON.stringify(value)).join(" | ");
  const choices = (schema["anyOf"] ?? schema["oneOf"]) as readonly Schema[] | undefined;
  if (choices !== undefined) return alternatives(choices, depth);
  if (type === "array") return arrayOf(shape((items ?? {}) as Schema, depth));
  if (properties !== undefined) return objectShape(schema, depth);
  if (type === "object") return `{ [name]: ${shape((additionalProperties ?? {}) as Schema, depth)} }`;
  return typeof type === "string" ? type : "Json";
}

const arrayOf = (item: string): string => (/^[\w$]+$/.test(item) || item.startsWith("{") ? `${item}[]` : `(${item})[]`);

function alternatives(choices: readonly Schema[], depth: number): string {
  const shapes = [...new Set(choices.map((choice) => shape(choice, depth + 1)))];
  // Text is JSON as well: the schema names both so that a call from text is read as text.
  if (shapes.includes("Json")) return "Json";
  const line = shapes.join(" | ");
  return line.length <= LINE_COLUMNS ? line : shapes.map((each) => `\n${"  ".repeat(depth + 1)}| ${each}`).join("");
}

function objectShape({ properties, required }: Schema, depth: number): string {
  const needed = (required ?? []) as readonly string[];
  const fields = Object.entries(properties as { readonly [name: string]: Schema }).map(([name, field]) => {
    const standard = field["default"] === undefined ? "" : ` = ${JSON.stringify(field["default"])}`;
    return `${name}${needed.includes(name) && standard === "" ? "" : "?"}: ${shape(field, depth + 1)}${standard}`;
  });
  if (fields.length === 0) return "{}";
  const line = `{ ${fields.join(", ")} }`;
  if (line.length + depth * 2 <= LINE_COLUMNS && !line.includes("\n")) return line;
  const inner = "  ".repeat(depth + 1);
  return `{\n${fields.map((field) => `${inner}${field}`).join("\n")}\n${"  ".repeat(depth)}}`;
}

function errorsPage(): string[] {
  return [
    "# Errors",
    "",
    "Every error has one of these codes, a message that says what happened, why, and what to do about it, and typed facts in `data`.",
    "`retryable` says whether the same call can succeed later; an error may know better than its code. *HTTP* is the status of the",
    "[HTTP API](http.md), *exit* the exit status of the [command line](cli.md).",
    "",
    ...ERROR_CODES.flatMap((name) => {
      const { doc, retryable, status, exit } = ERRORS[name];
      return [
        `## ${name}`,
        "",
        doc,
        "",
        `HTTP ${status} · exit ${exit} · ${retryable ? "retryable" : "not retryable"}`,
        "",
      ];
    }),
  ].slice(0, -1);
}

function httpPage(): string[] {
  const mebibytes = (bytes: number): string => `${bytes / 1024 / 1024} MiB`;
  return [
    "# HTTP API",
    "",
    "`reeve up` serves this API on 127.0.0.1. Each route is one [system call](syscalls.md) of operators; the OpenAPI 3.1 document is at",
    "`GET /v1/openapi.json`. `GET /healthz` needs no token and says only that the server answers.",
    "",
    "## Routes",
    "",
    ...table(
      ["route", "call", "query or body"],
      ROUTES.map(({ method, path, name, fields }) => [
        code(`${method.toUpperCase()} ${path}`),
        `[${code(name)}](syscalls.md#${name.replace(".", "")})`,
        fields.length === 0 ? "" : `${method === "get" ? "query" : "body"}: ${fields.map(code).join(", ")}`,
      ]),
    ),
    "",
    "Fields that the path names stand there and nowhere else. All others travel in the query (`GET`) or as a JSON object in the body (`POST`).",
    "",
    "## Who may call",
    "",
    "- `Authorization: Bearer TOKEN`, with the token that `reeve up` prints.",
    "- `Host` must be 127.0.0.1, localhost or [::1], with any port: a web page whose name was pointed at this machine gets a 403.",
    "- A request with an `Origin` that is not the server's own gets a 403. There are no CORS headers.",
    "- `X-Reeve-Actor: NAME` names the person for the record; without it the record says `operator`. It is taken at its word, since whoever holds the token",
    "  may do everything. At most 100 letters, digits and `. _ @ + -`; ids of processes and names of the system's parts are refused.",
    "",
    "## Repeating a request",
    "",
    "`Idempotency-Key: TEXT` on `POST /v1/processes` becomes the field `key`: the same key again answers with the same process.",
    "",
    "## Errors",
    "",
    "Errors are problem documents (RFC 9457, `application/problem+json`) with the members `type`, `title`, `status` and `detail`, and beside them",
    "`code`, `retryable` and `data` as in [errors](errors.md).",
    `A body above ${mebibytes(PAYLOAD_BYTES_MAX)} is \`limit_exceeded\` with status 413 (elsewhere that code has ${ERRORS.limit_exceeded.status}).`,
    "",
    "## Event streams",
    "",
    "`GET /v1/processes/{pid}/events` is a stream of server-sent events:",
    "",
    ...table(
      ["event", "id", "data"],
      [
        [code("event"), "the event's seq", "an event of the journal"],
        [
          code("delta"),
          "none",
          "`{ pid, call, text }`: what a model or a program says as it comes; it is not recorded",
        ],
        [code("end"), "none", "the process has exited, and nothing more will come"],
        [code("problem"), "none", "the stream failed; a problem document"],
      ],
    ),
    "",
    "`Last-Event-ID: SEQ` goes on after that event and wins over `from`.",
    `A comment comes every ${STREAM_HEARTBEAT_MS / 1000} s. When more than ${mebibytes(STREAM_BACKLOG_BYTES_MAX)} wait for a slow reader, the stream delivers what it holds and closes`,
    "without `end`; the reader resumes with `Last-Event-ID`. So does one whose server was stopped.",
  ];
}

function cliPage(): string[] {
  return [
    "# Command line",
    "",
    "Data goes to standard output, messages to standard error. With `--json` standard output holds one JSON document, or one on each line where the",
    'command is a stream; an error is the document `{ "error": { code, message, retryable, data } }`.',
    "",
    "Every command finds the running server of the project. Without one it boots the system itself, on the same data folder: commands that look",
    "run no process; `run`, `wait`, `approve`, `reject` and `journal --follow` let processes go on for as long as the command lasts.",
    "",
    "A process or request may be named by the beginning of its id, with or without `p_` or `r_`, as long as that is unique.",
    "",
    "Colours are for terminals; `NO_COLOR` in the environment and `--no-color` turn them off. `REEVE_ACTOR` in the environment names who acts, for the record.",
    ...block(helpOf()),
    ...COMMANDS.flatMap((command) => commandSection(command, [])),
  ].slice(0, -1);
}

/** A command, and below it the commands that it has. */
function commandSection({ name, commands = [] }: CliCommand, above: readonly string[]): string[] {
  const path = [...above, name];
  return [
    `${"#".repeat(path.length + 1)} reeve ${path.join(" ")}`,
    ...block(helpOf(path)),
    ...commands.flatMap((below) => commandSection(below, path)),
  ];
}

/** The help text of a command, by the names that lead to it, or of them all. */
function helpOf(path: readonly string[] = []): string {
  let text = "";
  const stdout = Object.assign(new Writable(), { columns: LINE_COLUMNS });
  stdout.write = (chunk: unknown) => {
    text += String(chunk);
    return true;
  };
  const program = buildProgram({ version: "", stdout, stderr: stdout }, async () => undefined);
  let command: Command | undefined = program;
  for (const name of path) command = command?.commands.find((each) => each.name() === name);
  command?.outputHelp();
  return text.trimEnd();
}

if (import.meta.main) {
  if (process.argv.includes("--check")) {
    const stale = stalePages();
    for (const page of stale) console.error(`${page} is stale: run \`npm run reference\``);
    process.exitCode = stale.length === 0 ? 0 : 1;
  } else {
    mkdirSync(FOLDER, { recursive: true });
    for (const [name, text] of referencePages()) writeFileSync(join(FOLDER, name), text);
  }
}
