// Goal: what goes to each kind of provider and what comes back is translated without loss.
// Method: the driver against a loopback server with hand-written streams; the bodies that arrive there are compared.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Message } from "../../abi/messages.ts";
import type { ToolDefinition } from "../../abi/tools.ts";
import type { ModelAnswer, ModelRequest } from "../../ports/model.ts";
import type { RemoteConfig } from "./endpoint.ts";
import { chat, gemini, LoopbackServer, messages, responses, stream } from "./fixtures/loopback-server.ts";
import { createAiSdkProvider } from "./provider.ts";

let server: LoopbackServer;
beforeAll(async () => {
  server = new LoopbackServer();
  await server.start();
});
afterAll(() => server.stop());
let deltas: string[] = [];
beforeEach(() => {
  deltas = [];
});

const env = { OPENAI_API_KEY: "sk-openai-test", ANTHROPIC_API_KEY: "sk-ant-test", GEMINI_API_KEY: "g-test" };
const manifest = { effect: "read", idempotency: "none", timeoutMs: 1000, concurrency: 1 } as const;
const tool = (name: string): ToolDefinition => ({
  name,
  description: `does ${name}`,
  inputSchema: { type: "object", properties: { order: { type: "integer" } } },
  manifest,
  hash: "0",
});
const TOOLS = [tool("shop.orders"), tool("shop.refund")];
const containing = (text: string): unknown => expect.stringContaining(text);
const HELLO: readonly Message[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hello" },
];

type Asked = {
  readonly messages?: readonly Message[];
  readonly tools?: readonly ToolDefinition[];
  readonly settings?: ModelRequest["settings"];
};

function ask(type: RemoteConfig["type"], asked: Asked = {}): Promise<ModelAnswer> {
  const common = { headers: {}, concurrency: 8, timeoutMs: 5_000, prices: {} };
  const config: RemoteConfig = { type, baseUrl: type === "anthropic" ? server.url : `${server.url}/v1`, ...common };
  const provider = createAiSdkProvider("p", config, env);
  const request: ModelRequest = {
    model: "p/m",
    messages: asked.messages ?? HELLO,
    tools: asked.tools ?? [],
    settings: asked.settings ?? {},
  };
  return provider.generate("m", request, {
    signal: new AbortController().signal,
    onDelta: (text) => void deltas.push(text),
  });
}

/** A history with everything in it: reasoning, text, a good call, a call with broken arguments, and results of each kind. */
const HISTORY: readonly Message[] = [
  ...HELLO,
  {
    role: "assistant",
    content: [
      { type: "text", text: "Looking." },
      { type: "tool-call", id: "call_1", name: "shop.orders", input: { order: 7 } },
      { type: "tool-call", id: "call_2", name: "shop.refund", input: {}, invalid: '{"order": 7' },
      { type: "tool-call", id: "call_3", name: "gone.tool", input: {} },
    ],
  },
  {
    role: "tool",
    content: [
      { type: "tool-result", id: "call_1", name: "shop.orders", output: { orders: [7] }, isError: false },
      { type: "tool-result", id: "call_2", name: "shop.refund", output: "arguments are no JSON", isError: true },
      { type: "tool-result", id: "call_3", name: "gone.tool", output: "fine", isError: false },
    ],
  },
  { role: "assistant", content: [] },
  { role: "user", content: "Go on" },
];

