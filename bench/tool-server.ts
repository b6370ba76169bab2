// The recorded tools as MCP servers over Streamable HTTP, hosted by the benchmark itself so that its count of what
// was done survives every kill of the server under test. One path for each recording.
import { createAdaptorServer } from "@hono/node-server";
import { createMcpHandler, Server } from "@modelcontextprotocol/server";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Harness, World, WriteEffect } from "./recordings.ts";

const IDEMPOTENCY_KEY = "reeve/idempotencyKey";

export type ToolServer = {
  readonly urlOf: (recording: string) => string;
  /** Every call of a tool that writes, in order. */
  readonly effects: readonly WriteEffect[];
  close(): Promise<void>;
};

function serverOf(harness: Harness, world: World, recording: string): Server {
  const server = new Server({ name: "recorded", version: "1.0.0" }, { capabilities: { tools: {} } });
  const tools = harness.tools.map(({ name, description, parameters }) => ({
    name,
    description,
    inputSchema: { ...parameters, type: "object" as const },
  }));
  server.setRequestHandler("tools/list", async () => ({ tools }));
  server.setRequestHandler("tools/call", async ({ params }) => {
    const key = params._meta?.[IDEMPOTENCY_KEY];
    const { text, isError } = world.call(
      recording,
      params.name,
      params.arguments ?? {},
      typeof key === "string" ? { idempotencyKey: key } : {},
    );
    return { content: [{ type: "text", text }], isError };
  });
  return server;
}

export async function startToolServer(harness: Harness, data: string): Promise<ToolServer> {
  const effects: WriteEffect[] = [];
  const world = harness.createWorld(data, { onEffect: (effect) => void effects.push(effect) });
  const handlers = new Map<string, ReturnType<typeof createMcpHandler>>();
  const handlerOf = (recording: string): ReturnType<typeof createMcpHandler> => {
    const known = handlers.get(recording) ?? createMcpHandler(() => serverOf(harness, world, recording));
    handlers.set(recording, known);
    return known;
  };
  const server = createAdaptorServer({
    fetch: (request: Request) => handlerOf(decodeURIComponent(new URL(request.url).pathname.slice(1))).fetch(request),
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    urlOf: (recording) => `http://127.0.0.1:${port}/${encodeURIComponent(recording)}`,
    effects,
    async close() {
      await Promise.all([...handlers.values()].map((handler) => handler.close()));
      if ("closeAllConnections" in server) server.closeAllConnections();
      server.close();
    },
  };
}

const callOf = ({ recording, tool, args }: WriteEffect): string => `${recording} ${tool} ${args}`;

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

export type WriteCount = {
  readonly expected: number;
  readonly done: number;
  readonly twice: number;
  readonly missing: number;
};

/**
 * What was written against what the recordings say.
 * `twice`: done more often than recorded, or under a key that was used before, whichever is more.
 */
export function countWrites(expected: readonly WriteEffect[], done: readonly WriteEffect[]): WriteCount {
  const wanted = countBy(expected, callOf);
  const found = countBy(done, callOf);
  const keyed = done.filter(({ idempotencyKey }) => idempotencyKey !== null);
  const surplus = [...found].reduce((sum, [call, count]) => sum + Math.max(0, count - (wanted.get(call) ?? 0)), 0);
  const repeated = keyed.length - new Set(keyed.map((effect) => `${effect.recording} ${effect.idempotencyKey}`)).size;
  const missing = [...wanted].reduce((sum, [call, count]) => sum + Math.max(0, count - (found.get(call) ?? 0)), 0);
  return { expected: expected.length, done: done.length, twice: Math.max(surplus, repeated), missing };
}
