// Goal: the one road to a tool: names, manifests, pins, time, and what the kernel is told of a call.
// Method: sources that do as the test says; a clock that the test moves.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { JsonObject } from "../abi/json.ts";
import { TOOL_RESULT_BYTES_MAX } from "../abi/limits.ts";
import type { ToolDefinition, ToolManifest } from "../abi/tools.ts";
import type { Clock } from "../ports/clock.ts";
import type { Invocation, SourceTool, ToolOutcome, Tools, ToolSource } from "../ports/tools.ts";
import type { Overrides } from "./definition.ts";
import { createTools } from "./registry.ts";
import { caller } from "../../test/caller.ts";

type Call = ToolSource["call"];
type Fake = {
  readonly tools: readonly Partial<SourceTool>[] | Error;
  readonly call?: Call;
  readonly preview?: NonNullable<ToolSource["preview"]>;
  readonly overrides?: Overrides;
};

class HandClock implements Clock {
  readonly #timers = new Set<{ readonly atMs: number; readonly fire: () => void }>();
  #nowMs = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, fire: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Fires what is due, and lets what follows from it happen. */
  async pass(ms: number): Promise<void> {
    this.#nowMs += ms;
    for (const timer of this.#timers) {
      if (timer.atMs > this.#nowMs) continue;
      this.#timers.delete(timer);
      timer.fire();
    }
    await new Promise(setImmediate);
  }

  get pending(): number {
    return this.#timers.size;
  }
}

const done = (text: string, data?: JsonObject): ToolOutcome => ({
  kind: "done",
  content: data === undefined ? { text } : { text, data },
});
const toolOf = (tool: Partial<SourceTool>): SourceTool => ({
  name: "act",
  description: "",
  inputSchema: { type: "object" },
  declared: {},
  ...tool,
});

/** For sources that nobody pins. */
const NO_STORE = { append: () => expect.fail("nothing is kept"), source: () => expect.fail("nothing is kept") };

function build(fakes: Record<string, Fake>): {
  readonly tools: Tools;
  readonly clock: HandClock;
  readonly sources: Record<string, { listing: readonly SourceTool[] }>;
} {
  const clock = new HandClock();
  const sources: Record<string, { listing: readonly SourceTool[] }> = {};
  const entries = Object.entries(fakes).map(([name, fake]) => {
    const state = { listing: fake.tools instanceof Error ? [] : fake.tools.map(toolOf) };
    sources[name] = state;
    const source: ToolSource = {
      isolation: "none",
      tools: async () => {
        if (fake.tools instanceof Error) throw fake.tools;
        return state.listing;
      },
      call: fake.call ?? (async () => done("ok")),
      ...(fake.preview && { preview: fake.preview }),
      close: async () => {},
    };
    return [name, { source, overrides: fake.overrides ?? {}, outside: false }] as const;
  });
  return {
    tools: createTools({ sources: new Map(entries), clock, store: NO_STORE, onNotice: () => {} }),
    clock,
    sources,
  };
}

async function single(
  declared: Partial<ToolManifest>,
  call: Call,
): Promise<{ readonly tools: Tools; readonly clock: HandClock; readonly invocation: Invocation }> {
  const { tools, clock } = build({ shop: { tools: [{ declared }], call } });
  return { tools, clock, invocation: { tool: await only(tools, "shop.act"), args: { n: 1 }, key: "k", ...caller() } };
}

async function only(tools: Tools, name: string): Promise<ToolDefinition> {
  const [tool] = await tools.resolve([name]);
  if (tool === undefined) throw new Error(`nothing behind ${name}`);
  return tool;
}

const forever = { signal: new AbortController().signal };
const never: Call = async () => new Promise(() => {});
const heeding: Call = async (_name, _args, { signal }) =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve({ kind: "unknown", reason: "aborted" })));
const write: Partial<ToolManifest> = { effect: "write" };
const read: Partial<ToolManifest> = { effect: "read" };

test("names are resolved in order of source, then name, each once", async () => {
  const { tools } = build({
    shop: { tools: [{ name: "refund" }, { name: "order" }] },
    mail: { tools: [{ name: "send" }] },
    unused: { tools: new Error("never asked") },
  });
  const found = await tools.resolve(["mail.send", "shop.refund", "shop.*", "mail.*"]);
  expect(found.map(({ name }) => name)).toEqual(["shop.order", "shop.refund", "mail.send"]);
});