describe("Chat Completions", () => {
  test("text comes as it is said, with usage that includes the cache", async () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 10,
      prompt_tokens_details: { cached_tokens: 60 },
      completion_tokens_details: { reasoning_tokens: 4 },
    };
    server.will(stream(chat({ text: ["Good ", "day."], usage })));
    const answer = await ask("openai-compatible");
    expect(answer).toEqual({
      content: [{ type: "text", text: "Good day." }],
      finishReason: "stop",
      usage: {
        inputTokens: 100,
        outputTokens: 10,
        cacheReadTokens: 60,
        reasoningTokens: 4,
      },
    });
    expect(deltas).toEqual(["Good ", "day."]);
    const { path, headers, body } = server.last();
    expect(path).toBe("/v1/chat/completions");
    expect(headers.authorization).toBeUndefined();
    expect(body["messages"]).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ]);
    expect(body["stream_options"]).toEqual({ include_usage: true });
  });

  test("parallel tool calls, one of them with broken arguments, one with none", async () => {
    const calls = [
      { id: "a", name: "shop__orders", args: '{"order":7}' },
      { id: "b", name: "shop__refund", args: '{"order":' },
      { id: "c", name: "shop__orders", args: "" },
      { id: "d", name: "shop__nothing", args: "[7]" },
    ];
    server.will(stream(chat({ text: ["One moment."], calls, usage: { prompt_tokens: 1, completion_tokens: 1 } })));
    const answer = await ask("openai-compatible", { tools: TOOLS });
    expect(answer.finishReason).toBe("tool-calls");
    expect(answer.content).toEqual([
      { type: "text", text: "One moment." },
      { type: "tool-call", id: "a", name: "shop.orders", input: { order: 7 } },
      { type: "tool-call", id: "b", name: "shop.refund", input: {}, invalid: '{"order":' },
      { type: "tool-call", id: "c", name: "shop.orders", input: {} },
      { type: "tool-call", id: "d", name: "shop.nothing", input: {}, invalid: "[7]" },
    ]);
  });

  test("the history goes back whole, tools and settings with it", async () => {
    server.will(stream(chat({ text: ["ok"], usage: { prompt_tokens: 1, completion_tokens: 1 } })));
    const responseSchema = { type: "object", properties: { done: { type: "boolean" } } };
    await ask("openai-compatible", {
      messages: HISTORY,
      tools: TOOLS,
      settings: {
        toolChoice: "required",
        maxOutputTokens: 50,
        temperature: 0.5,
        topP: 0.9,
        seed: 7,
        stopSequences: ["END"],
        reasoning: "low",
        responseSchema,
      },
    });
    const { body } = server.last();
    expect(body["messages"]).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
      {
        role: "assistant",
        content: "Looking.",
        tool_calls: [
          { id: "call_1", type: "function", function: { name: "shop__orders", arguments: '{"order":7}' } },
          // Not JSON, so the format can take it as a JSON string only.
          {
            id: "call_2",
            type: "function",
            function: { name: "shop__refund", arguments: JSON.stringify('{"order": 7') },
          },
          { id: "call_3", type: "function", function: { name: "gone__tool", arguments: "{}" } },
        ],
      },
      { role: "tool", tool_call_id: "call_1", content: '{"orders":[7]}' },
      { role: "tool", tool_call_id: "call_2", content: "arguments are no JSON" },
      { role: "tool", tool_call_id: "call_3", content: "fine" },
      { role: "user", content: "Go on" },
    ]);
    expect(body["tools"]).toEqual(
      TOOLS.map(({ name, description, inputSchema }) => ({
        type: "function",
        function: { name: name.replace(".", "__"), description, parameters: inputSchema },
      })),
    );
    expect(body).toMatchObject({
      model: "m",
      tool_choice: "required",
      max_tokens: 50,
      temperature: 0.5,
      top_p: 0.9,
      seed: 7,
      stop: ["END"],
      reasoning_effort: "low",
    });
    expect(body["response_format"]).toMatchObject({ type: "json_schema", json_schema: { schema: responseSchema } });
  });

  test("usage that a server does not report is estimated, not nothing", async () => {
    server.will(stream(chat({ text: ["twelve chars"] })));
    const { usage } = await ask("openai-compatible");
    const [input, output] = [
      JSON.stringify(HELLO).length + 2,
      JSON.stringify([{ type: "text", text: "twelve chars" }]).length,
    ];
    expect(usage).toEqual({ inputTokens: Math.ceil(input / 4), outputTokens: Math.ceil(output / 4) });
  });
});

