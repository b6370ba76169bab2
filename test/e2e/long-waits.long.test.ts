// Goal: a process that waits, for whatever it is, takes no room in memory, outlives restarts, and wakes for what it waits
// for. Method: a server with room for one process and one program at a time runs seven that wait; each could not begin if the
// one before it had not left memory.
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ProcessId, RequestId } from "../../src/abi/ids.ts";
import type { Wait } from "../../src/abi/process.ts";
import { eventOf, exitOf } from "./fixtures/events.ts";
import { Project, type Server } from "./fixtures/project.ts";

let project: Project;
let server: Server;
beforeAll(async () => {
  project = new Project();
  project.write(
    "reeve.config.ts",
    "export default { limits: { processesInMemory: 1, moduleProcesses: 1, parkAfterMs: 1 } };\n",
  );
  server = await project.up();
});
afterAll(() => project.remove());

const restart = async (signal: NodeJS.Signals): Promise<void> => {
  await server.end(signal);
  server = await project.up();
};

const begin = async (task: string): Promise<ProcessId> =>
  (await server.client.process.spawn({ agent: "waiter", task })).pid;

/** What it waits for, once it does. */
const waitOf = async (pid: ProcessId): Promise<Wait> =>
  (await eventOf(server.client, { pid, kind: "call.waiting" })).wait;

const statesOf = async (pids: readonly ProcessId[]): Promise<readonly string[]> =>
  Promise.all(pids.map(async (pid) => (await server.client.process.show({ pid })).process.state));

it("processes wait where there is room for one, through restarts, and each wakes for what it waits for", async () => {
  const message = await begin("message");
  const decision = await begin("decision");
  const year = await begin("year");
  const parent = await begin("child");
  const moment = await begin("moment");
  const waits = await Promise.all([message, decision, year, parent, moment].map(waitOf));
  expect(waits.map(({ on }) => on)).toEqual(["message", "human", "time", "process", "time"]);
  const child = waits[3]?.on === "process" ? waits[3].pid : message;
  expect((await waitOf(child)).on).toBe("message");

  // The clock wakes it although nothing else happens, in this server or in the next.
  expect(await exitOf(server.client, moment)).toMatchObject({ how: "completed" });
  const later = await begin("moment");
  expect((await waitOf(later)).on).toBe("time");
  await restart("SIGKILL");
  expect(await exitOf(server.client, later)).toMatchObject({ how: "completed" });
  await restart("SIGTERM");
  expect(await statesOf([message, decision, year, parent, child])).toEqual(Array(5).fill("waiting"));

  await server.client.message.send({ pid: message, body: "hello" });
  expect(await exitOf(server.client, message)).toEqual({ how: "completed", result: "hello" });

  const request = waits[1]?.on === "human" ? waits[1].request : ("" as RequestId);
  await server.client.human.decide({ request, decision: { verdict: "answered", answer: "yes" } });
  expect(await exitOf(server.client, decision)).toEqual({ how: "completed", result: "yes" });

  // The child's exit is what its parent waits for.
  await server.client.message.send({ pid: child, body: "grow up" });
  const exit = { how: "completed", result: "grow up" };
  expect(await exitOf(server.client, parent)).toEqual({ how: "completed", result: { pid: child, exit } });

  expect(await statesOf([year])).toEqual(["waiting"]);
  await server.client.process.signal({ pid: year, signal: "kill" });
  expect((await server.client.process.list({ state: "alive" })).processes).toEqual([]);
});