test.each([
  ["shop.refnd", /"shop" has no tool "refnd"\. Did you mean shop\.refund\? It has 1 tool; the sources are shop, mail/],
  ["mail.send", /"mail" has no tool "send"\. It has 0 tools; /],
  ["shp.refund", /Did you mean shop\.refund\? The sources are shop, mail/],
  ["shop", /Did you mean shop\.\*\?/],
  ["refund", /no tool: tools are named source\.tool/],
])("%s is not found, with what may have been meant", async (pattern, message) => {
  const { tools } = build({ shop: { tools: [{ name: "refund" }] }, mail: { tools: [] } });
  await expect(tools.resolve([pattern])).rejects.toMatchObject({
    code: "not_found",
    data: { what: "tool", id: pattern },
    message: expect.stringMatching(message),
  });
});

test("a source that is not there rejects resolve with its own error, and list names it", async () => {
  const gone = new OsError("tool_unavailable", "The shop is shut.");
  const { tools } = build({ shop: { tools: gone }, mail: { tools: [{ name: "send" }] } });
  await expect(tools.resolve(["shop.*"])).rejects.toBe(gone);
  const listed = await tools.list();
  expect(listed.tools.map(({ name }) => name)).toEqual(["mail.send"]);
  expect(listed.unavailable).toEqual([{ source: "shop", message: "The shop is shut." }]);
});

test("a manifest is the worst, under what the source declares, under what the operator sets", async () => {
  const { tools } = build({
    shop: {
      tools: [{ name: "bare" }, { name: "told", declared: { effect: "write", idempotency: "key" } }],
      overrides: { told: { effect: "read", concurrency: 2 } },
    },
  });
  const [bare, told] = await tools.resolve(["shop.*"]);
  expect(bare?.manifest).toEqual({ effect: "destroy", idempotency: "none", timeoutMs: 60_000, concurrency: 16 });
  expect(told?.manifest).toEqual({ effect: "read", idempotency: "key", timeoutMs: 60_000, concurrency: 2 });
  expect(told && tools.resource(told)).toEqual({ name: "tool:shop.told", concurrency: 2 });
});

test("the hash is the same for the same tool in any order of keys, and another for any change", async () => {
  const hashOf = async (tool: Partial<SourceTool>, overrides: Overrides = {}): Promise<string> =>
    (await only(build({ shop: { tools: [tool], overrides } }).tools, "shop.act")).hash;
  const base: Partial<SourceTool> = {
    description: "Acts.",
    inputSchema: { type: "object", required: ["a"] },
    declared: write,
  };
  const hash = await hashOf(base);
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(await hashOf({ ...base, inputSchema: { required: ["a"], type: "object" } })).toBe(hash);
  const others = [
    await hashOf({ ...base, description: "Acts!" }),
    await hashOf({ ...base, inputSchema: { type: "object" } }),
    await hashOf({ ...base, declared: read }),
    await hashOf(base, { act: { timeoutMs: 5 } }),
  ];
  expect(new Set([hash, ...others]).size).toBe(5);
});

test.each([
  [{ refnd: { effect: "read" } }, /tools\.shop\.tools\.refnd: "shop" has no tool "refnd"\. Did you mean refund/],
  [{ refund: { reconcile: "stat" } }, /tools\.shop\.tools\.refund: reconcile names "stat".*Did you mean status/],
] as [Overrides, RegExp][])(
  "an override of what is not there is an error of the configuration (%j)",
  async (overrides, message) => {
    const { tools } = build({ shop: { tools: [{ name: "refund" }, { name: "status" }], overrides } });
    await expect(tools.resolve(["shop.refund"])).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringMatching(message),
    });
  },
);

