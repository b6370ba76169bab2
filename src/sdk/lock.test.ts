// `withLock` against an `issue` that writes down the calls.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import { withLock } from "./lock.ts";
import { makeSys, type IssueCall } from "./sys.ts";

function recorder(refused: Partial<Record<string, OsError>> = {}) {
  const issued: [syscall: string, args: Json][] = [];
  const issue: IssueCall = (_number, syscall, args) => {
    issued.push([syscall, args]);
    const error = refused[syscall];
    return error === undefined ? Promise.resolve({ released: true, untilMs: 7, ms: 7 }) : Promise.reject(error);
  };
  return { issued, sys: makeSys(issue) };
}

test("the lock is held for the time of the work, whose outcome is the answer", async () => {
  const { issued, sys } = recorder();
  expect(await withLock(sys, { key: "order:17", leaseMs: 5000 }, () => sys.clock.now())).toMatchObject({ ms: 7 });
  expect(await withLock(sys, "order:18", async () => "done")).toBe("done");
  expect(issued).toEqual([
    ["lock.acquire", { key: "order:17", leaseMs: 5000 }],
    ["clock.now", {}],
    ["lock.release", { key: "order:17" }],
    ["lock.acquire", { key: "order:18" }],
    ["lock.release", { key: "order:18" }],
  ]);
});

test("work that fails gives the lock back, and its failure is what is told", async () => {
  const { issued, sys } = recorder({ "lock.release": new OsError("process_gone", "It was killed.") });
  const failed = withLock(sys, "order:17", () => Promise.reject(new OsError("tool_failed", "The shop is closed.")));
  await expect(failed).rejects.toMatchObject({ code: "tool_failed" });
  expect(issued.map(([syscall]) => syscall)).toEqual(["lock.acquire", "lock.release"]);
});

test("without the lock nothing is done", async () => {
  const { issued, sys } = recorder({ "lock.acquire": new OsError("deadlock", "A circle.") });
  await expect(withLock(sys, "order:17", () => sys.clock.now())).rejects.toMatchObject({ code: "deadlock" });
  expect(issued.map(([syscall]) => syscall)).toEqual(["lock.acquire"]);
});
