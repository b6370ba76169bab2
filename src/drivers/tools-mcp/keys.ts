// Where in the configuration a server's settings stand: for messages that say what to write.
import { plain } from "./faults.ts";

export type Keys = {
  /** Of its command and its address. */
  readonly command: string;
  readonly url: string;
  readonly isolation: string;
  readonly sandbox: string;
  readonly egress: string;
  /** Undefined where none can be set. */
  readonly issuer: string | undefined;
};

/** Of a server that is a source of its own. */
export const keysOf = (source: string): Keys => ({
  command: `tools.${source}.command`,
  url: `tools.${source}.url`,
  isolation: `tools.${source}.isolation`,
  sandbox: `tools.${source}.sandbox`,
  egress: `tools.${source}.egress`,
  issuer: `tools.${source}.oauth.issuer`,
});

/** Of a server that an `.mcp.json` names, which the configuration calls `source`. */
export function keysInJson(source: string, server: string, file: string): Keys {
  const own = /^[A-Za-z_]\w*$/.test(server) ? `.${server}` : `[${JSON.stringify(server)}]`;
  const sandbox = `tools.${source}.sandbox${own}`;
  return {
    command: `\`command\` of "${plain(server, 64)}" in ${file}`,
    url: `\`url\` of "${plain(server, 64)}" in ${file}`,
    isolation: `tools.${source}.isolation${own}`,
    sandbox,
    egress: `${sandbox}.egress`,
    issuer: undefined,
  };
}
