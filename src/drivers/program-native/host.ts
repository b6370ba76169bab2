// Programs that are functions in the kernel's own process: the loop of Markdown agents, and agents that the system brings along.
//
// Boundary: this folder knows no `sys` and no loop; whoever joins the parts hands it functions that take a start.
//
// Invariants:
//   N1. A program begins in a turn after `start`, so the kernel holds the run before the first call arrives.
//   N2. After `dispose` nothing that the program does reaches the kernel, and no promise it holds ever settles. The
//       function itself cannot be stopped: it is left waiting and forgotten.
import { OsError } from "../../abi/errors.ts";
import type { Json } from "../../abi/json.ts";
import type { Issue, ProgramHost, ProgramRun, ProgramStart } from "../../ports/program.ts";

export type NativeProgram = (start: ProgramStart) => Promise<Json>;

export type NativePrograms = {
  /** Runs agents of kind `markdown`. */
  readonly markdown?: NativeProgram;
  /** Runs agents of kind `command`. */
  readonly command?: NativeProgram;
  /** Runs agents of kind `native`, by the name in their program. */
  readonly native?: ReadonlyMap<string, NativeProgram>;
};

/** A start of any other kind, or of a name that is not there, is a run that rejects with `unsupported`. */
export function createNativeHost(programs: NativePrograms): ProgramHost {
  const runs = new Set<ProgramRun>();
  return {
    start(start) {
      const run = runOf(programFor(programs, start), start, () => runs.delete(run));
      runs.add(run);
      return run;
    },
    async close() {
      for (const run of runs) run.dispose();
    },
  };
}

function runOf(program: NativeProgram, start: ProgramStart, onEnd: () => void): ProgramRun {
  let disposed = false;
  // A value or error that comes after disposal is dropped: its promise stays open for ever (N2).
  const alive = <T>(promise: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      promise.then(
        (value) => disposed || resolve(value),
        (error: unknown) => disposed || reject(error as Error),
      );
    });
  const issue: Issue = (number, syscall, args) =>
    disposed ? new Promise<Json>(() => {}) : alive(start.issue(number, syscall, args));
  const result = alive(
    Promise.resolve()
      .then(() => (disposed ? null : program({ ...start, issue })))
      // A program without a result, in plain JavaScript, has the result null, as it has over a socket.
      .then((value: Json | undefined) => value ?? null)
      .finally(onEnd),
  );
  return {
    result,
    dispose() {
      disposed = true;
      onEnd();
    },
  };
}

function programFor(programs: NativePrograms, { agent }: ProgramStart): NativeProgram {
  const { program, manifest } = agent;
  if (program.kind === "markdown" && programs.markdown !== undefined) return programs.markdown;
  if (program.kind === "command" && programs.command !== undefined) return programs.command;
  const found = program.kind === "native" ? programs.native?.get(program.name) : undefined;
  if (found !== undefined) return found;
  const what =
    program.kind === "native"
      ? `the built-in program ${JSON.stringify(program.name)}`
      : `programs of kind ${program.kind}`;
  return async () => {
    throw new OsError(
      "unsupported",
      `The agent ${manifest.name} cannot run: there is no way to run ${what} here. Built in are: ${namesOf(programs)}.`,
      { data: { agent: manifest.name } },
    );
  };
}

const namesOf = ({ markdown, native }: NativePrograms): string =>
  [...(markdown === undefined ? [] : ["Markdown agents"]), ...(native?.keys() ?? [])].join(", ") || "none";
