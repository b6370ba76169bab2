// Errors as they leave by HTTP: problem documents of RFC 9457.
//
// Besides the standard members a problem carries `code`, `retryable` and `data`, so that a client can make the same
// OsError of it that was thrown here.
import { ERRORS, errorRecord, type ErrorCode } from "../abi/errors.ts";
import type { JsonObject } from "../abi/json.ts";

export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly data: JsonObject;
};

/** The first sentence of an error's line in the table. */
const titleOf = (code: ErrorCode): string => ERRORS[code].doc.split(/(?<=[.;])\s/)[0]?.replace(/[.;]$/, "") ?? code;

/** Any thrown value as a problem. `status` overrides the table's, where HTTP has a more exact one. */
export function problemOf(error: unknown, status?: number): Problem {
  const { code, message, retryable, data } = errorRecord(error);
  return {
    type: `urn:reeve:error:${code}`,
    title: titleOf(code),
    status: status ?? ERRORS[code].status,
    detail: message,
    code,
    retryable,
    data,
  };
}

export function problemResponse(error: unknown, status?: number): Response {
  const problem = problemOf(error, status);
  const headers = new Headers({ "content-type": "application/problem+json" });
  if (problem.status === 401) headers.set("www-authenticate", 'Bearer realm="reeve"');
  return new Response(JSON.stringify(problem), { status: problem.status, headers });
}
