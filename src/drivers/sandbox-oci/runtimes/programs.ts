// Programs of this machine: where they are, and what they answer.
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { promisify } from "node:util";
import { PATH } from "./runtime.ts";

const run = promisify(execFile);
const FOLDERS = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];
const ASK_TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** Where a program is; undefined if it is not. */
export function placeOf(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      // Not there, which is the answer.
      return false;
    }
  });
}

/** `log`: all that it said when it failed, `failed` the last of it. */
export type Answer = { readonly said: string } | { readonly failed: string; readonly log: string };

export type AskOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** For its standard input. */
  readonly input?: Uint8Array;
  readonly timeoutMs?: number;
};

type Failure = { readonly stderr?: string; readonly message: string; readonly killed?: boolean };

/** Never rejects: a program that fails answers with the last that it says. */
export async function ask(
  path: string,
  args: readonly string[],
  { env = {}, input, timeoutMs = ASK_TIMEOUT_MS }: AskOptions = {},
): Promise<Answer> {
  try {
    const answer = run(path, [...args], {
      env: { PATH, ...env },
      cwd: "/",
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      maxBuffer: ANSWER_BYTES_MAX,
    });
    // What it does not read of it, it tells by failing.
    answer.child.stdin?.on("error", () => {});
    answer.child.stdin?.end(input);
    return { said: (await answer).stdout.trim() };
  } catch (error) {
    const { stderr, message, killed } = error as Failure;
    if (killed === true) return failure(`${path} did not answer within ${timeoutMs / 1_000} s`);
    return failure(stderr === undefined || stderr.trim() === "" ? message : stderr);
  }
}

const failure = (told: string): Answer => ({
  failed: told.trim().split("\n").at(-1)?.replace(/\.$/, "") ?? told,
  log: told,
});
