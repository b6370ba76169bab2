// Goal: diff, commit and rollback ask for the right workspace, and show what differs, what was written and what was put back, readably and
// harmlessly, whole with --json.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON.
import { beforeEach, describe, expect, test } from "vitest";
import type { ProcessId } from "../abi/ids.ts";
import type { Differences, WorkspaceRow } from "../abi/reports.ts";
import { FAKE_NOW_MS, type FakeProcess } from "../gateway/system.fake.ts";
import { eachTestOn, FakeHost, json, lines } from "./host.fake.ts";

let host: FakeHost;
let process: FakeProcess;
eachTestOn((fresh) => (host = fresh));
beforeEach(() => {
  process = host.system.create("writer", {});
});

const NOW_MS = FAKE_NOW_MS + 90_000;
const DAY_MS = 86_400_000;

const DIFF = "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,3 @@\n one\n-two\n+zwei\n+\u001b[31mthree\n";
const some: Differences = {
  changes: [
    { path: "a.txt", change: "changed", kind: "file", sizeBytes: 12, diff: DIFF, mode: { from: "644", to: "755" } },
    { path: "gone", change: "removed", kind: "link", sizeBytes: 0, target: "a.txt" },
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
        "D gone → a.txt",
        "A new\\u001b[2J.bin  1 byte",
        "3 changes, +2 -1",
        "1 left out:",
        "  pipe: it is a named pipe",
      ),
    );
    expect(host.system.workspaceCalls).toEqual([`diff ${process.row.pid} all`]);
  });

  test("--patch is as git wants it, and nothing else, to whatever is no terminal; on one it moves nothing", async () => {
    host.system.differences = some;
    host.system.patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+\u001b[2Jb\r\n";
    const piped = await host.reeve("diff", "--patch", process.row.pid);
    expect(piped.out).toBe(host.system.patch);
    expect(piped.err).toContain("pipe: it is a named pipe");
    expect(host.system.workspaceCalls).toEqual([`patch ${process.row.pid} all`]);
    const terminal = new FakeHost({ terminal: true });
    terminal.system.patch = host.system.patch;
    const { pid } = terminal.system.create("writer", {}).row;
    expect((await terminal.reeve("diff", "--patch", pid)).out).not.toContain("\u001b[2J");
  });

  test("--stat leaves the lines out, --from names a call, --json has all of it", async () => {
    host.system.differences = some;
    host.system.snapshots = [2, 5];
    const { out } = await host.reeve("diff", "--stat", "--from", "5", process.row.pid);
    expect(out.split("\n").slice(0, 4)).toEqual([
      "M a.txt  +2 -1, 644 → 755",
      "D gone → a.txt",
      "A new\\u001b[2J.bin  1 byte",
      "3 changes, +2 -1",
    ]);
    expect(host.system.workspaceCalls).toEqual([`diff ${process.row.pid} 5`]);
    expect(json(await host.reeve("diff", "--json", process.row.pid))).toEqual({ ...some, snapshots: [2, 5] });
  });

  test("nothing is as clear as something, and what is not listed is counted", async () => {
    expect((await host.reeve("diff", process.row.pid)).out).toBe("0 changes\n");
    host.system.differences = { changes: [], more: 1200, leftOut: [] };
    expect((await host.reeve("diff", process.row.pid)).out).toBe(
      lines("1,200 changes", "1,200 further changes not listed"),
    );
  });
});

test("commit shows what it wrote", async () => {
  expect((await host.reeve("commit", process.row.pid)).out).toBe("Nothing to write back.\n");
  host.system.differences = { ...some, leftOut: [] };
  expect((await host.reeve("commit", process.row.pid)).out).toBe(
    lines("M a.txt  +2 -1, 644 → 755", "D gone → a.txt", "A new\\u001b[2J.bin  1 byte", "Wrote back 3 changes."),
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
    lines(
      "A d/",
      `Put back 1 change: it is as it stood before call #4. How it stood before: npx reeve rollback ${process.row.pid} --replaced`,
    ),
  );
  expect((await host.reeve("rollback", process.row.pid, "--replaced")).out).toContain(
    "Put back 1 change: it is as it stood before it was last put back.",
  );
  expect(await host.reeve("rollback", process.row.pid, "--replaced", "--to", "4")).toMatchObject({ status: 2 });
  host.system.differences = { changes: [], more: 0, leftOut: [] };
  expect((await host.reeve("rollback", process.row.pid)).out).toBe(
    "Nothing to put back: it is as it began or was last written back.\n",
  );
  expect(host.system.workspaceCalls).toEqual(["4", "replaced", "all"].map((to) => `rollback ${process.row.pid} ${to}`));
  expect(await host.reeve("rollback", process.row.pid, "--to", "x")).toMatchObject({ status: 2 });
});

