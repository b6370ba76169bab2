// Goal: the socket is on loopback, a taken port is said so, and closing waits for nobody who would never leave.
// Method: real sockets on free ports of 127.0.0.1, with a clock whose timers never fire unless the test says so.
import { expect, test } from "vitest";
import { listen } from "./listen.ts";

const fires: (() => void)[] = [];
const clock = { nowMs: () => 0, after: (_ms: number, fire: () => void) => (fires.push(fire), () => undefined) };

test("serves on loopback and closes", async () => {
  const listening = await listen({
    fetch: async (request) => new Response(new URL(request.url).pathname),
    port: 0,
    clock,
  });
  expect(listening.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect(await (await fetch(`${listening.url}/hello`)).text()).toBe("/hello");
  await listening.close();
  await listening.close();
  await expect(fetch(listening.url)).rejects.toThrow();
});

test("a taken port is named, with the remedy", async () => {
  const first = await listen({ fetch: async () => new Response(""), port: 0, clock });
  const port = Number(new URL(first.url).port);
  await expect(listen({ fetch: async () => new Response(""), port, clock })).rejects.toMatchObject({
    code: "address_in_use",
    data: { port },
    message: expect.stringContaining("--port"),
  });
  await first.close();
});

test("closing ends event streams and stops what feeds them", async () => {
  const stopped = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(": hello\n\n")),
    cancel: () => stopped.resolve(),
  });
  const listening = await listen({
    fetch: async () => new Response(body, { headers: { "content-type": "text/event-stream" } }),
    port: 0,
    clock,
  });
  const reader = (await fetch(listening.url)).body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(": hello\n\n");
  await listening.close();
  await stopped.promise;
  expect((await reader?.read())?.done).toBe(true);
});

test("closing lets a call under way finish", async () => {
  const answer = Promise.withResolvers<Response>();
  const arrived = Promise.withResolvers<void>();
  const listening = await listen({ fetch: () => (arrived.resolve(), answer.promise), port: 0, clock });
  const asked = fetch(listening.url);
  await arrived.promise;
  const closed = listening.close();
  answer.resolve(new Response("finished"));
  expect(await (await asked).text()).toBe("finished");
  await closed;
});

test("what never finishes is cut after the grace time", async () => {
  const arrived = Promise.withResolvers<void>();
  const listening = await listen({
    fetch: () => (arrived.resolve(), new Promise<Response>(() => undefined)),
    port: 0,
    clock,
  });
  const asked = fetch(listening.url).then(
    () => "answered",
    () => "cut",
  );
  await arrived.promise;
  const closed = listening.close();
  fires.at(-1)?.();
  expect(await asked).toBe("cut");
  await closed;
});

test("a client that leaves a stream stops what feeds it", async () => {
  const stopped = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(": hello\n\n")),
    cancel: () => stopped.resolve(),
  });
  const listening = await listen({
    fetch: async () => new Response(body, { headers: { "content-type": "text/event-stream" } }),
    port: 0,
    clock,
  });
  const leave = new AbortController();
  await (await fetch(listening.url, { signal: leave.signal })).body?.getReader().read();
  leave.abort();
  await expect(stopped.promise).resolves.toBeUndefined();
  await listening.close();
});
