// What a survivor does where no control group holds the containers: it has the engine end and strike out what is left of this run, until
// for a while there is no more.
import { Survivor } from "../../../linux/survivor.ts";
import { quoted } from "../inside/first-process.ts";

export type Strikes = {
  /** Says the containers of this run, each by a word. */
  readonly list: readonly string[];
  /** Ends and strikes out those that are named behind it. */
  readonly remove: readonly string[];
  /** A file with the number of a process that is of no use when nothing is left. */
  readonly last: string;
};

const scriptOf = ({ list, remove, last }: Strikes): string => `
round=0
calm=0
while [ $round -lt 200 ] && [ $calm -lt 10 ]; do
  round=$((round + 1))
  calm=$((calm + 1))
  # An engine may fail to tell, while its books are held by what it was starting: that is no sign that nothing is left.
  if ! names=$(${list.map(quoted).join(" ")}); then
    calm=0
  elif [ -n "$names" ]; then
    calm=0
    ${remove.map(quoted).join(" ")} $names
  fi
  sleep 0.2
done
last=
read -r last < ${quoted(last)}
[ -n "$last" ] && kill -9 "$last"
`;

export const startGuard = (strikes: Strikes, env: Readonly<Record<string, string>>): Survivor =>
  new Survivor({ name: "reeve-guard", script: scriptOf(strikes), args: [], env });
