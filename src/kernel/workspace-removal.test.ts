// Goal: workspaces are listed with their processes and removed on the record, never of a process that is not over; wherever a crash cuts a
// removal off, the next Reeve ends it, once; by age only those go that hold nothing of their own.
// Method: a kernel on workspaces in the test's hand, that outlive it as those on disk do; a store that fails when it is told to.
import { afterEach, describe, expect, test } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import { noWorkspaces, testScheduler } from "../../test/system.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Differences } from "../abi/reports.ts";
import type { Removal, Workspaces } from "../ports/workspace.ts";
import { eventually, gate, holds, scene, type Scene, type SceneOptions, turns } from "./scene.fake.ts";

const opened: Scene[] = [];
afterEach(() => opened.splice(0).forEach((system) => system.close()));

const LOST: Differences = {
  changes: [{ path: "b.txt", change: "added", kind: "file", sizeBytes: 3 }],
  more: 0,
  leftOut: [],
};
const NOTHING: Differences = { changes: [], more: 0, leftOut: [] };

/** Workspaces on a disk that outlives the kernel: how much stands in each and nowhere else. */
class Disk {
  readonly changed = new Map<ProcessId, number>();
  readonly aside = new Map<ProcessId, Removal>();
  readonly log: string[] = [];
  failing: "look" | "erase" | undefined;

  get port(): Workspaces {
    const missing = (pid: ProcessId): OsError =>
      new OsError("not_found", `Process ${pid} has no workspace.`, { data: { what: "workspace", id: pid } });
    return {
      ...noWorkspaces,
      diff: async (pid) => {
        if (!this.changed.has(pid)) throw missing(pid);
        return NOTHING;
      },
      snapshots: async () => [],
      list: async () => [...this.changed.keys()].sort(),
      look: async (pid) => {
        this.log.push(`look ${pid}`);
        if (this.failing === "look")
          throw new OsError("store_failed", "It is damaged.", { data: { reason: "corrupt" } });
        const changed = this.changed.get(pid);
        if (changed === undefined) throw missing(pid);
        return { from: "/src", sizeBytes: 1000, changed };
      },
      setAside: async (pid, { discard, by }) => {
        const changed = this.changed.get(pid);
        if (changed === undefined) throw missing(pid);
        if (changed > 0 && !discard) throw new OsError("conflict", "It holds what is nowhere else.");
        const lost = changed > 0 ? LOST : NOTHING;
        this.changed.delete(pid);
        this.aside.set(pid, { pid, by, lost });
        return lost;
      },
      removals: async () => [...this.aside.values()],
      erase: async (pid) => {
        if (this.failing === "erase") throw new OsError("internal", "The disk is gone.");
        this.aside.delete(pid);
      },
    };
  }
}

async function boot(disk: Disk, more: Partial<SceneOptions> = {}): Promise<Scene> {
  const system = await scene({
    agents: {
      done: { run: async () => "done" },
      waits: { run: async (sys) => (await sys.human.ask({ question: "?" })).answer },
    },
    ...more,
    parts: { workspaces: disk.port, ...more.parts },
  });
  opened.push(system);
  return system;
}

async function over(system: Scene): Promise<ProcessId> {
  const pid = await system.start("done");
  await system.exit(pid);
  return pid;
}

/** The removals that the journal tells of. */
const removed = async (system: Scene, pid: ProcessId): Promise<unknown[]> =>
  (await system.journal(pid)).flatMap(({ header, payloads }) =>
    header.kind === "workspace.changed" && header.what === "remove" ? [[header.by, payloads["change"]]] : [],
  );
const told = (paths: object[]): object => ({ paths, more: 0, leftOut: 0 });
const B = [{ path: "b.txt", change: "added" }];

const refused = (code: string, message = ""): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string });

