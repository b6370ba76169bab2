// Goal: a program that speaks through the client sees the calls, errors and events of the system behind it, and
// nothing of the wire between.
// Method: the client on the real API in the same process, with a fake system; connections are broken by hand.
import { beforeEach, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import { createHttpApi } from "../gateway/http.ts";
import { FakeSystem, type FakeProcess } from "../gateway/system.fake.ts";
import { createClient, type ClientOptions, type Followed } from "./client.ts";

let system: FakeSystem;
let process: FakeProcess;
let pauses: number[];
let send: (request: Request) => Promise<Response>;

const clientWith = (options: Partial<ClientOptions> = {}): ReturnType<typeof createClient> =>
  createClient({
    url: "http://127.0.0.1:4180/",
    token: "t",
    fetch: (request) => send(request),
    pause: async (ms) => void pauses.push(ms),
    ...options,
  });

beforeEach(() => {
  system = new FakeSystem();
  system.scripts.set("refunds", async () => undefined);
  process = system.create("refunds");
  pauses = [];
  send = createHttpApi({
    system,
    token: "t",
    version: "0",
    clock: { nowMs: () => 0, after: () => () => undefined },
  }).fetch;
});

test("each call reaches the system with its arguments and brings back its answer", async () => {
  const client = clientWith();
  const { pid } = await client.process.spawn({ agent: "refunds", task: { ticket: "17/a" }, key: "k" });
  expect(system.operated.at(-1)).toEqual({
    name: "process.spawn",
    args: { agent: "refunds", task: { ticket: "17/a" }, key: "k" },
    by: "operator",
  });
  expect((await client.process.list({ state: "alive", limit: 1 })).processes.map((row) => row.pid)).toEqual([pid]);
  expect((await client.process.signal({ pid, signal: "kill", reason: "a & b = ü" })).pids).toEqual([pid]);
  expect((await client.process.wait({ pid, timeoutMs: 0 })).exit).toEqual({
    how: "killed",
    by: "operator",
    reason: "a & b = ü",
  });
  expect((await client.system.inspect({})).checks).toEqual(system.checks);
});

test("the actor is sent along", async () => {
  await clientWith({ actor: "ada" }).agent.list({});
  expect(system.operated.at(-1)?.by).toBe("ada");
});

test("errors arrive as they were thrown", async () => {
  const thrown = new OsError("model_failed", "Overloaded.", { retryable: true, data: { status: 529 } });
  system.operate = async () => {
    throw thrown;
  };
  const caught: unknown = await clientWith()
    .agent.list({})
    .catch((error: unknown) => error);
  expect(OsError.is(caught) && caught.toJSON()).toEqual(thrown.toJSON());
  await expect(clientWith({ token: "wrong" }).agent.list({})).rejects.toMatchObject({ code: "unauthenticated" });
});

test("no answer, and the answer of something else, are unreachable", async () => {
  send = async () => {
    throw new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED 127.0.0.1:4180") });
  };
  await expect(clientWith().agent.list({})).rejects.toMatchObject({
    code: "unreachable",
    data: { url: "http://127.0.0.1:4180" },
    message: expect.stringMatching(/ECONNREFUSED.*reeve up/),
  });
  send = async () => new Response("<html>", { status: 404 });
  await expect(clientWith().agent.list({})).rejects.toMatchObject({ code: "unreachable" });
  send = async () => new Response("<html>");
  await expect(clientWith().agent.list({})).rejects.toMatchObject({ code: "unreachable" });
});

test("a call given up by its caller is cancelled", async () => {
  send = (request) =>
    new Promise((_, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason as Error)));
  const leave = new AbortController();
  const asked = clientWith().agent.list({}, { signal: leave.signal });
  leave.abort();
  await expect(asked).rejects.toMatchObject({ code: "cancelled" });
});

const seqs = (items: readonly Followed[]): number[] =>
  items.flatMap((item) => (item.kind === "event" ? [item.event.seq] : []));

test("following gives events and words, and ends with the process", async () => {
  process.says("Hel", "lo");
  process.exits({ how: "completed", result: 1 });
  const items = await Array.fromAsync(clientWith().follow(process.pid));
  expect(seqs(items)).toEqual([0, 1, 2]);
  expect(items.flatMap((item) => (item.kind === "delta" ? [item.text] : []))).toEqual(["Hel", "lo"]);
  expect(seqs(await Array.fromAsync(clientWith().follow(process.pid, { from: 2 })))).toEqual([2]);
});

/** Lets the first `times` streams deliver `bytes` bytes each and then break. */
function breaking(times: number, bytes: number): string[] {
  const resumed: string[] = [];
  const whole = send;
  send = async (request) => {
    resumed.push(request.headers.get("last-event-id") ?? "none");
    const response = await whole(request);
    if (resumed.length > times || response.body === null) return response;
    let left = bytes;
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        controller.enqueue(chunk.subarray(0, left));
        left -= chunk.byteLength;
        if (left <= 0) controller.error(new Error("socket hang up"));
      },
    });
    return new Response(response.body.pipeThrough(cut), response);
  };
  return resumed;
}

test("a broken connection is taken up after the last event seen; nothing is missed or doubled", async () => {
  for (let at = 0; at < 9; at += 1) process.calls("shop.look", { at }, "ü".repeat(40));
  process.exits({ how: "completed", result: 1 });
  const resumed = breaking(6, 1100);
  expect(seqs(await Array.fromAsync(clientWith().follow(process.pid)))).toEqual(process.events.map(({ seq }) => seq));
  expect(resumed.length).toBeGreaterThan(3);
  expect(resumed[0]).toBe("none");
  expect(resumed.slice(1).map(Number)).toEqual(
    resumed
      .slice(1)
      .map(Number)
      .toSorted((a, b) => a - b),
  );
});

test("a connection that never works is an error at once; one that no longer works after bounded attempts", async () => {
  const working = send;
  send = async () => {
    throw new TypeError("fetch failed");
  };
  await expect(Array.fromAsync(clientWith().follow(process.pid))).rejects.toMatchObject({ code: "unreachable" });
  expect(pauses).toEqual([]);

  let asked = 0;
  send = async (request) => {
    asked += 1;
    if (asked > 1) throw new TypeError("fetch failed");
    const response = await working(request);
    return new Response(
      response.body?.pipeThrough(
        new TransformStream<Uint8Array, Uint8Array>({ transform: (chunk, to) => (to.enqueue(chunk), to.terminate()) }),
      ),
      response,
    );
  };
  await expect(Array.fromAsync(clientWith().follow(process.pid))).rejects.toMatchObject({ code: "unreachable" });
  expect(asked).toBe(9);
  expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000]);
});

test("an unknown process is not found, and the signal ends following without an error", async () => {
  await expect(Array.fromAsync(clientWith().follow("p_zzzzzzzzzzzz" as typeof process.pid))).rejects.toMatchObject({
    code: "not_found",
  });
  const leave = new AbortController();
  const seen: Followed[] = [];
  for await (const item of clientWith().follow(process.pid, { signal: leave.signal })) {
    seen.push(item);
    leave.abort();
  }
  expect(seqs(seen)).toEqual([0]);
  await expect.poll(() => system.following).toBe(0);
});
