// Which certificate authorities this machine trusts. Read once: it takes a while, and changes with the machine alone.
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";

let read: readonly string[] | undefined;

/** What the system trusts, what Node brings, and NODE_EXTRA_CA_CERTS. PEM. */
export function machineAuthorities(): readonly string[] {
  read ??= [...new Set([...getCACertificates("default"), ...getCACertificates("system")])];
  return read;
}

/** Trusts them, and `more` (PEM). */
export const trust = (more: readonly string[] = []): SecureContext =>
  createSecureContext({ ca: [...machineAuthorities(), ...more] });
