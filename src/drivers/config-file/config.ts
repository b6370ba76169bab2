// The configuration file: finds it, runs it, checks it.
import { existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { z } from "zod";
import { type Config, configSchema } from "../../abi/config.ts";
import { issueLines, OsError } from "../../abi/errors.ts";

const LOAD_MS = 15_000;
const NAMES = ["reeve.config.ts", "reeve.config.mts", "reeve.config.js", "reeve.config.mjs"];

export type Project = {
  /** The folder that relative paths of the configuration start from. */
  readonly folder: string;
  /** The file; undefined where there is none and the defaults hold. */
  readonly file: string | undefined;
  readonly config: Config;
};

/**
 * The configuration of a project: the file that is named, or the one in `cwd`, or the defaults.
 * Rejects with `not_found` for a named file that is not there, with `config_invalid` naming each key that is at fault.
 */
export async function readConfig(cwd: string, named?: string): Promise<Project> {
  const file =
    named === undefined
      ? NAMES.map((name) => resolve(cwd, name)).find((path) => existsSync(path))
      : resolve(cwd, named);
  if (file === undefined) return { folder: cwd, file, config: configSchema.parse({}) };
  if (!existsSync(file) || !statSync(file).isFile()) {
    throw new OsError(
      "not_found",
      `There is no configuration file ${file}. Name one that is there, or leave out --config to take the one in this folder.`,
      {
        data: { what: "configuration", id: file },
      },
    );
  }
  const parsed = configSchema.safeParse(await load(file));
  if (parsed.success) return { folder: dirname(file), file, config: parsed.data };
  const issues = issueLines(parsed.error.issues.map(worded));
  throw new OsError(
    "config_invalid",
    `The configuration ${file} cannot be used; correct these of its keys:\n  ${issues.join("\n  ")}`,
    { data: { file, issues } },
  );
}

type Issue = z.core.$ZodIssue;
type Worded = { readonly path: readonly PropertyKey[]; readonly message: string };

/** The schema's words where they name the key, and better ones where they do not. */
function worded(issue: Issue): Worded {
  if (issue.code === "invalid_key")
    return { path: issue.path, message: issue.issues.map(({ message }) => message).join(", ") };
  if (issue.code !== "unrecognized_keys") return issue;
  const [first = "", ...more] = issue.keys;
  const others = more.length === 0 ? "" : `, and so are ${more.join(", ")}`;
  const known = issue.path.length === 0 ? `; the keys are ${Object.keys(configSchema.shape).join(", ")}` : "";
  return { path: [...issue.path, first], message: `is not a key of it${others}${known}` };
}

async function load(file: string): Promise<unknown> {
  try {
    const loading = import(pathToFileURL(file).href) as Promise<{ default?: unknown }>;
    const { default: config } = await withinLoadTime(loading);
    if (config !== undefined) return config;
  } catch (error) {
    const why = `${textOf(error)}${lineOf(error, file)}`;
    throw new OsError("config_invalid", `The configuration ${file} cannot be loaded: ${why}. ${remedyOf(error)}`, {
      data: { file, issues: [why] },
      cause: error,
    });
  }
  throw new OsError(
    "config_invalid",
    `The configuration ${file} has no default export. Write \`export default defineConfig({ … })\`.`,
    { data: { file, issues: ["no default export"] } },
  );
}

/** `npm init` writes a package.json that says so of every file around it, and Node's own words do not name it. */
const remedyOf = (error: unknown): string =>
  /^(Cannot use import statement outside a module|Unexpected token 'export')$/.test(
    error instanceof SyntaxError ? error.message : "",
  )
    ? 'The package.json above it says that files here are CommonJS, and Reeve\'s are modules: put `"type": "module"` into it (`npm pkg set type=module`).'
    : "Correct the file.";

const textOf = (error: unknown): string => (error instanceof Error ? String(error) : `it threw ${String(error)}`);

/** Where in the file it happened, as the stack says it: `file:LINE` above a fault of syntax, `file:LINE:COLUMN` in a frame. */
function lineOf(error: unknown, file: string): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const line = [file, pathToFileURL(file).href]
    .map((name) => stack.split(`${name}:`)[1])
    .map((rest) => /^\d+/.exec(rest ?? "")?.[0])
    .find((found) => found !== undefined);
  return line === undefined ? "" : ` (line ${line})`;
}

/** A configuration that waits for what never comes would hold up every command without a word. */
async function withinLoadTime<T>(loading: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`it had not loaded after ${LOAD_MS} ms`)), LOAD_MS);
  return Promise.race([loading, late.promise]).finally(() => clearTimeout(timer));
}
