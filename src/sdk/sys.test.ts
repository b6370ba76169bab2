// `sys` against an `issue` that writes down what it is given.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import { PROCESS_CALLS } from "../abi/syscalls.ts";
import { makeSys } from "./sys.ts";
import type { IssueCall } from "./sys.ts";

function recorder(answer: (syscall: string) => Json = () => null) {
  const issued: { number: number; syscall: string; args: Json }[] = [];
  const issue: IssueCall = (number, syscall, args) => {
    issued.push({ number, syscall, args });
    return Promise.resolve(answer(syscall));
  };
  return { issued, issue };
}

test("every call of the table that a process may issue is there, and nothing else", () => {
  const sys = makeSys(recorder().issue);
  const names = Object.entries(sys).flatMap(([noun, verbs]) => Object.keys(verbs).map((verb) => `${noun}.${verb}`));
  expect(names.sort()).toEqual([...PROCESS_CALLS].sort());
});

test("calls are numbered in the order of issue, at once, and passed on as they are", async () => {
  const { issued, issue } = recorder(() => ({ text: "done" }));
  const sys = makeSys(issue);
  const first = sys.tool.call({ tool: "shop.find", args: { id: 7 } });
  const second = sys.clock.sleep({ ms: 5 });
  void sys.clock.now();
  expect(issued).toEqual([
    { number: 0, syscall: "tool.call", args: { tool: "shop.find", args: { id: 7 } } },
    { number: 1, syscall: "clock.sleep", args: { ms: 5 } },
    { number: 2, syscall: "clock.now", args: {} },
  ]);
  expect(await first).toEqual({ text: "done" });
  await second;
});

test("each run counts for itself", () => {
  const { issued, issue } = recorder();
  void makeSys(issue).clock.now();
  void makeSys(issue).clock.now();
  expect(issued.map((call) => call.number)).toEqual([0, 0]);
});

test("arguments are left to the kernel to judge", () => {
  const { issued, issue } = recorder();
  void makeSys(issue).clock.sleep({ ms: -1 });
  expect(issued[0]?.args).toEqual({ ms: -1 });
});

test("a call that cannot leave rejects and uses up no number", async () => {
  const numbers: number[] = [];
  const sys = makeSys((number, syscall) => {
    if (syscall === "random.bytes") throw new OsError("invalid_argument", "cannot be encoded");
    numbers.push(number);
    return Promise.resolve(null);
  });
  await sys.clock.now();
  await expect(sys.random.bytes({ size: 1 })).rejects.toMatchObject({ code: "invalid_argument" });
  await sys.clock.now();
  expect(numbers).toEqual([0, 1]);
});
