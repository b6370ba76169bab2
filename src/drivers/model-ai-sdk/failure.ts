// What went wrong with a call, as an OsError. The one place that knows the shapes in which the AI SDK's packages fail.
//
// Invariants:
//   F1. No message and no data holds a key: every text from outside is cleared of the endpoint's secrets before it is clipped.
//       (Of those with 8 characters or more: shorter ones are the placeholders that local servers are given, and words.)
//   F2. The original error is not kept as `cause`: it holds the whole request, and at times the headers.
//   F3. `retryable` is what the provider says of an answer with an error status (`x-should-retry`), else what its package says;
//       but never of an account without money. Of a stream that broke off after it had begun it is true, unless the
//       provider itself said in the stream that the request is at fault.
import { AISDKError, APICallError, InvalidResponseDataError, JSONParseError } from "@ai-sdk/provider";
import { OsError } from "../../abi/errors.ts";
import type { RateReport } from "../../ports/scheduler.ts";
import type { Endpoint } from "./endpoint.ts";
import { rateReport } from "./rates.ts";
import { retryDelayMs } from "./retry-delay.ts";

const MESSAGE_LENGTH_MAX = 500;
const SECRET_LENGTH_MIN = 8;

export type FailedCall = {
  /** `provider/model`. */
  readonly label: string;
  /** The provider's name in the configuration. */
  readonly name: string;
  readonly endpoint: Endpoint;
  /** Whether the answer had begun. */
  readonly streaming: boolean;
  readonly nowMs: number;
};

type Facts = {
  readonly said: string;
  readonly status?: number | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs?: number | undefined;
  /** The request cannot be said in the provider's format, so it was never sent. */
  readonly unsayable?: boolean;
};

