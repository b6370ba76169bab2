// Goal: what the packages throw is told in words, also where only a code says what it was. Method: errors as they were seen.
import { APICallError, UnsupportedFunctionalityError } from "@ai-sdk/provider";
import { expect, test } from "vitest";
import type { Endpoint } from "./endpoint.ts";
import { modelFailure, rateOfFailure } from "./failure.ts";

const endpoint: Endpoint = {
  type: "openai-compatible",
  baseUrl: "http://localhost:11434/v1",
  headers: {},
  key: "ollama",
  keyName: "MY_KEY",
  secrets: ["ollama", "abcdefgh", "abcdefgh-ijk"],
};
const call = { label: "ollama/x", name: "ollama", endpoint, streaming: false, nowMs: 0 };
const apiError = (fields: Partial<ConstructorParameters<typeof APICallError>[0]>) =>
  new APICallError({ message: "", url: "http://localhost:11434/v1", requestBodyValues: {}, ...fields });

test("a refused connection to a name with two addresses has a code only", () => {
  const cause = Object.assign(new AggregateError([], ""), { code: "ECONNREFUSED" });
  const error = modelFailure(apiError({ message: "Cannot connect to API: ", cause, isRetryable: true }), call);
  expect(error.retryable).toBe(true);
  expect(error.data).toEqual({ model: "ollama/x" });
  expect(error.message).toBe(
    "ollama/x failed: the call of http://localhost:11434 failed: Cannot connect to API: ECONNREFUSED. Check that the server there runs and can be reached, then try again.",
  );
});

test("a refusal without words is told by its status and body", () => {
  expect(modelFailure(apiError({ statusCode: 502 }), call).message).toBe(
    "ollama/x failed: the provider answered 502. Try again later.",
  );
  expect(modelFailure(apiError({ statusCode: 400, responseBody: "no such field" }), call).message).toContain(
    "answered 400: no such field. Change the request",
  );
});

test("an account without money is refused with 429, and no waiting is advised", () => {
  const responseBody = JSON.stringify({ error: { message: "quota", type: "insufficient_quota", code: null } }, null, 1);
  const error = modelFailure(apiError({ statusCode: 429, message: "quota", responseBody, isRetryable: true }), call);
  expect(error.retryable).toBe(false);
  expect(error.message).toContain("the provider answered 429: quota. No waiting helps");
  expect(rateOfFailure(apiError({ statusCode: 429, responseBody }), error, 0)).toBeUndefined();
});

test.each([
  [429, "false", false],
  [400, "true", true],
  [503, "maybe", true],
  [503, undefined, true],
])("%i with x-should-retry: %s", (statusCode, said, retryable) => {
  const responseHeaders = said === undefined ? {} : { "x-should-retry": said };
  expect(modelFailure(apiError({ statusCode, responseHeaders }), call).retryable).toBe(retryable);
});

test("what the format cannot say was never sent", () => {
  const error = modelFailure(
    new UnsupportedFunctionalityError({ functionality: "system messages in the middle" }),
    call,
  );
  expect(error.retryable).toBe(false);
  expect(error.message).toContain(
    "its provider's format has no way to say this request: 'system messages in the middle' functionality not supported. Change the request",
  );
});

test("the longest secret is removed first, a mere placeholder stays, and the cause is not kept", () => {
  const error = modelFailure(apiError({ statusCode: 401, message: "ollama knows no abcdefgh-ijk, abcdefgh" }), call);
  expect(error.message).toContain("ollama knows no [key], [key]. Check the key in MY_KEY.");
  expect(error.cause).toBeUndefined();
});
