// Goal: the client's types say what the syscall table says.
import { expectTypeOf, test } from "vitest";
import type { ProcessId, RequestId } from "../../src/abi/ids.ts";
import type { Exit, ProcessRow } from "../../src/abi/process.ts";
import { createClient, type Client, type Followed } from "../../src/sdk/client.ts";

const client: Client = createClient({ url: "http://127.0.0.1:4180", token: "t" });

test("each operator's call is a method with the table's types", () => {
  expectTypeOf(client.process.spawn).returns.resolves.toEqualTypeOf<{ pid: ProcessId }>();
  expectTypeOf(client.process.list).returns.resolves.toEqualTypeOf<{ processes: ProcessRow[] }>();
  expectTypeOf(client.process.wait).returns.resolves.toEqualTypeOf<{ exit: Exit | null }>();
  expectTypeOf(client.human.decide).parameter(0).toHaveProperty("request").toEqualTypeOf<RequestId>();
  expectTypeOf<keyof Client>().toEqualTypeOf<
    "process" | "message" | "human" | "journal" | "agent" | "tool" | "workspace" | "schedule" | "system" | "follow"
  >();
  expectTypeOf<keyof Client["journal"]>().toEqualTypeOf<"read" | "verify">();
  expectTypeOf<keyof Client["human"]>().toEqualTypeOf<"list" | "decide">();
});

test("numbers that the server also reads from text are numbers here", () => {
  expectTypeOf(client.process.list).parameter(0).toHaveProperty("limit").toEqualTypeOf<number | undefined>();
  expectTypeOf(client.process.wait).parameter(0).toHaveProperty("timeoutMs").toEqualTypeOf<number | undefined>();
});

test("what the table does not allow does not compile", () => {
  const pid = "p_000000000000" as ProcessId;
  // @ts-expect-error a bare string is no process id
  void (() => client.process.show({ pid: "p_000000000000" }));
  // @ts-expect-error there is no such signal
  void (() => client.process.signal({ pid, signal: "pause" }));
  expectTypeOf(client.human).not.toHaveProperty("ask");
  // @ts-expect-error the agent is missing
  void (() => client.process.spawn({ task: "t" }));
  expectTypeOf(client.follow(pid)).toExtend<AsyncIterable<Followed>>();
});
