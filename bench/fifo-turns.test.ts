// Goal: the order that others are compared with is first come, first served, and no weaker in its other duties than the
// product's. Method: calls of processes that are there, away, and given up, at a resource of one slot.
import { describe, expect, test } from "vitest";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Class } from "../src/abi/scheduling.ts";
import type { Slot, Standing } from "../src/ports/scheduler.ts";
import { FifoTurns } from "./fifo-turns.ts";

const RESOURCE = { name: "tool:any", concurrency: 1 };

const standing = (name: string, of: Class = "batch"): Standing => ({
  pid: name as ProcessId,
  root: name as ProcessId,
  tenant: "default",
  class: of,
  weight: 1,
});

function scene() {
  const summoned: string[] = [];
  const served: string[] = [];
  const slots: Slot[] = [];
  const turns = new FifoTurns((pid) => summoned.push(pid));
  const take = async (who: Standing, signal = new AbortController().signal): Promise<void> => {
    const slot = await turns.take(who, { call: 0, resource: RESOURCE }, signal);
    served.push(who.pid);
    slots.push(slot);
  };
  const next = async (): Promise<void> => {
    slots.shift()?.release();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { turns, take, next, summoned, served };
}

describe("turns first come, first served", () => {
  test("know no classes", async () => {
    const { take, next, served } = scene();
    await take(standing("first"));
    void take(standing("second"));
    void take(standing("urgent", "critical"));
    await next();
    await next();
    expect(served).toEqual(["first", "second", "urgent"]);
  });

  test("keep the place of a call whose process is away, call it back, and serve the next meanwhile", async () => {
    const { turns, take, next, summoned, served } = scene();
    await take(standing("first"));
    void take(standing("away"));
    void take(standing("third"));
    void take(standing("fourth"));
    turns.park("away" as ProcessId);
    await next();
    expect(summoned).toEqual(["away"]);
    void take(standing("away"));
    await next();
    await next();
    expect(served).toEqual(["first", "third", "away", "fourth"]);
    expect(turns.load()).toMatchObject([{ inUse: 1, waiting: { batch: 0 } }]);
  });

  test("forget a call that is given up", async () => {
    const { turns, take, next, served } = scene();
    const giveUp = new AbortController();
    await take(standing("first"));
    const given = take(standing("second"), giveUp.signal);
    void take(standing("third"));
    giveUp.abort();
    await expect(given).rejects.toMatchObject({ code: "cancelled" });
    turns.forget("third" as ProcessId);
    await next();
    expect(served).toEqual(["first"]);
    expect(turns.load()).toMatchObject([{ inUse: 0, waiting: { batch: 0 } }]);
  });
});
