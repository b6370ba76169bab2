// The configuration file: finds it, runs it, checks it.
import { existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Config, configSchema } from "../../abi/config.ts";
import { issueLines, OsError } from "../../abi/errors.ts";

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
    throw new OsError("not_found", `There is no configuration file ${file}.`, {
      data: { what: "configuration", id: file },
    });
  }
  const parsed = configSchema.safeParse(await load(file));
  if (parsed.success) return { folder: dirname(file), file, config: parsed.data };
  const issues = issueLines(parsed.error.issues);
  throw new OsError("config_invalid", `${file} does not hold:\n  ${issues.join("\n  ")}`, { data: { file, issues } });
}

async function load(file: string): Promise<unknown> {
  try {
    const { default: config } = (await import(pathToFileURL(file).href)) as { default?: unknown };
    if (config !== undefined) return config;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new OsError("config_invalid", `${file} cannot be loaded: ${why}`, {
      data: { file, issues: [why] },
      cause: error,
    });
  }
  throw new OsError("config_invalid", `${file} has no default export. Write \`export default defineConfig({ … })\`.`, {
    data: { file, issues: ["no default export"] },
  });
}
