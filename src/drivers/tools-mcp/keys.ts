// Where in the configuration a server's settings stand: for messages that say what to write.

export type Keys = {
  readonly isolation: string;
  readonly sandbox: string;
  readonly egress: string;
  /** Undefined where none can be set. */
  readonly issuer: string | undefined;
};

/** Of a server that is a source of its own. */
export const keysOf = (source: string): Keys => ({
  isolation: `tools.${source}.isolation`,
  sandbox: `tools.${source}.sandbox`,
  egress: `tools.${source}.egress`,
  issuer: `tools.${source}.oauth.issuer`,
});

/** Of a server that an `.mcp.json` names, which the configuration calls `source`. */
export function keysInJson(source: string, server: string): Keys {
  const own = /^[A-Za-z_]\w*$/.test(server) ? `.${server}` : `[${JSON.stringify(server)}]`;
  const sandbox = `tools.${source}.sandbox${own}`;
  return { isolation: `tools.${source}.isolation${own}`, sandbox, egress: `${sandbox}.egress`, issuer: undefined };
}
