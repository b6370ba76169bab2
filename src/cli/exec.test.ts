// Goal: `exec` passes on what a program says as other programs that start programs do: each stream to its own, nothing of Reeve's
// among it, and the program's status as its own. Method: a fake host whose process answers as the tool does.
import { describe, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "../abi/limits.ts";
import type { FakeProcess } from "../gateway/system.fake.ts";
import { bare, FakeHost, json } from "./host.fake.ts";
import { fieldOf } from "./terminal/text.ts";

function ran(host: FakeHost, program: (process: FakeProcess) => void | Promise<void>): FakeHost {
  host.notices = ["A notice."];
  host.system.scripts.set("program", async (process) => program(process));
  return host;
}

function answers(process: FakeProcess, data: { readonly [name: string]: Json }): void {
  const call = process.nextCall();
  process.append(
    { kind: "call.completed", call, syscall: "tool.call", effect: "write" },
    { value: { text: "[exit status 3]", data } },
  );
  process.exits({ how: "completed", result: data });
}

function breaksOff(process: FakeProcess, text: string, data: { readonly [name: string]: Json }): void {
  const error = new OsError("tool_failed", "It failed.", { data: { content: { text, data } } });
  process.fails("reeve.exec", {}, error);
  process.exits({ how: "failed", error: error.toJSON() });
}

const program = ["exec", "--", "program"] as const;

test("into a pipe each stream goes to its own, whole and alone; the status is the program's", async () => {
  const host = ran(new FakeHost(), (process) => {
    process.delta(0, "what is heard meanwhile");
    answers(process, { exitCode: 3, stdout: "out\n", stderr: "err \u001b[2J\n" });
  });
  expect(await host.reeve(...program)).toEqual({ status: 3, out: "out\n", err: "err \\u001b[2J\n" });
});

test("on a terminal it is shown as it comes, and not again at the end", async () => {
  const host = ran(new FakeHost({ terminal: true }), async (process) => {
    process.delta(0, "first ");
    await expect.poll(() => host.stdout.text).toContain("first ");
    process.delta(0, "second\n");
    answers(process, { exitCode: 0, stdout: "first second\n", stderr: "" });
  });
  const { status, out, err } = await host.reeve(...program);
  expect({ status, out: bare(out) }).toEqual({ status: 0, out: "first second\n" });
  expect(err).not.toContain("came through");
});

test("what was not heard is told", async () => {
  const host = ran(new FakeHost({ terminal: true }), (process) => {
    process.delta(0, "second\n");
    answers(process, { exitCode: 0, stdout: "first second\n", stderr: "" });
  });
  expect((await host.reeve(...program)).err).toContain("npx reeve journal p_040g2081040g --json");
});

test("a program that a signal or a limit ended has said what it said, and why it ended is told beside it", async () => {
  const killed = ran(new FakeHost(), (process) =>
    breaksOff(process, "[ended by SIGKILL]", { signal: "SIGKILL", stdout: "out\n", stderr: "" }),
  );
  expect(await killed.reeve(...program)).toEqual({ status: 137, out: "out\n", err: "[ended by SIGKILL]\n" });
  const limited = ran(new FakeHost(), (process) =>
    breaksOff(process, "[ended: too long]", { limit: "wallMs", stdout: "out\n", stderr: "", leftOutCharacters: 1200 }),
  );
  expect(await limited.reeve(...program)).toEqual({
    status: 1,
    out: "out\n",
    err: "The first 1,200 characters of what it said are left out.\n[ended: too long]\n",
  });
  expect(json(await limited.reeve("--json", ...program))).toMatchObject({ result: { limit: "wallMs" } });
});

test("what was never run leaves standard output empty", async () => {
  const host = ran(new FakeHost(), (process) => {
    const error = new OsError("isolation_unavailable", "There is no sandbox.");
    process.fails("reeve.exec", {}, error);
    process.exits({ how: "failed", error: error.toJSON() });
  });
  const { status, out, err } = await host.reeve(...program);
  expect({ status, out }).toEqual({ status: 1, out: "" });
  expect(err).toContain("There is no sandbox.");
});

test("options of the program before -- are not taken for its own, and it is said how", async () => {
  const { status, err } = await new FakeHost().reeve("exec", "sh", "-c", "true");
  expect(status).toBe(2);
  expect(err).toContain("reeve exec -- sh -c");
});

describe("standard input", () => {
  const withInput = ["exec", "--stdin", "--", "program"] as const;
  const quiet = (process: FakeProcess): void => answers(process, { exitCode: 0, stdout: "", stderr: "" });
  const tasks = (host: FakeHost): readonly Json[] => [...host.system.processes.values()].map(({ task }) => task);
  const given = async (...chunks: readonly Uint8Array[]): Promise<Json | undefined> => {
    const host = ran(new FakeHost(), quiet);
    for (const chunk of chunks) host.stdin.write(chunk);
    host.stdin.end();
    expect(await host.reeve(...withInput)).toMatchObject({ status: 0, err: "" });
    return fieldOf(tasks(host)[0], "input");
  };

  test("text is passed on as text, to its last byte", async () => {
    const text = Buffer.from("\ufeffa,1\r\n\u0000 \u{1f600} \n");
    expect(await given(text.subarray(0, 13), text.subarray(13))).toBe(text.toString());
  });

  test("what is not text is passed on as its bytes", async () => {
    const bytes = Buffer.from([0, 0xff, 0xc3, 0x0a]);
    expect(await given(bytes)).toEqual({ base64: bytes.toString("base64") });
    // Text that would not fit into a request as JSON, which says each of these characters in six.
    const control = Buffer.alloc(PROGRAM_INPUT_BYTES_MAX, 1);
    expect(await given(control)).toEqual({ base64: control.toString("base64") });
  });

  test("nothing is no input", async () => {
    expect(await given()).toBeUndefined();
  });

  test("it is not touched without being asked for, nor waited for", async () => {
    const host = ran(new FakeHost(), quiet);
    host.stdin.write("the next line of a list\n");
    expect(await host.reeve(...program)).toMatchObject({ status: 0 });
    expect(tasks(host)).toEqual([{ command: ["program"] }]);
    expect(String(host.stdin.read())).toBe("the next line of a list\n");
  });

  test("a terminal is none, and neither is more than the limit: nothing is started", async () => {
    const terminal = ran(new FakeHost({ terminal: true }), quiet);
    const refused = await terminal.reeve(...withInput);
    expect(refused).toMatchObject({ status: 2, err: expect.stringContaining("< FILE") as string });
    // It never ends, and is not waited for.
    const large = ran(new FakeHost(), quiet);
    large.stdin.write(Buffer.alloc(PROGRAM_INPUT_BYTES_MAX + 1));
    const { status, err } = await large.reeve(...withInput);
    expect({ status, err: err.replaceAll(/\s+/g, " ") }).toEqual({
      status: 1,
      err: expect.stringMatching(
        /limit_exceeded.*at most 4194304 bytes \(program_input_bytes\).*--workspace/,
      ) as string,
    });
    expect([...terminal.booted, ...large.booted]).toEqual([]);
  });

  test("one that breaks off is an error", async () => {
    const host = ran(new FakeHost(), quiet);
    host.stdin.destroy(new Error("the other end is gone"));
    const { status, err } = await host.reeve(...withInput);
    expect({ status, err }).toEqual({ status: 2, err: expect.stringContaining("the other end is gone") as string });
  });
});
