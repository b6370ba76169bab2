// Goal: the tools ask by the caller's rules and secrets, show answers as text of bounded size, and know what was certainly not performed.
// Method: a way out that keeps what it was asked and answers as the test says.
import { expect, test } from "vitest";
import { caller } from "../../../test/caller.ts";
import type { AgentManifest } from "../../abi/agents.ts";
import { OsError, type ErrorCode } from "../../abi/errors.ts";
import { egressRuleSchema } from "../../abi/isolation.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { DoorSpec, Egress, HttpRequest, HttpResponse } from "../../ports/egress.ts";
import type { CallOptions, NoteHeader, ToolOutcome } from "../../ports/tools.ts";
import { httpTools } from "./http.ts";

type Kept = { readonly request: HttpRequest; readonly door: Omit<DoorSpec, "bytesMax"> };

const options = (manifest: Partial<AgentManifest> = {}, noted: NoteHeader[] = []): CallOptions => ({
  ...caller(manifest, noted),
  call: 7,
  key: "p.7",
  signal: new AbortController().signal,
});

async function call(
  name: string,
  args: JsonObject,
  answer: Partial<HttpResponse> | Error = {},
  more: CallOptions = options(),
): Promise<{ outcome: ToolOutcome; kept: Kept[] }> {
  const kept: Kept[] = [];
  const egress = {
    request: async (request: HttpRequest, door: Kept["door"]) => {
      kept.push({ request, door });
      if (answer instanceof Error) throw answer;
      return { status: 200, headers: {}, body: new Uint8Array(), ...answer };
    },
  } as unknown as Egress;
  const tool = httpTools({ egress }).find((found) => found.name === name);
  if (tool === undefined) throw new Error(`no tool ${name}`);
  return { outcome: await tool.run(args, more), kept };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("each tool declares what its methods do, and takes no others", async () => {
  const declared = httpTools({ egress: {} as Egress }).map(({ name, declared: { effect, idempotency } }) => [
    name,
    effect,
    idempotency,
  ]);
  expect(declared).toEqual([
    ["get", "read", "natural"],
    ["send", "send", "none"],
    ["delete", "destroy", "none"],
  ]);
  const url = "https://a.test/";
  for (const [name, args] of [
    ["get", { url, method: "POST" }],
    ["get", { url, body: "x" }],
    ["send", { url, method: "DELETE" }],
    ["send", { url, body: "x", json: 1 }],
    ["get", { url, headers: { "X-HTTP-Method-Override": "DELETE" } }],
    ["send", { url, headers: { "x-method-override": "DELETE" } }],
    ["get", { url, headers: { X_HTTP_Method: "DELETE" } }],
    ["delete", { url, method: "GET" }],
    ["get", { url: "file:///etc/passwd" }],
    ["get", { url: "no address" }],
  ] as const) {
    const { outcome, kept } = await call(name, args);
    expect([name, args, outcome.kind, kept.length]).toEqual([name, args, "failed", 0]);
  }
});

test("a request goes by the caller's rules and secrets, and its events are those of the call", async () => {
  const rule = egressRuleSchema.parse({ host: "a.test" });
  const noted: NoteHeader[] = [];
  const { kept } = await call(
    "send",
    { url: "https://a.test/x", json: { a: [1] }, headers: { "X-A": "reeve-secret:K" } },
    {},
    options({ egress: [rule], secrets: ["K"] }, noted),
  );
  expect(kept[0]?.request).toEqual({
    url: "https://a.test/x",
    method: "POST",
    headers: { "X-A": "reeve-secret:K", "content-type": "application/json" },
    body: '{"a":[1]}',
  });
  expect(kept[0]?.door).toMatchObject({ rules: [rule], secrets: ["K"] });
  await kept[0]?.door.notes.requested({
    n: "1",
    decision: "allow",
    rule: "r",
    secrets: ["K"],
    request: { method: "POST" },
  });
  await kept[0]?.door.notes.ended({ n: "1", status: 200, sentBytes: 1, receivedBytes: 2, leaked: ["K"] });
  expect(noted).toEqual([
    { kind: "egress.requested", call: 7, n: "1", decision: "allow", rule: "r", secrets: ["K"] },
    { kind: "egress.ended", call: 7, n: "1", status: 200, sentBytes: 1, receivedBytes: 2, leaked: ["K"] },
  ]);
  const deleted = await call("delete", { url: "https://a.test/x" });
  expect(deleted.kept[0]?.request).toMatchObject({ method: "DELETE", body: undefined });
});

test("an answer is its status, its headers, and its body as text", async () => {
  const headers = { "content-type": "application/json; charset=utf-8" };
  const { outcome } = await call("get", { url: "https://a.test/" }, { headers, body: bytes('{"é":1}') });
  expect(outcome).toEqual({
    kind: "done",
    content: {
      text: 'HTTP 200 (application/json; charset=utf-8)\n\n{"é":1}',
      data: { status: 200, headers, body: '{"é":1}', bodyBytes: 8 },
    },
  });
  const missing = await call("get", { url: "https://a.test/" }, { status: 404, body: bytes("none") });
  expect(missing.outcome).toMatchObject({ kind: "failed", content: { text: "HTTP 404\n\nnone" } });
  const moved = await call(
    "get",
    { url: "https://a.test/", method: "HEAD" },
    { status: 302, headers: { location: "/b" } },
  );
  expect(moved.outcome).toMatchObject({ kind: "done", content: { text: "HTTP 302\nLocation: /b" } });
});

test("what is no text is described, other encodings are read, and long text is cut", async () => {
  const shown = async (type: string, body: Uint8Array): Promise<string> => {
    const { outcome } = await call("get", { url: "https://a.test/" }, { headers: { "content-type": type }, body });
    return outcome.kind === "done" ? (outcome.content.data?.["body"] as string) : outcome.kind;
  };
  expect(await shown("image/png", Uint8Array.of(0x89, 0x50, 0, 0xff))).toBe(
    "[4 bytes of image/png, which is no text and not shown]",
  );
  expect(await shown("application/octet-stream", bytes("plain"))).toBe("plain");
  expect(await shown("application/octet-stream", bytes("a\0b"))).toContain("not shown");
  expect(await shown("text/plain; charset=iso-8859-1", Uint8Array.of(0xe9))).toBe("é");
  expect(await shown("text/plain; charset=klingon", bytes("x"))).toContain("not shown");
  const long = await shown("text/plain", bytes("x".repeat(200_000)));
  expect(long).toHaveLength(131_072 + "\n[cut here: 131072 of 200000 characters]".length);
});

test("a failure of the server leaves open what became of a request that changes something, and of no other", async () => {
  const url = "https://a.test/";
  const kinds = async (status: number): Promise<string[]> =>
    Promise.all(
      ["get", "send", "delete"].map(
        async (name) => (await call(name, { url }, { status, body: bytes("why") })).outcome.kind,
      ),
    );
  for (const status of [408, 500, 502, 503, 504])
    expect([status, ...(await kinds(status))]).toEqual([status, "failed", "unknown", "unknown"]);
  for (const status of [404, 409, 501, 505])
    expect([status, ...(await kinds(status))]).toEqual([status, "failed", "failed", "failed"]);
  expect((await call("send", { url }, { status: 503, body: bytes("why") })).outcome).toEqual({
    kind: "unknown",
    reason: "It was answered with HTTP 503\n\nwhy. Whether it was performed is not known.",
  });
  const long = (status: number): OsError => new OsError("limit_exceeded", "More than that.", { data: { status } });
  expect((await call("send", { url }, long(200))).outcome.kind).toBe("failed");
  expect((await call("send", { url }, long(500))).outcome.kind).toBe("unknown");
  expect((await call("get", { url }, long(500))).outcome.kind).toBe("failed");
});

test("what certainly did not leave was not performed; what may have left is unknown", async () => {
  const outcomes = async (code: ErrorCode): Promise<string> =>
    (await call("send", { url: "https://a.test/" }, new OsError(code, code))).outcome.kind;
  for (const code of ["egress_denied", "tool_unavailable", "not_found", "config_invalid"] as const)
    expect([code, await outcomes(code)]).toEqual([code, "not_performed"]);
  for (const code of ["unreachable", "cancelled", "timeout", "internal"] as const)
    expect([code, await outcomes(code)]).toEqual([code, "unknown"]);
  expect(await outcomes("limit_exceeded")).toBe("failed");
  expect((await call("send", { url: "https://a.test/" }, new TypeError("bug"))).outcome.kind).toBe("unknown");
});