describe("by an operator", () => {
  test("they are listed with their processes, in pages, also one that cannot be looked into", async () => {
    const disk = new Disk();
    const system = await boot(disk);
    const pid = await over(system);
    disk.changed.set(pid, 2);
    disk.changed.set("p_000000000000" as ProcessId, 0);
    const { workspaces } = await system.operate("workspace.list", {}, "ann");
    const { updatedMs } = (await system.operate("process.show", { pid }, "ann")).process;
    expect(workspaces).toEqual([
      {
        ...{ pid: "p_000000000000", agent: null, state: null, updatedMs: null },
        from: "/src",
        sizeBytes: 1000,
        changed: 0,
      },
      { ...{ pid, agent: "done", state: "exited", updatedMs }, from: "/src", sizeBytes: 1000, changed: 2 },
    ]);
    const { workspaces: rest } = await system.operate(
      "workspace.list",
      { after: "p_000000000000" as ProcessId },
      "ann",
    );
    expect(rest.map((row) => row.pid)).toEqual([pid]);
    expect((await system.operate("workspace.list", { limit: 1 }, "ann")).workspaces).toHaveLength(1);
    disk.failing = "look";
    expect((await system.operate("workspace.list", {}, "ann")).workspaces).toMatchObject([
      { changed: null, sizeBytes: null, trouble: "It is damaged." },
      { changed: null, sizeBytes: null, trouble: "It is damaged." },
    ]);
  });

  test("one is removed under a name, with what is lost, once; and then it is said that it was", async () => {
    const disk = new Disk();
    const system = await boot(disk);
    const pid = await over(system);
    disk.changed.set(pid, 1);
    await expect(system.operate("workspace.remove", { pid }, "ann")).rejects.toEqual(refused("conflict"));
    expect(await removed(system, pid)).toEqual([]);
    expect(await system.operate("workspace.remove", { pid, discard: true }, "ann")).toEqual(LOST);
    expect(await removed(system, pid)).toEqual([["ann", told(B)]]);
    expect([disk.changed.size, disk.aside.size]).toEqual([0, 0]);
    const gone = refused("not_found", `The workspace of ${pid} was removed`);
    await expect(system.operate("workspace.diff", { pid }, "ann")).rejects.toEqual(gone);
    await expect(system.operate("workspace.remove", { pid }, "ann")).rejects.toEqual(gone);
    expect(await system.operate("journal.verify", { pid }, "ann")).toMatchObject({ identical: true });
  });

  test("never of a process that waits or is stopped", async () => {
    const disk = new Disk();
    const system = await boot(disk);
    const pid = await system.start("waits");
    await system.asked(pid);
    disk.changed.set(pid, 0);
    const alive = refused("conflict", `reeve kill ${pid}`);
    await expect(system.operate("workspace.remove", { pid, discard: true }, "ann")).rejects.toEqual(alive);
    await system.operate("process.signal", { pid, signal: "stop" }, "ann");
    await expect(system.operate("workspace.remove", { pid, discard: true }, "ann")).rejects.toEqual(alive);
    await system.operate("process.signal", { pid, signal: "kill" }, "ann");
    await system.operate("workspace.remove", { pid }, "ann");
    expect(await removed(system, pid)).toEqual([["ann", told([])]]);
  });

  test("one of a process that the store does not know goes without a word in a journal", async () => {
    const disk = new Disk();
    const system = await boot(disk);
    const pid = "p_000000000000" as ProcessId;
    disk.changed.set(pid, 0);
    await system.operate("workspace.remove", { pid }, "ann");
    expect([disk.changed.size, disk.aside.size]).toEqual([0, 0]);
  });

  test("a list that comes in between does not take a removal for one that was cut off", async () => {
    const disk = new Disk();
    const [held, going] = [gate(), gate()];
    const append: SceneOptions["store"] = (store) =>
      new Proxy(store, {
        get: (target, name) => {
          if (name !== "append") return (Reflect.get(target, name) as () => unknown).bind(target);
          return async (batch: Parameters<typeof store.append>[0]) => {
            if (holds(batch, "workspace.changed")) {
              going.open();
              await held.passed;
            }
            return target.append(batch);
          };
        },
      });
    const system = await boot(disk, { store: append });
    const pid = await over(system);
    disk.changed.set(pid, 0);
    const removal = system.operate("workspace.remove", { pid }, "ann");
    await going.passed;
    await system.operate("workspace.list", {}, "bob");
    await expect(system.operate("workspace.remove", { pid }, "bob")).rejects.toEqual(refused("conflict", "already"));
    expect(disk.aside.size).toBe(1);
    held.open();
    await removal;
    expect(await removed(system, pid)).toEqual([["ann", told([])]]);
  });
});