describe("OpenAI Responses", () => {
  const USAGE = {
    input_tokens: 90,
    input_tokens_details: { cached_tokens: 64 },
    output_tokens: 20,
    output_tokens_details: { reasoning_tokens: 12 },
    total_tokens: 110,
  };
  const message = {
    id: "msg_1",
    type: "message",
    status: "completed",
    role: "assistant",
    content: [{ type: "output_text", text: "Let me look.", annotations: [] }],
  };
  const reasoning = { id: "rs_1", type: "reasoning", summary: [], encrypted_content: "sealed" };
  const call = (n: number, args: string) => ({
    id: `fc_${n}`,
    type: "function_call",
    status: "completed",
    call_id: `call_${n}`,
    name: "shop__orders",
    arguments: args,
  });

  test("reasoning, text and parallel calls, in order; the next request sends them back as they came", async () => {
    const items = [
      { item: reasoning },
      { item: message, deltas: ["Let me ", "look."] },
      { item: call(1, '{"order":1}'), deltas: ['{"order"', ":1}"] },
      { item: call(2, '{"order":'), deltas: ['{"order":'] },
    ];
    server.will(stream(responses(items, USAGE)));
    const answer = await ask("openai", { tools: TOOLS });
    expect(answer.finishReason).toBe("tool-calls");
    expect(answer.usage).toEqual({
      inputTokens: 90,
      outputTokens: 20,
      cacheReadTokens: 64,
      reasoningTokens: 12,
    });
    expect(answer.content).toMatchObject([
      { type: "reasoning", text: "", provider: { openai: { itemId: "rs_1", reasoningEncryptedContent: "sealed" } } },
      { type: "text", text: "Let me look.", provider: { openai: { itemId: "msg_1" } } },
      { type: "tool-call", id: "call_1", name: "shop.orders", input: { order: 1 } },
      { type: "tool-call", id: "call_2", name: "shop.orders", input: {}, invalid: '{"order":' },
    ]);
    expect(deltas).toEqual(["Let me ", "look."]);
    const first = server.last();
    expect(first.path).toBe("/v1/responses");
    expect(first.headers.authorization).toBe("Bearer sk-openai-test");
    expect(first.body).toMatchObject({
      store: false,
      stream: true,
      tools: [
        { name: "shop__orders", strict: false },
        { name: "shop__refund", strict: false },
      ],
    });

    server.will(stream(responses([{ item: message, deltas: ["Let me look."] }], USAGE)));
    const results: Message = {
      role: "tool",
      content: [
        { type: "tool-result", id: "call_1", name: "shop.orders", output: { total: 5 }, isError: false },
        { type: "tool-result", id: "call_2", name: "shop.orders", output: "broken arguments", isError: true },
      ],
    };
    await ask("openai", {
      messages: [...HELLO, { role: "assistant", content: answer.content }, results],
      tools: TOOLS,
    });
    const input = server.last().body["input"] as Record<string, unknown>[];
    expect(input.slice(2)).toMatchObject([
      { type: "reasoning", id: "rs_1", encrypted_content: "sealed", summary: [] },
      { role: "assistant", content: "Let me look." },
      { type: "function_call", call_id: "call_1", name: "shop__orders", arguments: '{"order":1}' },
      { type: "function_call", call_id: "call_2", name: "shop__orders", arguments: JSON.stringify('{"order":') },
      { type: "function_call_output", call_id: "call_1", output: '{"total":5}' },
      { type: "function_call_output", call_id: "call_2", output: '{"error":"broken arguments"}' },
    ]);
    expect(input.some((item) => item["type"] === "item_reference")).toBe(false);
  });

  test("a tool that the provider ran itself is refused", async () => {
    const search = { id: "ws_1", type: "web_search_call", status: "completed", action: { type: "search", query: "x" } };
    server.will(stream(responses([{ item: search }], USAGE)));
    await expect(ask("openai", { tools: TOOLS })).rejects.toMatchObject({
      code: "model_failed",
      retryable: false,
      message: containing("ran a tool by itself (web_search"),
    });
  });
});

