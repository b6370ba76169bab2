// Goal: a reader of a process's events misses none and sees none twice, and costs nothing once it has left.
// Method: the stream's bytes are read from `fetch` without a socket; time is a list of timers that the test fires.
import { beforeEach, expect, test } from "vitest";
import type { Event } from "../abi/events.ts";
import { STREAM_BACKLOG_BYTES_MAX, STREAM_HEARTBEAT_MS } from "../abi/limits.ts";
import { createHttpApi } from "./http.ts";
import { FakeSystem, type FakeProcess } from "./system.fake.ts";

let system: FakeSystem;
let process: FakeProcess;
let timers: { readonly ms: number; readonly fire: () => void }[];

const clock = {
  nowMs: () => 0,
  after: (ms: number, fire: () => void) => {
    const timer = { ms, fire };
    timers.push(timer);
    return () => void (timers = timers.filter((each) => each !== timer));
  },
};

beforeEach(() => {
  timers = [];
  system = new FakeSystem();
  process = system.create("refunds");
});

function open(query = "", headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  const api = createHttpApi({ system, token: "t", version: "0", clock });
  const url = `http://localhost/v1/processes/${process.pid}/events${query}`;
  return api.fetch(
    new Request(url, {
      headers: { authorization: "Bearer t", ...headers },
      ...(signal === undefined ? {} : { signal }),
    }),
  );
}

type Frame = { readonly id?: string; readonly event?: string; readonly data?: string; readonly comment?: string };

async function* frames(response: Response): AsyncGenerator<Frame> {
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  let rest = "";
  for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      yield Object.fromEntries(
        block.split("\n").map((line) => {
          const [field = "", ...value] = line.split(": ");
          return [field === "" ? "comment" : field, value.join(": ")];
        }),
      );
    }
  }
}

const collect = (response: Response): Promise<Frame[]> => Array.fromAsync(frames(response));
const ids = (list: readonly Frame[]): (string | undefined)[] =>
  list.filter(({ event }) => event === "event").map(({ id }) => id);

test("events come with their seq as id, words without, and the end last", async () => {
  process.says("Hel", "lo");
  process.exits({ how: "completed", result: "done" });
  const list = await collect(await open());
  expect(list.map(({ id, event }) => [event, id])).toEqual([
    [undefined, undefined],
    ["event", "0"],
    ["delta", undefined],
    ["delta", undefined],
    ["event", "1"],
    ["event", "2"],
    ["end", undefined],
  ]);
  const [, created, delta] = list;
  expect((JSON.parse(created?.data ?? "") as Event).header.kind).toBe("process.created");
  expect(JSON.parse(delta?.data ?? "")).toEqual({ pid: process.pid, call: 0, text: "Hel" });
  expect(system.following).toBe(0);
});

test("Last-Event-ID resumes after it, and wins over from", async () => {
  for (let at = 0; at < 5; at += 1) process.calls("shop.look", { at }, "seen");
  process.exits({ how: "completed", result: null });
  expect(ids(await collect(await open("?from=4")))).toEqual(["4", "5", "6"]);
  expect(ids(await collect(await open("?from=0", { "last-event-id": "4" })))).toEqual(["5", "6"]);
  expect(ids(await collect(await open("", { "last-event-id": "6" })))).toEqual([]);
});

test("a wrong start and an unknown process are problems, not streams", async () => {
  expect((await open("?from=-1")).status).toBe(400);
  expect((await open("", { "last-event-id": "soon" })).status).toBe(400);
  process = { pid: "p_zzzzzzzzzzzz" } as unknown as FakeProcess;
  expect((await open()).status).toBe(404);
  expect(system.following).toBe(0);
});

test("what happens later comes as it happens", async () => {
  const reader = frames(await open("?from=1"));
  await reader.next();
  const next = reader.next();
  process.calls("shop.look", {}, "seen");
  expect((await next).value).toMatchObject({ event: "event", id: "1" });
  await reader.return(undefined);
});

test("silence is broken by a comment, again and again", async () => {
  const reader = frames(await open("?from=1"));
  await reader.next();
  for (let round = 0; round < 2; round += 1) {
    expect(timers.map(({ ms }) => ms)).toEqual([STREAM_HEARTBEAT_MS]);
    timers.shift()?.fire();
    expect((await reader.next()).value).toEqual({ comment: "still here" });
  }
  await reader.return(undefined);
  await expect.poll(() => timers).toEqual([]);
});

test("a reader that does not read is given what was held for it, and resumes where that ended", async () => {
  const response = await open();
  const big = "x".repeat(STREAM_BACKLOG_BYTES_MAX / 4);
  for (let at = 0; at < 12; at += 1) process.calls("shop.look", { at }, big);
  await expect.poll(() => system.following).toBe(0);
  process.exits({ how: "completed", result: null });
  const first = await collect(response);
  expect(first.at(-1)?.event).toBe("event");
  const bytes = first.reduce((sum, { data = "" }) => sum + data.length, 0);
  expect(bytes).toBeLessThan(STREAM_BACKLOG_BYTES_MAX * 1.5);

  const seen = ids(first);
  for (let round = 0; round < 20; round += 1) {
    const more = await collect(await open("", { "last-event-id": seen.at(-1) ?? "" }));
    seen.push(...ids(more));
    if (more.at(-1)?.event === "end") break;
  }
  expect(seen).toEqual(process.events.map(({ seq }) => String(seq)));
});

test("an event larger than the limit still gets through", async () => {
  process.calls("shop.look", {}, "x".repeat(STREAM_BACKLOG_BYTES_MAX * 2));
  process.exits({ how: "completed", result: null });
  const seen = ids(await collect(await open()));
  seen.push(...ids(await collect(await open("", { "last-event-id": seen.at(-1) ?? "" }))));
  expect(seen).toEqual(["0", "1", "2"]);
});

test.each(["cancels the body", "aborts the request"])("a reader that %s stops the follower", async (how) => {
  const request = new AbortController();
  const response = await open("", {}, request.signal);
  await expect.poll(() => system.following).toBe(1);
  if (how === "cancels the body") await response.body?.cancel();
  else request.abort();
  await expect.poll(() => system.following).toBe(0);
  expect(timers).toEqual([]);
});

test("a follower that fails says so in the stream", async () => {
  system.follow = async function* fail() {
    yield { kind: "delta", pid: process.pid, call: 0, text: "so far" };
    throw new Error("the disk is gone");
  };
  const list = await collect(await open());
  expect(list.at(-1)?.event).toBe("problem");
  expect(JSON.parse(list.at(-1)?.data ?? "")).toMatchObject({ code: "internal", detail: "the disk is gone" });
});
