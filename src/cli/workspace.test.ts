// Goal: diff, commit and rollback ask for the right workspace, and show what differs, what was written and what was put back, readably and
// harmlessly, whole with --json.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON.
import { beforeEach, describe, expect, test } from "vitest";
import type { Differences } from "../abi/reports.ts";
import type { FakeProcess } from "../gateway/system.fake.ts";
import { eachTestOn, type FakeHost, json, lines } from "./host.fake.ts";

let host: FakeHost;
let process: FakeProcess;
eachTestOn((fresh) => (host = fresh));
beforeEach(() => {
  process = host.system.create("writer", {});
});

const DIFF = "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,3 @@\n one\n-two\n+zwei\n+\u001b[31mthree\n";
const some: Differences = {
  changes: [
    { path: "a.txt", change: "changed", kind: "file", sizeBytes: 12, diff: DIFF, mode: { from: "644", to: "755" } },
    { path: "gone", change: "removed", kind: "link", sizeBytes: 0 },
    { path: "new\u001b[2J.bin", change: "added", kind: "file", sizeBytes: 1 },
  ],
  more: 0,
  leftOut: [{ path: "pipe", why: "it is a named pipe" }],
};

describe("diff", () => {
  test("shows the lines that differ, a summary, and what is left out; nothing of it moves the terminal", async () => {
    host.system.differences = some;
    const { out, status } = await host.reeve("diff", process.row.pid);
    expect(status).toBe(0);
    expect(out).toBe(
      lines(
        "M a.txt  +2 -1, 644 → 755",
        "--- a/a.txt",
        "+++ b/a.txt",
        "@@ -1,2 +1,3 @@",
        " one",
        "-two",
        "+zwei",
        "+\\u001b[31mthree",
        "",
        "D gone (link)",
        "A new\\u001b[2J.bin  1 byte",
        "3 files, +2 -1",
        "1 left out:",
        "  pipe: it is a named pipe",
      ),
    );
    expect(host.system.workspaceCalls).toEqual([`diff ${process.row.pid} all`]);
  });

  test("--stat leaves the lines out, --from names a call, --json has all of it", async () => {
    host.system.differences = some;
    host.system.snapshots = [2, 5];
    const { out } = await host.reeve("diff", "--stat", "--from", "5", process.row.pid);
    expect(out.split("\n").slice(0, 4)).toEqual([
      "M a.txt  +2 -1, 644 → 755",
      "D gone (link)",
      "A new\\u001b[2J.bin  1 byte",
      "3 files, +2 -1",
    ]);
    expect(host.system.workspaceCalls).toEqual([`diff ${process.row.pid} 5`]);
    expect(json(await host.reeve("diff", "--json", process.row.pid))).toEqual({ ...some, snapshots: [2, 5] });
  });

  test("nothing is as clear as something, and what is not listed is counted", async () => {
    expect((await host.reeve("diff", process.row.pid)).out).toBe("0 files\n");
    host.system.differences = { changes: [], more: 1200, leftOut: [] };
    expect((await host.reeve("diff", process.row.pid)).out).toBe(
      lines("1,200 files", "1,200 further changes not listed"),
    );
  });
});

test("commit shows what it wrote", async () => {
  expect((await host.reeve("commit", process.row.pid)).out).toBe("Nothing to write back.\n");
  host.system.differences = { ...some, leftOut: [] };
  expect((await host.reeve("commit", process.row.pid)).out).toBe(
    lines("M a.txt  +2 -1, 644 → 755", "D gone (link)", "A new\\u001b[2J.bin  1 byte", "Wrote back 3 changes."),
  );
  expect(json(await host.reeve("commit", "--json", process.row.pid))).toMatchObject({ more: 0 });
});

test("rollback shows what it put back, and to where", async () => {
  host.system.differences = {
    changes: [{ path: "d", change: "added", kind: "folder", sizeBytes: 0 }],
    more: 0,
    leftOut: [],
  };
  expect((await host.reeve("rollback", process.row.pid, "--to", "4")).out).toBe(
    lines("A d/", "Put back 1 change: it is as it stood before call #4."),
  );
  host.system.differences = { changes: [], more: 0, leftOut: [] };
  expect((await host.reeve("rollback", process.row.pid)).out).toBe(
    "Nothing to put back: it is as it began or was last written back.\n",
  );
  expect(host.system.workspaceCalls).toEqual([`rollback ${process.row.pid} 4`, `rollback ${process.row.pid} all`]);
  expect(await host.reeve("rollback", process.row.pid, "--to", "x")).toMatchObject({ status: 2 });
});