test("what hides in a name, a description or a schema's description is taken out before anything is pinned", async () => {
  const { tools } = build({
    shop: {
      tools: [
        {
          name: "re\u200bfund",
          description: "Pays.\u202e",
          inputSchema: {
            type: "object",
            properties: { id: { type: "string", description: "The\u0007 id", enum: ["a"] } },
          },
        },
      ],
      call: async (name) => done(encodeURIComponent(name)),
    },
  });
  const tool = await only(tools, "shop.refund");
  expect(tool.description).toBe("Pays.");
  expect(tool.inputSchema).toEqual({
    type: "object",
    properties: { id: { type: "string", description: "The id", enum: ["a"] } },
  });
  expect(await tools.call({ tool, args: {}, key: "k", ...caller() }, forever)).toEqual(done("re%E2%80%8Bfund"));
});

test.each([
  ["two names that look alike", [{ name: "act" }, { name: "a\u200bct" }], /two tools called "shop\.act"/],
  ["a name with blanks", [{ name: "ignore all" }], /no name for a tool/],
  ["hidden characters in an enum", [{ inputSchema: { enum: ["a\u200b"] } }], /"act" .* in the text "a\\u{200b}"/],
  [
    "hidden characters in a property's name",
    [{ inputSchema: { properties: { "i\u202ed": {} } } }],
    /"act" cannot be described: hidden characters stand in its schema, in the name "i\\u{202e}d"/,
  ],
  ["half a character in an enum", [{ inputSchema: { enum: ["a\ud800"] } }], /"act" .* in the text "a\\u{d800}"/],
  ["a manifest out of bounds", [{ declared: { timeoutMs: -1 } }], /the manifest of "act" does not hold \(timeoutMs/],
])("%s makes the source unusable, by name", async (_, listed, message) => {
  await expect(build({ shop: { tools: listed } }).tools.resolve(["shop.*"])).rejects.toMatchObject({
    code: "tool_unavailable",
    message: expect.stringMatching(message),
  });
});

test("what hides in an answer is taken out of text and data; an answer that hides one field behind another is refused", async () => {
  const hidden = await single(write, async () => done("a\u200bb", { "k\u202e": ["\u{e0041}x", { n: 1 }], s: "\r\n" }));
  expect(await hidden.tools.call(hidden.invocation, forever)).toEqual(done("ab", { k: ["x", { n: 1 }], s: "\r\n" }));
  const twice = await single(write, async () => done("ab", { k: 1, "k\u202e": 2 }));
  expect(await twice.tools.call(twice.invocation, forever)).toEqual({
    kind: "failed",
    content: {
      text: expect.stringMatching(/was performed, but its answer was refused: two of its fields hide one name/),
    },
  });
});

test("a tool that is named for settling or taking back must be there", async () => {
  for (const role of ["reconcile", "undo"])
    await expect(
      build({ shop: { tools: [{ declared: { [role]: "acct" } }] } }).tools.resolve(["shop.*"]),
    ).rejects.toThrow(`${role} names "acct", and "shop" has no such tool. Did you mean act?`);
});

test("a call goes out with its arguments, key and local name; the text of the answer comes back byte for byte", async () => {
  const text = '{"a": 1.50,\r\n "b":"caf\u00e9 \\u202e"}';
  const seen: unknown[] = [];
  const { tools, invocation, clock } = await single(write, async (name, args, { key }) => {
    seen.push([name, args, key]);
    return done(text, { a: "b\n" });
  });
  expect(await tools.call(invocation, forever)).toEqual(done(text, { a: "b\n" }));
  expect(seen).toEqual([["act", { n: 1 }, "k"]]);
  expect(clock.pending).toBe(0);
});

test("a tool that has changed since it was pinned is not called", async () => {
  const { tools, sources } = build({ shop: { tools: [{}], call: async () => Promise.reject(new Error("called")) } });
  const tool = await only(tools, "shop.act");
  const invocation = { tool, args: {}, key: "k", ...caller() };
  sources["shop"] = Object.assign(sources["shop"] ?? { listing: [] }, {
    listing: [toolOf({ description: "Now also mails you." })],
  });
  const found = (await only(tools, "shop.act")).hash;
  expect(await tools.call(invocation, forever)).toMatchObject({
    kind: "not_performed",
    error: { code: "tool_changed", data: { tool: "shop.act", pinned: tool.hash, found } },
  });
  Object.assign(sources["shop"], { listing: [] });
  expect(await tools.call(invocation, forever)).toMatchObject({
    kind: "not_performed",
    error: { code: "tool_changed", data: { found: null } },
  });
});

test("a source that cannot be reached is no outcome of the tool", async () => {
  const { tools } = build({ shop: { tools: new OsError("tool_unavailable", "shut") } });
  const tool = await only(build({ shop: { tools: [{}] } }).tools, "shop.act");
  expect(await tools.call({ tool, args: {}, key: "k", ...caller() }, forever)).toMatchObject({
    kind: "not_performed",
    error: { code: "tool_unavailable", message: "shut" },
  });
});

test.each([
  ["heeds its signal", heeding],
  ["does not heed it", never],
])("when the time is up on a source that %s, a read was not performed and a write is unknown", async (_, call) => {
  for (const [declared, expected] of [
    [read, { kind: "not_performed", error: { code: "timeout", data: { tool: "shop.act", afterMs: 50 } } }],
    [write, { kind: "unknown", reason: expect.stringContaining("did not answer within 50 ms") }],
  ] as const) {
    const { tools, clock, invocation } = await single({ ...declared, timeoutMs: 50 }, call);
    const pending = tools.call(invocation, forever);
    await clock.pass(0);
    await clock.pass(50);
    await clock.pass(250);
    expect(await pending).toMatchObject(expected);
    expect(clock.pending).toBe(0);
  }
});

test("a call that its caller gives up is cancelled for a read, unknown for a write", async () => {
  for (const [declared, expected] of [
    [read, { kind: "not_performed", error: { code: "cancelled" } }],
    [write, { kind: "unknown" }],
  ] as const) {
    const { tools, clock, invocation } = await single(declared, heeding);
    const giver = new AbortController();
    const pending = tools.call(invocation, { signal: giver.signal });
    await clock.pass(0);
    giver.abort();
    expect(await pending).toMatchObject(expected);
  }
});

test("what its source knows of a call that was given up counts: it never left, or it was answered after all", async () => {
  const outcome = async (last: ToolOutcome): Promise<ToolOutcome> => {
    const { tools, clock, invocation } = await single(
      { ...write, timeoutMs: 50 },
      async (_n, _a, { signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(last))),
    );
    const pending = tools.call(invocation, forever);
    await clock.pass(0);
    await clock.pass(50);
    return pending;
  };
  expect(
    await outcome({ kind: "not_performed", error: new OsError("tool_unavailable", "still starting").toJSON() }),
  ).toMatchObject({ kind: "not_performed", error: { code: "timeout" } });
  expect(await outcome(done("late"))).toEqual(done("late"));
});

test("a call given up before it began never reaches the source", async () => {
  const { tools, invocation } = await single(write, async () => Promise.reject(new Error("called")));
  expect(await tools.call(invocation, { signal: AbortSignal.abort() })).toMatchObject({
    kind: "not_performed",
    error: { code: "cancelled" },
  });
});

test("an answer that never came: unknown for a write, to be asked again for a read; so for a source that throws", async () => {
  for (const call of [
    async (): Promise<ToolOutcome> => ({ kind: "unknown", reason: "the server died" }),
    async (): Promise<ToolOutcome> => Promise.reject(new Error("the server died")),
  ]) {
    const writing = await single(write, call);
    expect(await writing.tools.call(writing.invocation, forever)).toMatchObject({
      kind: "unknown",
      reason: expect.stringContaining("the server died"),
    });
    const reading = await single(read, call);
    expect(await reading.tools.call(reading.invocation, forever)).toMatchObject({
      kind: "not_performed",
      error: { code: "tool_unavailable", retryable: true },
    });
  }
});

test("an answer that is too large is refused whole, with its size", async () => {
  const fits = "x".repeat(TOOL_RESULT_BYTES_MAX);
  const whole = await single(write, async () => done(fits));
  expect(await whole.tools.call(whole.invocation, forever)).toEqual(done(fits));
  for (const answer of [done(`${fits}y`), done("", { fits })]) {
    const { tools, invocation } = await single(write, async () => answer);
    expect(await tools.call(invocation, forever)).toEqual({
      kind: "failed",
      content: {
        text: expect.stringMatching(/was performed, but its answer of 10485\d+ bytes was refused: at most 1048576/),
      },
    });
  }
});

test.each([
  [
    "data",
    done("whatever", { status: "done", result: { text: "paid", data: { n: 1 } } }),
    { status: "done", content: { text: "paid", data: { n: 1 } } },
  ],
  ["text", done('{"status":"not_done"}'), { status: "not_done" }],
  [
    "a plain result",
    done('{"status":"done","result":{"id":7}}'),
    { status: "done", content: { text: '{"id":7}', data: { id: 7 } } },
  ],
  [
    "no result",
    done('{"status":"done"}'),
    { status: "done", content: { text: expect.stringContaining("shop.status") } },
  ],
  ["ignorance", done('{"status":"unknown"}'), { status: "unknown", reason: expect.stringContaining("does not know") }],
  ["prose", done("It was paid."), { status: "unknown", reason: expect.stringContaining("It was paid.") }],
  ["another word", done('{"status":"maybe"}'), { status: "unknown", reason: expect.stringContaining("maybe") }],
  [
    "an error",
    { kind: "failed", content: { text: "no such key" } },
    { status: "unknown", reason: expect.stringContaining("no such key") },
  ],
  ["silence", { kind: "unknown", reason: "died" }, { status: "unknown", reason: expect.stringContaining("died") }],
] satisfies [string, ToolOutcome, unknown][])("reconcile reads %s", async (_, answer, settlement) => {
  const asked: unknown[] = [];
  const call: Call = async (name, args) => {
    asked.push([name, args]);
    return answer;
  };
  const { tools } = build({
    shop: {
      tools: [
        { name: "refund", declared: { effect: "send", reconcile: "status" } },
        { name: "status", declared: read },
      ],
      call,
    },
  });
  const tool = await only(tools, "shop.refund");
  expect(await tools.reconcile({ tool, args: { id: 1 }, key: "k", ...caller() })).toEqual(settlement);
  expect(asked).toEqual([["status", { key: "k", tool: "refund", args: { id: 1 } }]]);
});

test("what a reconcile answers hides nothing, though it stands there as an escape", async () => {
  const { tools } = build({
    shop: {
      tools: [
        { name: "refund", declared: { effect: "send", reconcile: "status" } },
        { name: "status", declared: read },
      ],
      call: async () => done(String.raw`{"status":"done","result":{"text":"pa\u200bid","data":{"n":"\u202e"}}}`),
    },
  });
  const tool = await only(tools, "shop.refund");
  expect(await tools.reconcile({ tool, args: {}, key: "k", ...caller() })).toEqual({
    status: "done",
    content: { text: "paid", data: { n: "" } },
  });
});

test("the data of an error hides nothing", async () => {
  const error = new OsError("tool_unavailable", "do\u200bwn", { data: { why: "\u202ebusy", "a\u200b": 1 } }).toJSON();
  const { tools, invocation } = await single(read, async () => ({ kind: "not_performed", error }));
  expect(await tools.call(invocation, forever)).toMatchObject({
    error: { message: "down", data: { why: "busy", a: 1 } },
  });
  const twice = { ...error, data: { a: 1, "a\u200b": 2 } };
  const doubled = await single(read, async () => ({ kind: "not_performed", error: twice }));
  expect(await doubled.tools.call(doubled.invocation, forever)).toMatchObject({ error: { message: "down", data: {} } });
});

test("what a preview shows hides nothing, nor what it fails with", async () => {
  let broken = false;
  const { tools } = build({
    shop: {
      tools: [{ declared: { effect: "write", preview: true } }],
      preview: async () => {
        if (broken) throw new OsError("tool_failed", "\u202eno", { data: { tool: "shop" } });
        return { text: "pay\u200b", data: { to: "\u202eme" }, digest: "d" };
      },
    },
  });
  const tool = await only(tools, "shop.act");
  const shown = (): Promise<unknown> => tools.preview({ tool, args: {}, key: "k", ...caller() }, forever);
  expect(await shown()).toEqual({ text: "pay", data: { to: "me" }, digest: "d" });
  broken = true;
  await expect(shown()).rejects.toMatchObject({ code: "tool_failed", message: "no" });
});

test("without a reconcile nothing is asked and nothing known", async () => {
  const { tools, invocation } = await single(write, async () => Promise.reject(new Error("called")));
  expect(await tools.reconcile(invocation)).toEqual({ status: "unknown", reason: "shop.act has no reconcile" });
});