describe("Anthropic Messages", () => {
  const blocks = [
    {
      start: { type: "thinking", thinking: "", signature: "" },
      deltas: [
        { type: "thinking_delta", thinking: "Hm." },
        { type: "signature_delta", signature: "signed" },
      ],
    },
    {
      start: { type: "text", text: "" },
      deltas: [
        { type: "text_delta", text: "I " },
        { type: "text_delta", text: "look." },
      ],
    },
    {
      start: { type: "tool_use", id: "t1", name: "shop__orders", input: {} },
      deltas: [
        { type: "input_json_delta", partial_json: '{"ord' },
        { type: "input_json_delta", partial_json: 'er":1}' },
      ],
    },
    {
      start: { type: "tool_use", id: "t2", name: "shop__refund", input: {} },
      deltas: [{ type: "input_json_delta", partial_json: '{"order":' }],
    },
  ];
  const usage = { input_tokens: 10, cache_read_input_tokens: 70, cache_creation_input_tokens: 20 };
  const answered = async (): Promise<ModelAnswer> => {
    server.will(stream(messages(blocks, { stop: "tool_use", usage, outputTokens: 30 })));
    return ask("anthropic", { tools: TOOLS });
  };

  test("thinking with its signature, text and parallel calls; totals include the cache", async () => {
    const answer = await answered();
    expect(answer.finishReason).toBe("tool-calls");
    expect(answer.usage).toEqual({
      inputTokens: 100,
      outputTokens: 30,
      cacheReadTokens: 70,
      cacheWriteTokens: 20,
    });
    expect(answer.content).toMatchObject([
      { type: "reasoning", text: "Hm.", provider: { anthropic: { signature: "signed" } } },
      { type: "text", text: "I look." },
      { type: "tool-call", id: "t1", name: "shop.orders", input: { order: 1 } },
      { type: "tool-call", id: "t2", name: "shop.refund", input: {}, invalid: '{"order":' },
    ]);
    expect(deltas).toEqual(["I ", "look."]);
    const first = server.last();
    expect(first.path).toBe("/v1/messages");
    expect(first.headers["x-api-key"]).toBe("sk-ant-test");
  });

  test("what it answered goes back as it came, with the results", async () => {
    const { content } = await answered();
    server.will(
      stream(
        messages([{ start: { type: "text", text: "" }, deltas: [{ type: "text_delta", text: "ok" }] }], {
          stop: "end_turn",
          usage,
          outputTokens: 1,
        }),
      ),
    );
    const results: Message = {
      role: "tool",
      content: [
        { type: "tool-result", id: "t1", name: "shop.orders", output: { total: 5 }, isError: false },
        { type: "tool-result", id: "t2", name: "shop.refund", output: "broken arguments", isError: true },
      ],
    };
    await ask("anthropic", {
      messages: [...HELLO, { role: "assistant", content }, results],
      tools: TOOLS,
    });
    const { body } = server.last();
    expect(body["system"]).toMatchObject([{ type: "text", text: "Be brief." }]);
    expect(body["messages"]).toMatchObject([
      { role: "user", content: [{ type: "text", text: "Hello" }] },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "Hm.", signature: "signed" },
          { type: "text", text: "I look." },
          { type: "tool_use", id: "t1", name: "shop__orders", input: { order: 1 } },
          { type: "tool_use", id: "t2", name: "shop__refund", input: { rawInvalidInput: '{"order":' } },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "t1", content: '{"total":5}' },
          { type: "tool_result", tool_use_id: "t2", content: "broken arguments", is_error: true },
        ],
      },
    ]);
  });

  /** What of the last request's body is marked to be kept in the cache, as texts. */
  const kept = (): unknown[] => {
    const { system = [], messages: sent } = server.last().body as {
      system?: Record<string, unknown>[];
      messages: { content: Record<string, unknown>[] }[];
    };
    return [...system, ...sent.flatMap(({ content }) => content)].flatMap(({ cache_control: mark, text, content }) =>
      mark === undefined ? [] : [(expect(mark).toEqual({ type: "ephemeral" }), text ?? content)],
    );
  };
  const brief = (): void =>
    server.will(
      stream(
        messages([{ start: { type: "text", text: "" }, deltas: [{ type: "text_delta", text: "ok" }] }], {
          stop: "end_turn",
          usage,
          outputTokens: 1,
        }),
      ),
    );

  test("a conversation is kept in the cache up to its end, and found there by the next turn", async () => {
    brief();
    await ask("anthropic", { tools: TOOLS });
    expect(kept()).toEqual(["Be brief.", "Hello"]);
    brief();
    await ask("anthropic", { messages: HISTORY.slice(0, 4), tools: TOOLS });
    expect(kept()).toEqual(["Be brief.", "Hello", "fine"]);
    brief();
    const more: Message[] = [{ role: "assistant", content: [{ type: "text", text: "Well." }] }];
    await ask("anthropic", { messages: [...HISTORY.slice(0, 4), ...more, { role: "user", content: "Go on" }] });
    expect(kept()).toEqual(["Be brief.", "fine", "Go on"]);
  });

  test("of a single question only the instructions are kept; nothing empty is, nor the model's own last words", async () => {
    brief();
    await ask("anthropic");
    expect(kept()).toEqual(["Be brief."]);
    brief();
    await ask("anthropic", { messages: [{ role: "user", content: "" }], tools: TOOLS });
    expect(kept()).toEqual([]);
    brief();
    const begun: Message = { role: "assistant", content: [{ type: "text", text: "The answer is" }] };
    await ask("anthropic", { messages: [...HELLO, begun] });
    expect(kept()).toEqual(["Be brief.", "Hello"]);
    server.will(stream(chat({ text: ["ok"] })));
    await ask("openai-compatible", { tools: TOOLS });
    expect(JSON.stringify(server.last().body)).not.toContain("cache");
  });

  test("a call without arguments", async () => {
    const bare = [{ start: { type: "tool_use", id: "t1", name: "shop__orders", input: {} }, deltas: [] }];
    server.will(stream(messages(bare, { stop: "tool_use", usage: { input_tokens: 1 }, outputTokens: 1 })));
    const { content } = await ask("anthropic", { tools: TOOLS });
    expect(content).toMatchObject([{ type: "tool-call", name: "shop.orders", input: {} }]);
  });
});

