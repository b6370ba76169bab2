// Goal: `exec` passes on what a program says as other programs that start programs do: each stream to its own, nothing of Reeve's
// among it, and the program's status as its own. Method: a fake host whose process answers as the tool does.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import type { FakeProcess } from "../gateway/system.fake.ts";
import { bare, FakeHost, json } from "./host.fake.ts";

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
