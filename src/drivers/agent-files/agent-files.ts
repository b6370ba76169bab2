// Agents as files of one folder.
//
//   NAME.md                          a Markdown agent: front matter and instructions
//   FOLDER/agent.md                  the same, with a folder to itself; FOLDER is its name if it gives none
//   NAME.ts, NAME.js, NAME.mjs       a module agent: `export default agent({ … })`
//
// Left out: names that begin with a dot or an underscore, README.md, tests (*.test.*) and declarations (*.d.ts).
//
// The folder is looked at anew for every question, so a new or changed file counts at once; a file that has not changed
// is not read again. What a module declares is found by running it (`describeModule`) and kept as long as its own
// bytes are the same.
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import type { Dirent } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import type { Agent, AgentManifest } from "../../abi/agents.ts";
import { OsError } from "../../abi/errors.ts";
import { AGENT_FILE_BYTES_MAX } from "../../abi/limits.ts";
import type { AgentSource } from "../../ports/program.ts";
import { FrontMatterError, parseAgentText } from "./front-matter.ts";

export type AgentFilesOptions = {
  readonly folder: string;
  /** The manifest of a module agent. Rejects with `agent_invalid`. */
  readonly describeModule: (file: string) => Promise<AgentManifest>;
};

/** A file and what came of it. `name` is the agent's, or the one that it would have. */
type Found = { readonly file: string; readonly name: string } & (
  | { readonly agent: Agent }
  | { readonly error: OsError }
);
/** `question`: the number of the question that it was read for. */
type Kept = { readonly stamp: string; readonly question: number; readonly found: Promise<Found> };
type Looking = { readonly question: number; readonly retry: boolean };

const isModule = (file: string): boolean => [".ts", ".js", ".mjs"].includes(extname(file));

export function createAgentFiles({ folder, describeModule }: AgentFilesOptions): AgentSource {
  const kept = new Map<string, Kept>();
  let questions = 0;

  const look = async (file: string, { question, retry }: Looking): Promise<Found> => {
    const stamp = await stampOf(file);
    const known = kept.get(file);
    if (known !== undefined && known.stamp === stamp) {
      // What is wrong with a module may lie in what it imports, so it is tried again, once for each question.
      const again = retry && known.question !== question && isModule(file);
      if (!again || !("error" in (await known.found))) return known.found;
    }
    const found = read(file, describeModule);
    kept.set(file, { stamp, question, found });
    return found;
  };

  const lookAtAll = async (looking: Looking): Promise<readonly Found[]> => {
    const files = await candidates(folder);
    for (const file of kept.keys()) if (!files.includes(file)) kept.delete(file);
    return withoutNamesakes(await Promise.all(files.map((file) => look(file, looking))));
  };

  return {
    async find(name) {
      const question = (questions += 1);
      const isIt = (one: Found): boolean => one.name === name;
      // Agents that can be used do not wait for the others to be tried again, each in a program of its own.
      const seen = await lookAtAll({ question, retry: false });
      const isUsable = seen.some((one) => isIt(one) && "agent" in one);
      const all = isUsable ? seen : await lookAtAll({ question, retry: true });
      const found = all.find(isIt);
      if (found === undefined) throw missing(name, { folder, all });
      if ("error" in found) throw found.error;
      return found.agent;
    },
    async list() {
      try {
        const all = await lookAtAll({ question: (questions += 1), retry: true });
        return {
          agents: all.flatMap((found) => ("agent" in found ? [found.agent] : [])),
          invalid: all.flatMap((found) =>
            "error" in found ? [{ file: found.file, message: found.error.message }] : [],
          ),
        };
      } catch (error) {
        // A folder that cannot be read is listed like a file that cannot be used.
        if (!OsError.is(error, "agent_invalid")) throw error;
        return { agents: [], invalid: [{ file: folder, message: error.message }] };
      }
    },
  };
}

/** The files that look like agents, in the order of their names. Throws `agent_invalid` if the folder cannot be read. */
async function candidates(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    const why =
      (error as { code?: string }).code === "ENOENT" ? "is not there" : `cannot be read (${(error as Error).message})`;
    throw new OsError(
      "agent_invalid",
      `The folder of agent files, ${folder}, ${why}. Make it, or name another as \`agentsFolder\` in reeve.config.ts.`,
      { data: { file: folder, issues: [why] } },
    );
  });
  const files = await Promise.all(
    entries.filter(({ name }) => !/^[._]/.test(name)).map((entry) => candidate(folder, entry)),
  );
  return files.filter((file) => file !== undefined).sort();
}