export function modelFailure(error: unknown, call: FailedCall): OsError {
  if (OsError.is(error)) return error;
  const facts = factsOf(error, call);
  const { status, retryable, retryAfterMs } = facts;
  const words = clip(redact(facts.said.trim(), call.endpoint.secrets));
  const what = `${happened(call, facts)}${words === "" ? "" : `: ${words}`}`;
  return new OsError("model_failed", `${call.label} failed: ${what.replace(/[.!]$/, "")}. ${remedy(call, facts)}`, {
    retryable,
    data: {
      model: call.label,
      ...(status !== undefined && { status }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    },
  });
}

/** What a failed call says of the provider's limits; undefined if that is nothing. `failed` is `modelFailure` of the same error. */
export function rateOfFailure(error: unknown, failed: OsError, nowMs: number): RateReport | undefined {
  const headers = APICallError.isInstance(error) ? (error.responseHeaders ?? {}) : {};
  const { status, retryAfterMs } = failed.data;
  return rateReport(headers, { nowMs, failure: { status, retryable: failed.retryable, retryAfterMs } });
}

function factsOf(error: unknown, call: FailedCall): Facts {
  if (APICallError.isInstance(error)) return ofApiCall(error, call);
  if (InvalidResponseDataError.isInstance(error) || JSONParseError.isInstance(error))
    return { said: error.message, retryable: true };
  // The request cannot be said in this provider's format, or the answer is in another one: the same again would fail again.
  if (AISDKError.isInstance(error)) return { said: error.message, retryable: false, unsayable: !call.streaming };
  if (error instanceof Error) return { said: withCause(error), retryable: call.streaming };
  return ofErrorFrame(error);
}

function ofApiCall(error: APICallError, call: FailedCall): Facts {
  // A good status on an error means that the answer could not be read to its end.
  const status = error.statusCode === undefined || error.statusCode < 300 ? undefined : error.statusCode;
  if (status === undefined && call.streaming) return { said: bottomOf(error).message, retryable: true };
  return {
    said: status === undefined ? withCause(error) : error.message || (error.responseBody ?? ""),
    status,
    retryable: mayHelpAgain(error),
    retryAfterMs: retryDelayMs(error.responseHeaders ?? {}, { body: error.responseBody, nowMs: call.nowMs }),
  };
}

const NO_MONEY = /"(?:type|code)":\s*"(?:insufficient_quota|billing_\w+)"/;

/** An account without money is refused with 429 as well, and no waiting fills it. */
function mayHelpAgain({ responseHeaders, responseBody, isRetryable }: APICallError): boolean {
  if (NO_MONEY.test(responseBody ?? "")) return false;
  const said = responseHeaders?.["x-should-retry"];
  return said === "true" || (said !== "false" && isRetryable);
}

/** The message of an error with what lies at its bottom, which for network failures says more: at times it has a code only. */
function withCause(error: Error): string {
  const bottom = bottomOf(error);
  const code = "code" in bottom && typeof bottom.code === "string" ? bottom.code : "";
  const cause = bottom.message === "" ? code : bottom.message;
  return bottom === error || cause === "" || error.message.includes(cause)
    ? error.message
    : `${error.message.replace(/:\s*$/, "")}: ${cause}`;
}

function bottomOf(error: Error): Error {
  let bottom = error;
  for (let depth = 0; depth < 8 && bottom.cause instanceof Error; depth++) bottom = bottom.cause;
  return bottom;
}

const AT_FAULT = /invalid_request|authentication|permission|not_found|insufficient_quota|context_length|billing/;

/** An error that the provider reports in the stream, as plain data: { message, type?, code?, statusCode?, isRetryable? }. */
function ofErrorFrame(frame: unknown): Facts {
  const { message, type, code, statusCode, isRetryable } = (
    typeof frame === "object" && frame !== null ? frame : {}
  ) as Record<string, unknown>;
  const status = [statusCode, code].map(Number).find((number) => number >= 400 && number < 600);
  const byStatus =
    status === undefined ? undefined : status === 408 || status === 409 || status === 429 || status >= 500;
  return {
    said: typeof message === "string" ? message : (JSON.stringify(frame) ?? ""),
    status,
    retryable: typeof isRetryable === "boolean" ? isRetryable : (byStatus ?? !AT_FAULT.test([type, code].join(" "))),
  };
}

function happened(call: FailedCall, { status, unsayable }: Facts): string {
  if (unsayable === true) return "its provider's format has no way to say this request";
  if (status !== undefined) return `the provider answered ${status}`;
  return call.streaming ? "its answer broke off" : `the call of ${new URL(call.endpoint.baseUrl).origin} failed`;
}

function remedy(call: FailedCall, { status, retryable, retryAfterMs, unsayable }: Facts): string {
  const { name, endpoint } = call;
  if (retryAfterMs !== undefined && retryable)
    return `Try again after ${Math.ceil(retryAfterMs / 1000)} s; if it goes on, lower \`models.${name}.concurrency\`.`;
  if (status === 429 && retryable) return `Try again later; if it goes on, lower \`models.${name}.concurrency\`.`;
  if (status === 402 || status === 429)
    return "No waiting helps, by the provider's word: check the account there, its balance and its limits.";
  if (status === 401 || status === 403)
    return `Check ${endpoint.keyName === undefined ? `that this server needs no key (\`models.${name}.keyFrom\` names one)` : `the key in ${endpoint.keyName}`}.`;
  if (status === 404) return `Check the model's name and the base URL (${endpoint.baseUrl}).`;
  if (status !== undefined && status >= 300 && status < 400)
    return `Redirects are not followed, since the key is for the configured address alone: check the base URL (${endpoint.baseUrl}).`;
  if (retryable && call.streaming) return "No part of it counts; try again.";
  if (retryable)
    return status === undefined
      ? "Check that the server there runs and can be reached, then try again."
      : "Try again later.";
  if (status === undefined && unsayable !== true)
    return `Check the base URL (${endpoint.baseUrl}), and that the server there speaks the format of \`type: ${endpoint.type}\`.`;
  return "Change the request (the messages, tools or settings) or the model: the same again would be refused again.";
}

/** Longest first, so that a secret that holds another is removed whole. */
function redact(text: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length >= SECRET_LENGTH_MIN)
    .toSorted((a, b) => b.length - a.length)
    .reduce((clean, secret) => clean.replaceAll(secret, "[key]"), text);
}

const clip = (text: string): string =>
  text.length <= MESSAGE_LENGTH_MAX ? text : `${text.slice(0, MESSAGE_LENGTH_MAX - 1)}…`;
