// That the user of a recorded conversation says each thing once, also when driven again after the server died, and
// that what was acknowledged and is gone is noticed. The server is a journal in memory.
import { expect, test } from "vitest";
import type { Event, EventHeader } from "../src/abi/events.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Json } from "../src/abi/json.ts";
import type { Client } from "../src/sdk/client.ts";
import { Conversation } from "./conversation.ts";
import type { Recording } from "./recordings.ts";

const recording: Recording = { id: "r", system: "", says: ["one", "two", "three"], lines: [], turns: 3 };
const PID = "p_000000000000" as ProcessId;
const signal = new AbortController().signal;

/** A process that receives messages until `end`; `dieAfter` events it stops answering, once. */
class FakeServer {
  events: Event[] = [];
  heard: string[] = [];
  #call = 0;
  #dieAfter: number;

  constructor(dieAfter = Infinity) {
    this.#dieAfter = dieAfter;
    this.#add({ kind: "process.created" }, { task: "one" });
    this.#wait();
  }

  #add(header: object, payloads: { [name: string]: Json } = {}): void {
    this.events.push({ pid: PID, seq: this.events.length, atMs: 0, header: header as EventHeader, payloads, hash: "" });
  }

  #wait(): void {
    this.#call += 1;
    this.#add({
      kind: "call.waiting",
      call: this.#call,
      syscall: "message.receive",
      wait: { on: "message", call: this.#call },
    });
  }

  #hear(topic: string, body: Json): string {
    const message = `m_${this.heard.length}`;
    this.heard.push(topic === "end" || typeof body !== "string" ? topic : body);
    this.#add({ kind: "message.delivered", message, topic }, { body });
    this.#add({ kind: "call.completed", call: this.#call, syscall: "message.receive" });
    if (topic === "end") this.#add({ kind: "process.exited", how: "completed" }, { exit: { how: "completed" } });
    else this.#wait();
    return message;
  }

  client(): Client {
    const die = (): void => {
      if (this.events.length < this.#dieAfter) return;
      this.#dieAfter = Infinity;
      throw new Error("The server died.");
    };
    const { events } = this;
    async function* follow(_pid: ProcessId, { from }: { from: number }): AsyncGenerator {
      for (let at = from; at < events.length; at += 1) yield { kind: "event", event: structuredClone(events[at]) };
    }
    return {
      process: { spawn: async () => ({ pid: PID }) },
      journal: { read: async ({ from }: { from: number }) => ({ events: structuredClone(this.events.slice(from)) }) },
      message: {
        send: async ({ topic, body }: { topic: string; body: Json }) => {
          const message = this.#hear(topic, body);
          die();
          return { message };
        },
      },
      follow,
    } as unknown as Client;
  }
}

test("says everything in order, then ends it", async () => {
  const server = new FakeServer();
  const conversation = new Conversation({ recording, agent: "a" });
  await conversation.drive(server.client(), signal);
  expect(server.heard).toEqual(["two", "three", "end"]);
  expect(conversation.ending).toBe("completed");
  expect(await conversation.lost(server.client(), signal)).toEqual([]);
});

test("after a death between a message's delivery and its acknowledgement it is not said again", async () => {
  const server = new FakeServer(4);
  const conversation = new Conversation({ recording, agent: "a" });
  await expect(conversation.drive(server.client(), signal)).rejects.toThrow("died");
  expect(conversation.state).toBe("open");
  await conversation.drive(server.client(), signal);
  expect(server.heard).toEqual(["two", "three", "end"]);
});

test("an event that is gone or changed, and a message that was promised and is gone, are lost", async () => {
  const server = new FakeServer();
  const conversation = new Conversation({ recording, agent: "a" });
  await conversation.drive(server.client(), signal);
  const changed = server.events[2];
  if (changed !== undefined) server.events[2] = { ...changed, atMs: 1 };
  expect(await conversation.lost(server.client(), signal)).toMatchObject([{ count: 1 }]);
  server.events.splice(-3);
  expect(await conversation.lost(server.client(), signal)).toMatchObject([
    { count: 4 },
    { what: expect.stringContaining("messages"), count: 1 },
  ]);
});
