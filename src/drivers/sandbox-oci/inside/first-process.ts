// The first process inside: a shell that says it is there, waits for the word to begin, starts the job, and waits for its end.
//
// Being the first it takes over processes that lose their parents, and its end is the end of all. The job is not the first, so that
// signals do to it what they do anywhere.
//
// A runtime in the foreground copies what a program says through itself, and would wait for whoever does not read it. So the job
// has streams of its own, which pass the runtime by: descriptors that it hands on, or pipes with names (pipes.ts).
//
// Invariants:
//   I1. The job begins only after Reeve has found everything in force and has said so; without that word there is no job.
//   I2. Nothing is open in the job but 0, 1, 2, and 3 where there is a channel.
//   I3. The environment comes by the word: it stands in no command line, in no file, and in no engine's books.
//   I4. Nothing that a runtime copies is open in it: the job could find that in /proc, and write to the machine by it without a bound.
//   I5. The job's status is told through the gate. What a runtime ends with may be of its own making.

/** Numbers inside; all that a runtime hands on begin at 3, without a gap. Told by pipes, the gate has two sides. */
export const DESCRIPTORS = { channel: 3, stdin: 4, stdout: 5, stderr: 6, gate: 7 } as const;
/** How many the runtime hands on. */
export const HANDED_ON = 5;

/** Where pipes are found inside. */
export const PIPES_INSIDE = "/run/sandbox";

export type Carrier = "descriptors" | "pipes";

/** 7 is where the word comes from, 8 is where it is said that the sandbox stands, and how its job ended. */
const OPEN: Readonly<Record<Carrier, string>> = {
  descriptors: "exec 8>&7",
  pipes: ["4<stdin", "5>stdout", "6>stderr", "7<word", "8>ready"]
    .map((pipe) => `exec ${pipe.replace(/[a-z]+/, (name) => `${PIPES_INSIDE}/${name}`)}`)
    .join("\n"),
};

// Lines of the word begin with a dot, so that none is taken for its end. What a runtime sets of itself goes: nobody has named it.
const script = (carrier: Carrier, channel: boolean): string =>
  `
${OPEN[carrier]}
exec </dev/null >/dev/null 2>&1
unset HOSTNAME HOME TERM container
echo >&8
said=
word=
while IFS= read -r word <&7; do
  case $word in
  .*) said="$said\${word#.}
" ;;
  *) break ;;
  esac
done
[ "$word" = begin ] || exit 125
(
  cd -- "$1" || exit 1
  shift
  # Of its own making, and nothing that was named.
  unset word PWD OLDPWD SHLVL
  eval "$said"
  exec "$@"
) 0<&4 1>&5 2>&6 4>&- 5>&- 6>&- 7>&- 8>&-${channel ? "" : " 3>&-"}
status=$?
echo "$status" >&8
exit "$status"
`;

/** A name that a shell does not know as one is lost on the way through it. */
const isOfShells = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !LOST.has(name);
const LOST: ReadonlySet<string> = new Set(["PWD", "OLDPWD", "SHLVL", "word", "said", "IFS", "OPTIND", "PPID"]);

/** For a shell: one word, whatever stands in it. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** What the gate is told: the environment of the job, and that it may begin. */
export function wordOf(env: Readonly<Record<string, string>>): string {
  const entries = Object.entries(env);
  const exported = entries
    .filter(([name]) => isOfShells(name))
    .map(([name, value]) => `export ${name}=${quoted(value)}`);
  const others = entries.filter(([name]) => !isOfShells(name)).map(([name, value]) => quoted(`${name}=${value}`));
  const lines = [...exported, ...(others.length === 0 ? [] : [`set -- /usr/bin/env ${others.join(" ")} "$@"`])];
  const text = lines.flatMap((line) => line.split("\n")).map((line) => `.${line}\n`);
  return `${text.join("")}begin\n`;
}

export type InsideOptions = { readonly cwd: string; readonly channel: boolean; readonly carrier: Carrier };

export const insideScript = (
  command: readonly string[],
  { cwd, channel, carrier }: InsideOptions,
): readonly [string, ...string[]] => ["/bin/sh", "-c", script(carrier, channel), "sandbox", cwd, ...command];
