// What outlives Reeve by a moment where no control group holds its containers: a shell that waits for Reeve's end, and then has the
// engine end and strike out what is left of this run, until for a while there is no more.
//
// It holds one end of a pipe whose other end is Reeve's alone; the system closes that however Reeve ends.
import { spawn, type ChildProcess } from "node:child_process";
import { quoted } from "../inside/first-process.ts";

/** Written before an orderly end, after which nothing is left to do. */
const DONE = "done\n";

export type Strikes = {
  /** Says the containers of this run, each by a word. */
  readonly list: readonly string[];
  /** Ends and strikes out those that are named behind it. */
  readonly remove: readonly string[];
  /** A file with the number of a process that is of no use when nothing is left. */
  readonly last: string;
};

const scriptOf = ({ list, remove, last }: Strikes): string => `
trap '' INT TERM HUP QUIT
read -r word
[ "$word" = done ] && exit 0
round=0
calm=0
while [ $round -lt 200 ] && [ $calm -lt 10 ]; do
  round=$((round + 1))
  calm=$((calm + 1))
  names=$(${list.map(quoted).join(" ")}) || exit 1
  if [ -n "$names" ]; then
    calm=0
    ${remove.map(quoted).join(" ")} $names
  fi
  sleep 0.2
done
last=
read -r last < ${quoted(last)}
[ -n "$last" ] && kill -9 "$last"
`;

export class Guard {
  readonly #process: ChildProcess;
  readonly #gone: Promise<void>;

  constructor(strikes: Strikes, env: Readonly<Record<string, string>>) {
    this.#process = spawn("/bin/sh", ["-c", scriptOf(strikes), "reeve-guard"], {
      // A session of its own: signals of the terminal are not meant for it.
      ...{ detached: true, cwd: "/", env },
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#gone = new Promise((resolve) => this.#process.once("close", () => resolve()));
    // A shell that cannot be started leaves the books to the next start; it must not end Reeve.
    this.#process.on("error", () => {});
    this.#process.stdin?.on("error", () => {});
    this.#process.unref();
    const stdin = this.#process.stdin as (NodeJS.WritableStream & { unref?: () => void }) | null;
    stdin?.unref?.();
  }

  /** After the last container. */
  async close(): Promise<void> {
    if (this.#process.pid === undefined) return;
    this.#process.ref();
    this.#process.stdin?.end(DONE);
    await this.#gone;
  }
}