async function candidate(folder: string, entry: Dirent): Promise<string | undefined> {
  const path = join(folder, entry.name);
  const kind = await stat(path).catch(() => undefined); // a dangling link is no file
  if (kind?.isDirectory() === true) {
    const inside = join(path, "agent.md");
    const isThere = await stat(inside).then(
      (found) => found.isFile(),
      () => false,
    );
    return isThere ? inside : undefined;
  }
  return kind?.isFile() === true && looksLikeAgent(entry.name) ? path : undefined;
}

function looksLikeAgent(name: string): boolean {
  if (/^readme\.md$/i.test(name) || /\.(test|d)\.[a-z]+$/.test(name)) return false;
  return extname(name) === ".md" || isModule(name);
}

async function stampOf(file: string): Promise<string> {
  // It may be gone since the folder was listed; reading it will say so.
  const found = await stat(file, { bigint: true }).catch(() => undefined);
  return found === undefined ? "" : `${found.mtimeNs} ${found.ctimeNs} ${found.size} ${found.ino}`;
}

async function read(file: string, describeModule: AgentFilesOptions["describeModule"]): Promise<Found> {
  const defaultName = basename(file) === "agent.md" ? basename(dirname(file)) : basename(file, extname(file));
  try {
    const bytes = await readBounded(file);
    const hash = createHash("sha256").update(bytes).digest("hex");
    if (isModule(file)) {
      const manifest = await describeModule(file);
      return { file, name: manifest.name, agent: { manifest, program: { kind: "module", file }, hash } };
    }
    const { manifest, instructions } = parseAgentText(decode(bytes), defaultName);
    return { file, name: manifest.name, agent: { manifest, program: { kind: "markdown", instructions }, hash } };
  } catch (error) {
    const name = error instanceof FrontMatterError ? (error.claimed ?? defaultName) : defaultName;
    return { file, name, error: asInvalid(file, error) };
  }
}

async function readBounded(file: string): Promise<Uint8Array> {
  const { size } = await stat(file);
  const tooLarge = (bytes: number): OsError =>
    invalid(file, [
      `it has ${bytes} bytes, and at most ${AGENT_FILE_BYTES_MAX} are read; move what is long into files that a tool reads`,
    ]);
  if (size > AGENT_FILE_BYTES_MAX) throw tooLarge(size);
  const bytes = await readFile(file);
  if (bytes.length > AGENT_FILE_BYTES_MAX) throw tooLarge(bytes.length);
  return bytes;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    // The decoder only says that it failed.
    throw new FrontMatterError(["it is not UTF-8 text; save it with that encoding"]);
  }
}

function asInvalid(file: string, error: unknown): OsError {
  if (OsError.is(error)) return error;
  if (error instanceof FrontMatterError) return invalid(file, error.issues);
  return invalid(file, [`it cannot be read (${(error as Error).message})`]);
}

const invalid = (file: string, issues: readonly string[]): OsError =>
  new OsError("agent_invalid", `The agent file ${file} cannot be used: ${issues.join("; ")}.`, {
    data: { file, issues },
  });

/** Two files of one name would make it a matter of chance which one runs, so neither does. */
function withoutNamesakes(all: readonly Found[]): readonly Found[] {
  const byName = Map.groupBy(
    all.filter((found) => "agent" in found),
    ({ name }) => name,
  );
  return all.map((found): Found => {
    const others = (byName.get(found.name) ?? []).filter(({ file }) => file !== found.file);
    if ("error" in found || others.length === 0) return found;
    return {
      file: found.file,
      name: found.name,
      error: invalid(found.file, [
        `its name ${found.name} is also that of ${others.map(({ file }) => file).join(" and ")}; rename one`,
      ]),
    };
  });
}

function missing(name: string, { folder, all }: { folder: string; all: readonly Found[] }): OsError {
  const names = all.flatMap((found) => ("agent" in found ? [found.name] : []));
  const broken = all.length - names.length;
  const there = names.length === 0 ? "there is none" : `there are ${names.join(", ")}`;
  const rest = broken === 0 ? "" : ` (and ${broken} that cannot be used; \`reeve doctor\` says why)`;
  return new OsError("not_found", `There is no agent ${JSON.stringify(name)} in ${folder}; ${there}${rest}.`, {
    data: { what: "agent", id: name },
  });
}
