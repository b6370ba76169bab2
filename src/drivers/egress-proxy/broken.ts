// Why an exchange is broken off, in words that tell nothing of the far side.

/** What ends an exchange on our own account. */
export class Broken extends Error {}

/** The bytes of the way out are used up. */
export const spent = (): Broken => new Broken("the bytes of this way out are used up");
export const late = (): Broken => new Broken("it took too long");
export const prattling = (): Broken => new Broken("it answered again and again that it would answer");
/** Whatever was changed to, what is said in it would pass unseen. */
export const noWebSocket = (): Broken => new Broken("what came back is no WebSocket");
/** A value of a secret could stand in it unseen. */
export const unreadable = (): Broken => new Broken("the answer is packed in a way that cannot be looked through");

export function whyBroken(error: unknown): string {
  if (error instanceof Broken) return error.message;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|^ERR_TLS|^ERR_SSL/.test(code))
    return "its certificate or TLS is not in order";
  if (code.startsWith("HPE_")) return "what came back is no HTTP";
  return "the connection could not be made or broke off";
}
