// The first process inside: a shell that says it is there, waits for the word to begin, starts the job, and waits for its end.
//
// Being the first it takes over processes that lose their parents, and its end is the end of all. The job is not the first, so that
// signals do to it what they do anywhere.
//
// A runtime in the foreground copies what a program says through itself, and would wait for whoever does not read it. So the job
// has streams of its own, which pass the runtime by.
//
// Invariants:
//   I1. The job begins only after Reeve has found everything in force and has said so; without that word there is no job.
//   I2. Nothing is open in the job but 0, 1, 2, and 3 where there is a channel.

/** Numbers inside; all that the runtime hands on begin at 3, without a gap. */
export const DESCRIPTORS = { channel: 3, stdin: 4, stdout: 5, stderr: 6, gate: 7 } as const;
/** How many the runtime hands on. */
export const HANDED_ON = 5;

export type InsideOptions = {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly channel: boolean;
};

const script = (channel: boolean): string =>
  `
echo >&7
read -r word <&7 || exit 125
(
  cd -- "$1" || exit 1
  shift
  # Of its own making, and nothing that was named.
  unset word PWD OLDPWD SHLVL
  exec "$@"
) 0<&4 1>&5 2>&6 4>&- 5>&- 6>&- 7>&-${channel ? "" : " 3>&-"}
exit $?
`;

/** A name that a shell does not know as one is lost on the way through it. */
const isOfShells = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !LOST.has(name);
const LOST: ReadonlySet<string> = new Set(["PWD", "OLDPWD", "SHLVL", "word", "IFS", "OPTIND", "PPID"]);

export function insideScript(
  command: readonly string[],
  { cwd, env, channel }: InsideOptions,
): readonly [string, ...string[]] {
  const lost = Object.entries(env).filter(([name]) => !isOfShells(name));
  const given = lost.map(([name, value]) => `${name}=${value}`);
  return [
    ...(["/bin/sh", "-c", script(channel), "sandbox", cwd] as const),
    ...(given.length === 0 ? command : ["/usr/bin/env", ...given, ...command]),
  ];
}
