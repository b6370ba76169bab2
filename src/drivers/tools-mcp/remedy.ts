// What to do about a server that does not work. Arguments, headers and queries may hold secrets and are not repeated, but for the
// plain name of a package.
import { basename } from "node:path";
import type { Server } from "./connection.ts";
import { fetchesInVain, installing } from "./fetching.ts";

const ENGINES: ReadonlySet<string> = new Set(["docker", "podman", "nerdctl"]);

export function remedyFor({ keys, config }: Server): string {
  if (config.type === "mcp-http") return `Check that a server answers at ${withoutSecrets(config.url)} (${keys.url}).`;
  const { command, args, isolation, sandbox } = config;
  const program = basename(command);
  if (isolation === "process" && ENGINES.has(program))
    return `Its engine cannot be reached from a sandbox. Set ${keys.isolation} to "none" to run "${command}" with your rights; what its arguments give the container is then all that keeps it in.`;
  if (isolation === "process" && fetchesInVain({ command, egress: sandbox.egress })) {
    return `"${command}" runs what is installed and can fetch nothing, since its sandbox has no network. Install the server (${installing(program, args)}), or allow a registry in ${keys.egress}.`;
  }
  return `Check that "${command}" (${keys.command}) runs by itself with the arguments, folder and environment that stand beside it.`;
}

const withoutSecrets = (url: string): string => {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
};
