// How a program is begun of which nobody knows whether it is there: by a shell inside that becomes it, or says why it cannot.
//
// The shell is the one place that sees this in every kind of sandbox, with a way out before it or without. A program that is begun
// finds nothing of it: the shell is the program by then.
//
// Invariants:
//   B1. A program that is not there ends with 127, one that cannot be executed with 126, as shells, env and docker have it; what it is and
//       what to do stands on standard error. Nothing was run then.
//   B2. Of a program that was begun, status and words are its own, whatever they are.

/**
 * It looks itself, since the words of shells differ and say little; what only shows when it is tried (a file for another processor, an
 * interpreter that is missing) is said after the shell's own line. bash comes to that only if it is told to go on, dash and others by way of the
 * trap. busybox, the shell of some images, takes a file for another processor for a script.
 */
const SCRIPT = `
say() { printf 'reeve: %s: %s\\n' "$reeve_name" "$1" >&2; }
reeve_name=$1
reeve_at=
case $1 in
*/*) reeve_at=$1 ;;
*)
  set -f
  IFS=:
  for reeve_folder in $PATH; do
    [ -f "$reeve_folder/$1" ] || continue
    reeve_at=$reeve_folder/$1
    [ ! -x "$reeve_at" ] || break
  done
  unset IFS
  set +f
  ;;
esac
if [ -z "$reeve_at" ]; then
  say "there is no such program in the sandbox. It looks in the PATH there, which is $PATH: the machine's own programs. Install it for all users of the machine, or bring it in with a workspace (--workspace FOLDER) and name it by its path there, as in ./$1."
  exit 127
fi
if [ ! -e "$reeve_at" ]; then
  say "there is no such file in the sandbox. Inside are the machine's programs (/usr) and /ws, where it begins: a copy of the folder that --workspace names, empty without one. Name a folder that has the program, and the program by its path in it."
  exit 127
fi
if [ -d "$reeve_at" ]; then
  say "it is a folder. Name a program in it."
  exit 126
fi
if [ ! -x "$reeve_at" ]; then
  say "it may not be executed. Allow that (chmod +x) where it comes from, or name the program that reads it, as in: sh $reeve_at."
  exit 126
fi
if command -v shopt >/dev/null 2>&1; then shopt -s execfail; fi
trap 'say "it cannot be executed. It is made for another kind of machine, or the program that its first line names (or the loader that it needs) is not in the sandbox."; exit 126' EXIT
exec "$@"
`;

/** The command by which this one is begun. */
export const begun = (command: readonly [string, ...string[]]): readonly [string, ...string[]] => [
  "/bin/sh",
  "-c",
  SCRIPT,
  "reeve",
  ...command,
];
