// What became of a call that ended with an error.
//
// | what happened                                                        | outcome         |
// |----------------------------------------------------------------------|-----------------|
// | the request never left (see dispatch.ts)                             | `not_performed` |
// | HTTP 401, 403, 404, 405, 406, 413, 415, 429, 501, 505: refused at    |                 |
// | the door                                                             | `not_performed` |
// | any JSON-RPC error, whatever its code: the server's answer           | `failed`        |
// | the server asks for input before it goes on, which nobody here gives | `failed`        |
// | an answer to the call that is no result of a tool                    | `failed`        |
// | any other HTTP 4xx but 408: the server's answer                      | `failed`        |
// | all else: no answer, no whole JSON-RPC message, HTTP 408, other 5xx  | `unknown`       |
// | (lib/http-status.ts)                                                 |                 |
//
// A JSON-RPC error is not taken as proof that nothing was done, not even -32601 and -32602: servers answer so from
// within a tool as well. An answer whose content cannot be used says that the call was performed: there is nothing to ask a human
// about, and nothing to repeat. A 503 is not taken as a refusal: proxies answer so when a server dies over a request.
import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from "@modelcontextprotocol/client";
import { errorRecord } from "../../abi/errors.ts";
import type { ToolOutcome } from "../../ports/tools.ts";
import { leavesOpen } from "../../lib/http-status.ts";
import type { Dispatch } from "./dispatch.ts";
import { ownWord, plain, textOf, unavailable } from "./faults.ts";

const REFUSED = new Set([401, 403, 404, 405, 406, 413, 415, 429, 501, 505]);

export type CallFault = {
  readonly source: string;
  readonly error: unknown;
  readonly dispatch: Dispatch;
  /** What is known of the server if its connection has ended. */
  readonly ended: string | undefined;
  readonly givenUp: boolean;
  readonly remedy: string;
};

const failed = (text: string): ToolOutcome => ({ kind: "failed", content: { text } });

export const notPerformed = (error: unknown): ToolOutcome => ({
  kind: "not_performed",
  error: errorRecord(error, "tool_unavailable"),
});

function refusal({ source, remedy }: CallFault, error: SdkHttpError): ToolOutcome {
  const remedies: Readonly<Record<number, string>> = {
    401: "Set the headers that it asks for in the configuration.",
    403: "Set the headers that it asks for in the configuration.",
    413: "Send less.",
    429: "Try again later.",
  };
  return notPerformed(
    unavailable(
      source,
      `refused the call with HTTP ${error.status}: ${textOf(error)}`,
      remedies[error.status] ?? remedy,
      error,
    ),
  );
}

/** Also where it does not say what input. */
const asksForInput = ({ data }: SdkError): boolean =>
  typeof data === "object" &&
  data !== null &&
  (("resultType" in data && data.resultType === "input_required") ||
    ("violation" in data && data.violation === "input-required-missing-both"));

export function outcomeOfFault(fault: CallFault): ToolOutcome {
  const { source, error, dispatch } = fault;
  if (!dispatch.left)
    return notPerformed(
      ownWord(error) ??
        unavailable(source, `did not get the call: ${fault.ended ?? textOf(error)}`, fault.remedy, error),
    );
  if (ProtocolError.isInstance(error)) return failed(`Error ${error.code}: ${error.message}`);
  if (SdkHttpError.isInstance(error)) {
    if (REFUSED.has(error.status)) return refusal(fault, error);
    if (error.status >= 400 && !leavesOpen(error.status))
      return failed(
        `HTTP ${error.status}: ${plain(typeof error.data["text"] === "string" ? error.data["text"] : error.message)}`,
      );
  }
  if (SdkError.isInstance(error) && asksForInput(error))
    return failed("The tool asked for further input before it would go on, which cannot be given here.");
  if (SdkError.isInstance(error) && error.code === SdkErrorCode.InvalidResult)
    return failed(
      `The MCP server "${source}" answered the call, which therefore counts as performed; but its answer is no result of a tool and was refused: ${textOf(error)}`,
    );
  return { kind: "unknown", reason: `the MCP server "${source}" got the call, and ${whyUnanswered(fault)}` };
}

function whyUnanswered({ dispatch, givenUp, ended, error }: CallFault): string {
  if (dispatch.lostReason !== undefined) return dispatch.lostReason;
  if (givenUp) return "had not answered when it was given up";
  if (ended !== undefined) return `then ended without an answer: ${ended}`;
  return `no usable answer came: ${textOf(error)}`;
}
