// Identifiers. Each is a branded string, so that one kind cannot stand in for another.
import { z } from "zod";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A process: `p_` and 12 characters of Crockford base 32 (60 bits). A unique beginning will do at the command line. */
export type ProcessId = Branded<"ProcessId">;
/** A request to a human (approve, answer or settle): `r_` and 12 characters. */
export type RequestId = Branded<"RequestId">;
/** A message in a process's mailbox: `m_` and 12 characters. */
export type MessageId = Branded<"MessageId">;
/** A payload's address: base64url of HMAC-SHA256(key of its data subject, bytes); 43 characters. */
export type Address = Branded<"Address">;
/** A data subject: whose data a payload is. Payloads of one subject are stored once and erased together. */
export type SubjectId = Branded<"SubjectId">;

const idPattern = (prefix: string): RegExp => new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{12}$`);

const branded = <T extends string>(pattern: RegExp, what: string): z.ZodType<T, T> =>
  z.string().regex(pattern, `is not ${what}`) as unknown as z.ZodType<T, T>;

export const processIdSchema: z.ZodType<ProcessId, ProcessId> = branded(idPattern("p"), "a process id");
export const requestIdSchema: z.ZodType<RequestId, RequestId> = branded(idPattern("r"), "a request id");
export const messageIdSchema: z.ZodType<MessageId, MessageId> = branded(idPattern("m"), "a message id");
export const addressSchema: z.ZodType<Address, Address> = branded(/^[\w-]{43}$/, "a payload address");
export const subjectIdSchema: z.ZodType<SubjectId, SubjectId> = branded(/^[a-zA-Z0-9][\w.:@-]{0,127}$/, "a subject id");

const CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz";

/** The 12 characters of an id, from the first 60 bits of at least 8 bytes. */
export function idBody(bytes: Uint8Array): string {
  let bits = 0n;
  for (let at = 0; at < 8; at += 1) bits = (bits << 8n) | BigInt(bytes[at] ?? 0);
  let text = "";
  for (let at = 0; at < 12; at += 1) text += CROCKFORD[Number((bits >> BigInt(59 - at * 5)) & 31n)] ?? "";
  return text;
}

export const processIdOf = (bytes: Uint8Array): ProcessId => `p_${idBody(bytes)}` as ProcessId;
export const requestIdOf = (bytes: Uint8Array): RequestId => `r_${idBody(bytes)}` as RequestId;
export const messageIdOf = (bytes: Uint8Array): MessageId => `m_${idBody(bytes)}` as MessageId;
