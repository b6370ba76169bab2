// A model of our own over the OpenAI wire format (Chat Completions, streamed): asks for a fixed set of tool calls for so
// many turns and then says that it is done. It counts how often it is asked.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export type ModelServer = {
  /** For a provider of type `openai-compatible`. */
  readonly baseUrl: string;
  readonly asked: () => number;
  close(): Promise<void>;
};

type Body = {
  readonly messages: readonly { readonly role: string }[];
  readonly tools?: readonly { readonly function: { readonly name: string } }[];
};

type Script = {
  /** Turns that ask for tools; the one after them is the last. */
  readonly turns: number;
  /** How often each tool is asked for in a turn, by the end of its name. */
  readonly calls: Readonly<Record<string, number>>;
};

async function bodyOf(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Body;
}

function deltaOf(
  { turns, calls }: Script,
  { messages, tools = [] }: Body,
): { readonly delta: unknown; readonly finish: string } {
  const turn = messages.filter(({ role }) => role === "assistant").length;
  if (turn >= turns) return { delta: { role: "assistant", content: "Done." }, finish: "stop" };
  const offered = (end: string): string =>
    tools.find(({ function: { name } }) => name.endsWith(end))?.function.name ?? end;
  const wanted = Object.entries(calls).flatMap(([end, count]) => Array.from({ length: count }, () => offered(end)));
  const toolCalls = wanted.map((name, index) => ({
    index,
    id: `call_${turn}_${index}`,
    type: "function",
    function: { name, arguments: "{}" },
  }));
  return { delta: { role: "assistant", content: null, tool_calls: toolCalls }, finish: "tool_calls" };
}

function answer(response: ServerResponse, script: Script, body: Body): void {
  const { delta, finish } = deltaOf(script, body);
  const chunk = (choice: unknown, more: object = {}): string =>
    `data: ${JSON.stringify({ id: "answer", object: "chat.completion.chunk", created: 0, model: "scripted", choices: choice === null ? [] : [choice], ...more })}\n\n`;
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(chunk({ index: 0, delta, finish_reason: null }));
  response.write(chunk({ index: 0, delta: {}, finish_reason: finish }));
  response.write(chunk(null, { usage: { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 } }));
  response.end("data: [DONE]\n\n");
}

export async function startModelServer(script: Script): Promise<ModelServer> {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    bodyOf(request).then(
      (body) => answer(response, script, body),
      (error: unknown) => {
        response.writeHead(400, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: { message: String(error), type: "invalid_request_error" } }));
      },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    asked: () => asked,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