describe("a crash", () => {
  /** What the journal tells after another Reeve has begun, and has listed what there is. */
  const toldAfter = async (disk: Disk, before: Scene, pid: ProcessId): Promise<unknown[]> => {
    disk.failing = undefined;
    const system = await boot(disk, { medium: await before.crash() });
    const aside = disk.aside.size;
    await system.operate("workspace.list", {}, "ann");
    return [aside, ...(await removed(system, pid))];
  };

  test("before the event leaves a removal that the next Reeve ends", async () => {
    const disk = new Disk();
    const system = await boot(disk);
    const pid = await over(system);
    disk.changed.set(pid, 1);
    await disk.port.setAside(pid, { discard: true, by: "ann" });
    expect(await toldAfter(disk, system, pid)).toEqual([0, ["ann", told(B)]]);
  });

  test("after the event as well, and it is not written again", async () => {
    const disk = new Disk();
    const system = await boot(disk);
    const pid = await over(system);
    disk.changed.set(pid, 1);
    disk.failing = "erase";
    await expect(system.operate("workspace.remove", { pid, discard: true }, "ann")).rejects.toThrow(
      "The disk is gone.",
    );
    expect(await toldAfter(disk, system, pid)).toEqual([0, ["ann", told(B)]]);
  });

  test("that takes the disk as well is told, and hinders nobody", async () => {
    const disk = new Disk();
    disk.aside.set("p_000000000000" as ProcessId, { pid: "p_000000000000" as ProcessId, by: "ann", lost: NOTHING });
    disk.failing = "erase";
    const system = await boot(disk);
    expect(system.troubles).toEqual(["Old workspaces were not removed: The disk is gone."]);
    await over(system);
  });
});

describe("by age", () => {
  const DAY_MS = 24 * 3_600_000;

  async function aged(disk: Disk, keepWorkspacesMs?: number) {
    const clock = new SimulatedClock();
    const parts = { workspaces: disk.port, clock, scheduler: testScheduler({}, { clock }) };
    const system = await boot(disk, { parts, limits: keepWorkspacesMs === undefined ? {} : { keepWorkspacesMs } });
    /** Lets so much time pass, and all happen that happens by then. */
    const pass = async (ms: number): Promise<void> => {
      const untilMs = clock.nowMs() + ms;
      clock.after(ms, () => {});
      while (clock.nowMs() < untilMs) {
        clock.advance();
        await turns(20);
      }
    };
    return { system, pass };
  }

  test("nothing goes where nobody has said so", async () => {
    const disk = new Disk();
    const { system, pass } = await aged(disk);
    disk.changed.set(await over(system), 0);
    await pass(3 * DAY_MS);
    expect(disk.changed.size).toBe(1);
    expect(disk.log).toEqual([]);
  });

  test("those go whose time is over and that hold nothing of their own, of processes that are over", async () => {
    const disk = new Disk();
    const { system, pass } = await aged(disk, DAY_MS);
    const [clean, changed, alive] = [await over(system), await over(system), await system.start("waits")];
    await system.asked(alive);
    disk.changed.set(clean, 0).set(changed, 1).set(alive, 0);
    await pass(DAY_MS - 3_600_000);
    const young = await over(system);
    disk.changed.set(young, 0);
    expect([...disk.changed.keys()]).toContain(clean);
    await pass(2 * 3_600_000);
    expect(new Set(disk.changed.keys())).toEqual(new Set([changed, alive, young]));
    expect(await removed(system, clean)).toEqual([["reeve", told([])]]);
    await pass(DAY_MS);
    expect(new Set(disk.changed.keys())).toEqual(new Set([changed, alive]));
    expect(system.troubles).toEqual([]);
  });

  test("what cannot be looked into stays, and is told once", async () => {
    const disk = new Disk();
    const { system, pass } = await aged(disk, 0);
    const pid = await over(system);
    disk.changed.set(pid, 0);
    disk.failing = "look";
    await pass(3 * 3_600_000);
    expect(system.troubles).toEqual([`The workspace of ${pid} was not removed: It is damaged.`]);
    disk.failing = undefined;
    await pass(3_600_000);
    expect(disk.changed.size).toBe(0);
  });

  test("a round looks for a bounded time, and the next goes on where it stopped", async () => {
    const disk = new Disk();
    const clock = new SimulatedClock();
    let aheadMs = 0;
    const slow = { ...disk.port };
    const { look } = slow;
    slow.look = async (pid) => ((aheadMs += 20_000), look(pid));
    const moving = { nowMs: () => clock.nowMs() + aheadMs, after: clock.after.bind(clock) };
    const parts = { workspaces: slow, clock: moving, scheduler: testScheduler({}, { clock: moving }) };
    const system = await boot(disk, { parts, limits: { keepWorkspacesMs: 0 } });
    for (let count = 0; count < 5; count += 1) disk.changed.set(await over(system), 1);
    const looked = async (count: number): Promise<void> => {
      while (disk.log.length < count) {
        clock.advance();
        await turns(20);
      }
      expect(disk.log).toHaveLength(count);
    };
    await looked(2);
    await looked(4);
    await looked(5);
    expect(new Set(disk.log).size).toBe(5);
    await eventually(
      "the next round",
      async () => (clock.advance(), await turns(20), disk.log.length > 5 ? true : undefined),
    );
  });
});
