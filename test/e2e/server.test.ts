// Goal: what a process has done and waits for outlives the program that runs it, however that ends, and the command line
// finds its way to whoever runs it. Method: the real binary in a project of its own; the test decides when a tool's call
// is over, so that the server can be killed in the middle of it.
import { readFileSync, existsSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { OsError } from "../../src/abi/errors.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import { createClient } from "../../src/sdk/client.ts";
import { eventOf, exitOf, journalOf } from "./fixtures/events.ts";
import { Gate } from "./fixtures/gate.ts";
import { Project, type Server, STACK } from "./fixtures/project.ts";

const summarySchema = z.object({
  pid: z.custom<ProcessId>((value) => typeof value === "string"),
  state: z.string(),
  exit: z.object({ how: z.string(), result: z.json().optional() }).nullable(),
  requests: z.array(z.object({ request: z.string(), question: z.string() })),
});
const rowsSchema = z.object({
  processes: z.array(z.object({ pid: z.string(), agent: z.string(), state: z.string() })),
});
const verifySchema = z.object({ identical: z.boolean(), chain: z.object({ intact: z.boolean() }) });
const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
const REPLAYS = { identical: true, chain: { intact: true } };

const lastLine = (text: string): unknown => JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");

/** Whatever the server says to a request, as it comes. */
async function ask(server: Server, path: string, headers: Readonly<Record<string, string>>) {
  const { port } = new URL(server.url);
  const sent = request({ host: "127.0.0.1", port, path, headers });
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body += chunk;
  return { status: response.statusCode, body };
}

/** The ids and the kinds of the frames of an event stream, to its end. */
async function framesAfter(server: Server, pid: ProcessId, seq: number) {
  const { body } = await ask(server, `/v1/processes/${pid}/events`, {
    authorization: `Bearer ${server.token}`,
    "last-event-id": String(seq),
  });
  return {
    ids: [...body.matchAll(/^id: ?(\d+)$/gm)].map(([, id]) => Number(id)),
    kinds: new Set([...body.matchAll(/^event: ?(\w+)$/gm)].map(([, kind]) => kind)),
  };
}

describe("a server that is killed", () => {
  let gate: Gate;
  let project: Project;
  let server: Server;
  /** `kill -9`, and a new server on the same folder. */
  const crash = async (): Promise<void> => {
    await server.end("SIGKILL");
    server = await project.up();
  };

  beforeAll(async () => {
    gate = await Gate.start();
    project = new Project({ GATE_URL: gate.url });
    server = await project.up();
  });
  afterAll(async () => {
    await project.remove();
    gate.close();
  });

  /** Kills it during a call of this tool; the call that comes after it is the same one. */
  async function crashDuring(place: string): Promise<void> {
    const before = await gate.next(place);
    await crash();
    const after = await gate.next(place);
    expect(after.key).toBe(before.key);
    after.answer(`${place}, in the end`);
  }

  it("goes on from its journal, in each kind of waiting and while a tool is called", async () => {
    const spawn = { agent: "journey", task: { why: "a test" }, key: "journey-1" };
    const { pid } = await server.client.process.spawn(spawn);
    expect(await server.client.process.spawn(spawn)).toEqual({ pid });

    await crashDuring("look-journey");
    await crashDuring("put-journey");

    // What cannot be repeated is asked for: the tool itself knows, or a human does.
    await gate.next("pay-journey");
    await crash();
    (await gate.next("paid")).answer("done");
    await gate.next("letter-journey");
    await crash();
    const { request: settlement } = await eventOf(
      server.client,
      { pid, kind: "request.opened" },
      ({ requestKind }) => requestKind === "settlement",
    );
    await project.json(
      z.object({ verdict: z.literal("settled") }),
      "approve",
      settlement,
      "--outcome",
      "done",
      "--result",
      "sent",
    );

    await eventOf(server.client, { pid, kind: "call.waiting" }, ({ wait }) => wait.on === "time");
    await crash();
    const { request: question } = await eventOf(
      server.client,
      { pid, kind: "request.opened" },
      ({ requestKind }) => requestKind === "question",
    );
    await crash();
    await server.client.human.decide({ request: question, decision: { verdict: "answered", answer: "left" } });
    await eventOf(server.client, { pid, kind: "call.waiting" }, ({ wait }) => wait.on === "message");
    await crash();
    await server.client.message.send({ pid, topic: "go", body: { now: true } });

    await eventOf(server.client, { pid, kind: "call.waiting" }, ({ wait }) => wait.on === "process");
    await crashDuring("look-clerk");

    expect(await exitOf(server.client, pid)).toEqual({
      how: "completed",
      result: {
        task: spawn.task,
        look: "look-journey, in the end",
        put: "put-journey, in the end",
        pay: "paid before",
        letter: "sent",
        answer: "left",
        message: { now: true },
        clerk: { text: "The clerk is done.", turns: 2 },
      },
    });
    expect(gate.keys.get("pay-journey")).toHaveLength(1);
    expect(gate.keys.get("letter-journey")).toHaveLength(1);
    const settled = (await journalOf(server.client, pid)).flatMap(({ header }) =>
      header.kind === "call.completed" && header.settled !== undefined ? [header.settled] : [],
    );
    expect(settled).toEqual(["repeat", "reconcile", "human"]);
    expect((await server.client.process.list({})).processes.map(({ agent }) => agent)).toEqual(["clerk", "journey"]);

    const { events } = (await server.client.process.show({ pid })).process;
    const { ids, kinds } = await framesAfter(server, pid, 4);
    expect(ids).toEqual(Array.from({ length: events - 5 }, (_, at) => at + 5));
    expect(kinds).toEqual(new Set(["event", "end"]));
    expect(await project.json(verifySchema, "replay", pid, "--verify")).toMatchObject(REPLAYS);
  });

  it("loses nothing when it dies at a write, before it is on disk or right after", async () => {
    gate.open("look-errand", "looked");
    gate.open("put-errand", "put");
    gate.open("look-clerk", "looked");
    await server.end("SIGTERM");
    const spawn = { agent: "errand", task: null, key: "errand-1" };
    const born = new Set<ProcessId>();
    for (const point of ["1", "1:after", "2:before", "3:after", "2", "4:after"]) {
      const dying = await project.up({ env: { REEVE_CRASH_AT_WRITE: point } }).catch(() => undefined);
      // It may die before it answers, or after it has done all that was left to do.
      const answered = await dying?.client.process.spawn(spawn).catch((error: unknown) => {
        if (!OsError.is(error, "unreachable")) throw error;
      });
      if (answered === undefined) continue;
      born.add(answered.pid);
      const over = exitOf(createClient(dying ?? server), answered.pid).catch(() => undefined);
      if ((await Promise.race([dying?.ended, over])) !== undefined) await dying?.end("SIGKILL");
    }
    server = await project.up();
    const { pid } = await server.client.process.spawn(spawn);
    expect(await exitOf(server.client, pid)).toEqual({
      how: "completed",
      result: { look: "looked", put: "put", clerk: "completed" },
    });
    expect([...born, pid].every((each) => each === pid)).toBe(true);
    expect(new Set(gate.keys.get("put-errand")).size).toBe(1);
    const family = (await server.client.process.list({ root: pid })).processes.map(({ agent, state }) => [
      agent,
      state,
    ]);
    expect(family).toEqual([
      ["clerk", "exited"],
      ["errand", "exited"],
    ]);
    expect(await project.json(verifySchema, "replay", pid, "--verify")).toMatchObject(REPLAYS);
  });
});

describe("a server that runs", () => {
  let gate: Gate;
  let project: Project;
  let server: Server;
  beforeAll(async () => {
    gate = await Gate.start();
    project = new Project({ GATE_URL: gate.url });
    server = await project.up();
  });
  afterAll(async () => {
    await project.remove();
    gate.close();
  });

  it("is found by the commands of its project, which do not start another", async () => {
    const detached = await project.json(z.object({ pid: z.string() }), "run", "asker", "Rover", "--detach");
    expect((await server.client.process.list({})).processes.map(({ pid }) => pid)).toEqual([detached.pid]);
    const second = await project.reeve("up", "--port", "0", "--json");
    expect(second.status).toBe(1);
    expect(errorSchema.parse(lastLine(second.out)).error).toEqual(
      expect.objectContaining({ code: "store_busy", message: expect.stringContaining(`at ${server.url}`) }),
    );
    expect(second.error).toContain("stop it with Ctrl-C where it runs");
    await server.client.process.signal({ pid: detached.pid as ProcessId, signal: "kill" });
  });

  it("lets nobody in without its token, nor under another name", async () => {
    const path = "/v1/processes";
    const authorization = `Bearer ${server.token}`;
    expect(await ask(server, path, { authorization })).toMatchObject({ status: 200 });
    expect(await ask(server, path, { authorization: "Bearer wrong" })).toMatchObject({
      status: 401,
      body: expect.stringContaining("carries a wrong token") as unknown,
    });
    expect(await ask(server, path, { authorization, host: "evil.example" })).toMatchObject({
      status: 403,
      body: expect.stringContaining("is not this machine's own") as unknown,
    });
    await expect(createClient({ url: server.url, token: "" }).process.list({})).rejects.toMatchObject({
      code: "unauthenticated",
      message: expect.stringContaining("the token that `reeve up` prints") as unknown,
    });
  });

  it("goes on without the command that followed, which says how to come back", async () => {
    const following = project.start(["run", "journey"]);
    const under = await gate.next("look-journey");
    following.child.kill("SIGINT");
    const left = await following.ended;
    expect(left.status).toBe(130);
    const pid = /Come back with\n\s+(?:npx )?reeve wait (p_\w+)/.exec(left.out)?.[1] ?? "";
    expect(left.out).toContain(`goes on at ${server.url}`);

    const waiting = project.start(["wait", pid, "--json"]);
    under.answer("seen");
    (await gate.next("put-journey")).answer("placed");
    await server.client.process.signal({ pid: pid as ProcessId, signal: "kill", reason: "enough" });
    const over = await waiting.ended;
    expect(over.status).toBe(1);
    expect(summarySchema.parse(lastLine(over.out))).toMatchObject({ pid, exit: { how: "killed" } });
  });

  it("names the calls that a kill ends, be they effects or not", async () => {
    const spawn = { agent: "journey", task: {} };
    const looking = await server.client.process.spawn(spawn);
    await gate.next("look-journey");
    const putting = await server.client.process.spawn(spawn);
    (await gate.next("look-journey")).answer("seen");
    await gate.next("put-journey");
    const killed = await project.reeve("kill", looking.pid, putting.pid);
    expect(killed.status).toBe(0);
    const lines = killed.out.split("\n");
    expect(lines).toContain('    ended: #0 kit.look {"what":"journey"}');
    expect(lines).toContain('    uncertain: #1 kit.put {"what":"journey"} may or may not have happened');
    expect(lines.filter((line) => line.includes("#"))).toHaveLength(2);
  });

  it("ends at SIGTERM and at Ctrl-C when it has parked what is under way", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { pid } = await server.client.process.spawn({ agent: "asker", task: signal });
      const { request: asked } = await eventOf(server.client, { pid, kind: "request.opened" });
      const ended = await server.end(signal);
      expect(ended).toMatchObject({ status: 0, signal: null });
      expect(ended.error).toContain("goes on at the next start");
      expect(existsSync(project.path(".reeve", "server.json"))).toBe(false);
      server = await project.up();
      await server.client.human.decide({ request: asked, decision: { verdict: "answered", answer: signal } });
      expect(await exitOf(server.client, pid)).toEqual({ how: "completed", result: { answer: signal } });
    }
  });

  it("does not start on a port that is taken, and runs nothing then", async () => {
    await server.end("SIGTERM");
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const refused = await project.reeve("up", "--port", String(port));
    expect(refused).toMatchObject({ status: 1, out: "" });
    expect(refused.error).toContain(`Port ${port} is taken by another program. Choose another with \`--port\``);
    expect(refused.error).not.toMatch(STACK);
    taken.close();
    const beyond = await project.reeve("up", "--port", "65536");
    expect(beyond.status).toBe(2);
    expect(beyond.error).toContain("at least 0 and at most 65535");
    server = await project.up();
    expect((await server.client.process.list({ state: "alive" })).processes).toEqual([]);
  });
});

