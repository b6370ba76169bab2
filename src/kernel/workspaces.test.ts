// Goal: operators look at a workspace, write it back and put it back; what changes something is an event under their name, also when the
// process is over; nothing is put back under a process that goes on.
// Method: a kernel on workspaces that keep what they were asked.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Differences } from "../abi/reports.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { CommitOptions, Workspaces } from "../ports/workspace.ts";
import { noWorkspaces } from "../../test/system.ts";
import { scene, type Scene } from "./scene.fake.ts";

const DIFFERENCES: Differences = {
  changes: [{ path: "a.txt", change: "changed", kind: "file", sizeBytes: 4, diff: "secret text" }],
  more: 2,
  leftOut: [{ path: "pipe", why: "it is a named pipe" }],
};

function workspaces(asked: string[], answer: () => Differences = () => DIFFERENCES): Workspaces {
  const note = (what: string) => async (_pid: ProcessId, how?: number | string | null | CommitOptions) => {
    asked.push(how === undefined ? what : `${what} ${JSON.stringify(how)}`.trim());
    return answer();
  };
  return {
    ...noWorkspaces,
    open: () => Promise.reject(new Error("not opened here")),
    diff: note("diff"),
    commit: note("commit"),
    rollback: note("rollback"),
    snapshots: async () => [3, 7],
    close: async () => {},
  };
}

async function world(asked: string[], answer?: () => Differences): Promise<Scene> {
  return scene({
    agents: {
      done: { run: async () => "done" },
      waits: { run: async (sys) => (await sys.human.ask({ question: "?" })).answer },
    },
    parts: { workspaces: workspaces(asked, answer) },
  });
}

test("what differs is told, from how it began or from before a call, and is no event", async () => {
  const asked: string[] = [];
  const system = await world(asked);
  const pid = await system.start("done");
  await system.exit(pid);
  const before = await system.kinds(pid);
  expect(await system.operate("workspace.diff", { pid }, "ann")).toEqual({ ...DIFFERENCES, snapshots: [3, 7] });
  await system.operate("workspace.diff", { pid, from: 3 }, "ann");
  expect(asked).toEqual(["diff null", "diff 3"]);
  expect(await system.kinds(pid)).toEqual(before);
  await expect(system.operate("workspace.diff", { pid: "p_00000000zzzz" as ProcessId }, "ann")).rejects.toEqual(
    expect.objectContaining({ code: "not_found" }),
  );
});

test("writing back and putting back stand in the journal of a process that is over, with paths and without contents", async () => {
  const asked: string[] = [];
  const system = await world(asked);
  const pid = await system.start("done");
  await system.exit(pid);
  expect(await system.operate("workspace.commit", { pid }, "ann")).toEqual(DIFFERENCES);
  await system.operate("workspace.rollback", { pid, to: 7 }, "bob");
  await system.operate("workspace.rollback", { pid }, "bob");
  await system.operate("workspace.rollback", { pid, to: "replaced" }, "bob");
  await system.operate("workspace.commit", { pid, except: ["a", "b/c"], to: "/there" }, "ann");
  expect(asked).toEqual([
    'commit {"except":[]}',
    "rollback 7",
    "rollback null",
    'rollback "replaced"',
    'commit {"except":["a","b/c"],"to":"/there"}',
  ]);
  const events = (await system.journal(pid)).filter(({ header }) => header.kind === "workspace.changed");
  const change = { paths: [{ path: "a.txt", change: "changed" }], more: 2, leftOut: 1 };
  expect(events.map(({ header, payloads }) => [header, payloads["change"]])).toEqual([
    [{ kind: "workspace.changed", what: "commit", before: null, by: "ann" }, change],
    [{ kind: "workspace.changed", what: "rollback", before: 7, by: "bob" }, change],
    [{ kind: "workspace.changed", what: "rollback", before: null, by: "bob" }, change],
    [{ kind: "workspace.changed", what: "rollback", before: "replaced", by: "bob" }, change],
    [{ kind: "workspace.changed", what: "commit", before: null, by: "ann" }, change],
  ]);
  expect((await system.operate("journal.verify", { pid }, "ann")).identical).toBe(true);
});

test("nothing is put back under a process that goes on; one that is stopped lets it happen and goes on after it", async () => {
  const asked: string[] = [];
  const system = await world(asked);
  const pid = await system.start("waits");
  const { request } = await system.asked(pid);
  await expect(system.operate("workspace.rollback", { pid }, "ann")).rejects.toEqual(
    expect.objectContaining({ code: "conflict", message: expect.stringContaining(`reeve stop ${pid}`) as string }),
  );
  expect(asked).toEqual([]);
  await system.operate("process.signal", { pid, signal: "stop" }, "ann");
  await system.operate("workspace.rollback", { pid }, "ann");
  await system.operate("process.signal", { pid, signal: "cont" }, "ann");
  await system.operate("human.decide", { request, decision: { verdict: "answered", answer: "yes" } }, "ann");
  expect(await system.exit(pid)).toMatchObject({ how: "completed", result: "yes" });
});

test("what was refused is no event", async () => {
  const system = await world([], () => {
    throw new OsError("conflict", "changed meanwhile");
  });
  const pid = await system.start("done");
  await system.exit(pid);
  await expect(system.operate("workspace.commit", { pid }, "ann")).rejects.toEqual(
    expect.objectContaining({ code: "conflict" }),
  );
  expect(await system.kinds(pid)).not.toContain("workspace.changed");
});

test("an event has room for some paths only, and counts the others", async () => {
  const path = "x".repeat(100_000);
  const changes = [1, 2, 3].map(() => ({ path, change: "added", kind: "file", sizeBytes: 0 }) as const);
  const system = await world([], () => ({ changes, more: 5, leftOut: [] }));
  const pid = await system.start("done");
  await system.exit(pid);
  await system.operate("workspace.commit", { pid }, "ann");
  const event = (await system.journal(pid)).at(-1);
  expect(event?.payloads["change"]).toMatchObject({ more: 6, paths: [{ path }, { path }] });
});