describe("workspace", () => {
  const [first, second, third] = ["p_000000000001", "p_000000000002", "p_000000000003"] as ProcessId[];
  const row = (pid: ProcessId | undefined, more: Partial<WorkspaceRow>): WorkspaceRow => ({
    ...{ pid: pid ?? process.row.pid, agent: "fixer", state: "exited", updatedMs: NOW_MS - 3 * DAY_MS },
    ...{ from: "/srv/shop", sizeBytes: 1_300_000, changed: 0 },
    ...more,
  });

  beforeEach(() => {
    host.system.workspaces = [
      row(first, {}),
      row(second, { changed: 1200, updatedMs: NOW_MS - 60_000, from: null, sizeBytes: 900 }),
      row(third, {
        agent: null,
        state: null,
        updatedMs: null,
        changed: null,
        sizeBytes: null,
        trouble: "It is\u001b damaged.",
      }),
    ];
  });

  test("lists what there is, the latest first, and what it takes; --json has all of it", async () => {
    expect((await host.reeve("workspace")).out).toBe(
      lines(
        "PID             AGENT  STATE      SIZE  CHANGED  AGE  FROM",
        "p_000000000002  fixer  exited    900 B    1,200   1m  (empty)",
        "p_000000000001  fixer  exited   1.2 MB        0   3d  /srv/shop",
        "p_000000000003  -      unknown       -        -    -  It is\\u001b damaged.",
        "3 workspaces, 1.2 MB",
      ),
    );
    expect(json(await host.reeve("workspace", "--json"))).toEqual({
      workspaces: [second, first, third].map((pid) => host.system.workspaces.find((each) => each.pid === pid)),
    });
    host.system.workspaces = [];
    expect((await host.reeve("workspace")).out).toBe("No workspaces.\n");
  });

  test("remove takes one that holds nothing of its own, and another by a word", async () => {
    expect((await host.reeve("workspace", "remove", first ?? "")).out).toBe(`Removed the workspace of ${first}.\n`);
    const refused = await host.reeve("workspace", "remove", second ?? "");
    expect(refused).toMatchObject({ status: 1, err: expect.stringContaining("conflict: It holds what") as string });
    host.system.differences = { ...some, leftOut: [] };
    expect((await host.reeve("workspace", "remove", "--discard", second ?? "")).out).toBe(
      lines(
        "M a.txt  +2 -1, 644 → 755",
        "D gone → a.txt",
        "A new\\u001b[2J.bin  1 byte",
        `Removed the workspace of ${second}; 3 changes went with it.`,
      ),
    );
    expect(host.system.workspaceCalls).toEqual([`remove ${first}`, `remove ${second}`]);
  });

  test("prune takes those that nobody needs, and names those that stay", async () => {
    const stay = [
      `${second} stays: it holds what was not written back (1,200 changes)`,
      `${third} stays: It is\\u001b damaged.`,
      "`npx reeve diff PID` shows it, `npx reeve commit PID` writes it back, --discard gives it up.",
    ];
    expect((await host.reeve("workspace", "prune", "--dry-run")).out).toBe(
      lines(`${first}  1.2 MB`, "Would remove 1 workspace, 1.2 MB.", ...stay),
    );
    expect(host.system.workspaceCalls).toEqual([]);
    expect((await host.reeve("workspace", "prune")).out).toBe(
      lines(`${first}  1.2 MB`, "Removed 1 workspace, 1.2 MB.", ...stay),
    );
    expect(host.system.workspaceCalls).toEqual([`remove ${first}`]);
    expect((await host.reeve("workspace", "prune")).out.split("\n")[0]).toBe("Nothing to remove.");
  });

  test("prune takes no younger ones than it is told, none of a process that is alive, and all others by a word", async () => {
    host.system.workspaces = host.system.workspaces.map((each) =>
      each.pid === third ? { ...each, state: "stopped" } : each,
    );
    const dry = json(await host.reeve("workspace", "prune", "--discard", "--older-than", "1h", "--dry-run", "--json"));
    expect(dry).toEqual({ removed: [{ pid: first, sizeBytes: 1_300_000, lost: 0 }], kept: [], dryRun: true });
    host.system.differences = { ...some, leftOut: [] };
    expect((await host.reeve("workspace", "prune", "--discard")).out).toBe(
      lines(
        `${first}  1.2 MB, with 3 changes that are nowhere else`,
        `${second}  900 B, with 3 changes that are nowhere else`,
        "Removed 2 workspaces, 1.2 MB.",
      ),
    );
    expect(host.system.workspaces.map(({ pid }) => pid)).toEqual([third]);
    expect(await host.reeve("workspace", "prune", "--older-than", "7")).toMatchObject({ status: 2 });
  });
});