describe("without a server", () => {
  let gate: Gate;
  let project: Project;
  beforeAll(async () => {
    gate = await Gate.start();
    project = new Project({ GATE_URL: gate.url });
  });
  afterAll(async () => {
    await project.remove();
    gate.close();
  });

  it("a command runs the process itself, and another takes it up where that stopped", async () => {
    const asking = await project.reeve("run", "asker", "Rex", "--json");
    expect(asking.status).toBe(6);
    const { pid, requests } = summarySchema.parse(lastLine(asking.out));
    expect(requests).toEqual([expect.objectContaining({ question: 'What is the name of "Rex"?' })]);
    const answered = await project.json(summarySchema, "approve", requests[0]?.request ?? "", "--answer", "Rex");
    expect(answered).toMatchObject({ pid, exit: { how: "completed", result: { answer: "Rex" } } });
  });

  it("a second command is told whom to wait for, and Ctrl-C leaves the process to a third", async () => {
    gate.open("put-errand", "put");
    gate.open("look-clerk", "looked");
    const first = project.start(["run", "errand"]);
    await gate.next("look-errand");
    const second = await project.reeve("ps");
    expect(second).toMatchObject({ status: 1, out: "" });
    expect(second.error).toContain(`Another command of Reeve (pid ${String(first.child.pid)})`);
    expect(second.error).toContain("Wait for it to end, or press Ctrl-C in it");

    first.child.kill("SIGINT");
    const left = await first.ended;
    expect(left.status).toBe(130);
    const pid = /reeve wait (p_\w+)/.exec(left.out)?.[1] ?? "";
    expect(left.out).toContain(`${pid} is parked on disk`);
    const third = project.start(["wait", pid, "--json"]);
    (await gate.next("look-errand")).answer("looked");
    const over = await third.ended;
    expect(over.status).toBe(0);
    expect(summarySchema.parse(lastLine(over.out))).toMatchObject({ pid, exit: { how: "completed" } });
  });

  it("a server's address is not believed once nobody listens there", async () => {
    const server = await project.up();
    const file = project.path(".reeve", "server.json");
    const kept = z.looseObject({ pid: z.int() }).parse(JSON.parse(readFileSync(file, "utf8")));
    await server.end("SIGKILL");
    expect((await project.json(rowsSchema, "ps", "--all")).processes).not.toEqual([]);
    // The number of the dead server's process may belong to another program by now: to this one, say.
    writeFileSync(file, JSON.stringify({ ...kept, pid: process.pid }));
    expect((await project.json(rowsSchema, "ps", "--all")).processes).not.toEqual([]);
    await (await project.up()).end("SIGTERM");
  });
});
