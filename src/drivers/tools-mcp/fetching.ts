// Programs that fetch what they run, which in a sandbox without a way out they cannot.
import { basename } from "node:path";

/** Programs that fetch what they run, by how that is installed instead. */
const FETCHING: Readonly<Record<string, (what: string) => string>> = {
  npx: (what) => `npm install ${what}`,
  bunx: (what) => `bun add ${what}`,
  pnpx: (what) => `pnpm add ${what}`,
  uvx: (what) => `uv tool install ${what}, and name its own command here`,
  pipx: (what) => `pipx install ${what}, and name its own command here`,
};
const PACKAGE = /^(?:@[\w.-]+\/)?\w[\w.-]*(?:@[\w.^~-]+)?$/;

/** By these they say at once that something is not there, and do not ask a network for it. */
export const OFFLINE = { npm_config_offline: "true", UV_OFFLINE: "1" };

/** Whether a program would fetch what it runs, and its sandbox has no way out for that. */
export const fetchesInVain = ({ command, egress }: { command: string; egress: readonly unknown[] }): boolean =>
  egress.length === 0 && Object.hasOwn(FETCHING, basename(command));

/** The command that installs what such a program is to run. Of its arguments only the plain name of a package is repeated. */
export function installing(program: string, args: readonly string[]): string {
  const named = args.find((arg) => !arg.startsWith("-") && arg !== "run");
  return FETCHING[program]?.(named !== undefined && PACKAGE.test(named) ? named : "PACKAGE") ?? "";
}