describe("Gemini", () => {
  test("a call with its signature, which goes back; broken arguments go back as an object", async () => {
    const usage = {
      promptTokenCount: 50,
      cachedContentTokenCount: 30,
      candidatesTokenCount: 5,
      thoughtsTokenCount: 3,
      totalTokenCount: 58,
    };
    const call = { functionCall: { name: "shop__orders", args: { order: 1 } }, thoughtSignature: "sig" };
    server.will(stream(gemini([{ text: "I look." }, call], usage)));
    const answer = await ask("google", { tools: TOOLS });
    expect(answer.finishReason).toBe("tool-calls");
    expect(answer.usage).toEqual({ inputTokens: 50, outputTokens: 8, cacheReadTokens: 30, reasoningTokens: 3 });
    expect(answer.content).toMatchObject([
      { type: "text", text: "I look." },
      {
        type: "tool-call",
        name: "shop.orders",
        input: { order: 1 },
        provider: { google: { thoughtSignature: "sig" } },
      },
    ]);
    expect(server.last().headers["x-goog-api-key"]).toBe("g-test");

    server.will(stream(gemini([{ text: "ok" }], usage)));
    await ask("google", {
      messages: [...HISTORY.slice(0, 4), { role: "assistant", content: answer.content }],
      tools: TOOLS,
    });
    const contents = server.last().body["contents"] as { parts: unknown[] }[];
    expect(contents[1]?.parts).toMatchObject([
      { text: "Looking." },
      { functionCall: { name: "shop__orders", args: { order: 7 } } },
      { functionCall: { name: "shop__refund", args: { rawInvalidInput: '{"order": 7' } } },
      { functionCall: { name: "gone__tool", args: {} } },
    ]);
    expect(contents[2]?.parts).toMatchObject([
      { functionResponse: { name: "shop__orders" } },
      { functionResponse: { name: "shop__refund", response: { error: "arguments are no JSON" } } },
      { functionResponse: { name: "gone__tool" } },
    ]);
    expect(contents[3]?.parts).toMatchObject([
      { text: "I look." },
      { functionCall: { name: "shop__orders" }, thoughtSignature: "sig" },
    ]);
  });
});
