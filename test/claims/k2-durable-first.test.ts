// K2: nothing acknowledged is lost. An outcome is durable before the process sees it.
//
// Method: a store whose medium answers only when the test lets it. Whole, the program sees an outcome after the medium has
// it. Unplugged (a store that acknowledges at once and writes later), it sees outcomes that a crash then takes back.
import { afterEach, describe, expect, it } from "vitest";
import type { Store } from "../../src/ports/store.ts";
import { bootTest, done, fakeTools, type TestSystem } from "../system.ts";
import { type Medium, temporaryMedium, withParts } from "./temporary.ts";

const mediums: Medium[] = [];
afterEach(() => mediums.splice(0).forEach((medium) => medium.dispose()));

type Seen = { outcomes: number };

/** Runs a program of five calls on a medium that loses power after `writes` appends; answers with what the program saw. */
async function runUntilPowerFails(
  medium: Medium,
  { writes, acknowledgeEarly }: { writes: number; acknowledgeEarly: boolean },
): Promise<Seen> {
  const seen: Seen = { outcomes: 0 };
  const store = await medium.open();
  let appends = 0;
  let failed = (): void => {};
  const powerFailed = new Promise<void>((resolve) => (failed = resolve));
  const append: Store["append"] = (batch) => {
    appends += 1;
    if (appends > writes) {
      // A turn later, so that whatever an early acknowledgement sets going has gone.
      setTimeout(failed, 50);
      return acknowledgeEarly ? Promise.resolve() : new Promise(() => {});
    }
    return store.append(batch);
  };
  const system = await bootTest({ store: withParts(store, { append }), ...program(seen) });
  await system.operate("process.spawn", { agent: "five", task: null, key: "k2" }, "test");
  await powerFailed;
  system.close();
  await store.close();
  return seen;
}

const program = (seen: Seen): Pick<Parameters<typeof bootTest>[0], "agents" | "tools"> => ({
  tools: fakeTools({ "t.look": { manifest: { effect: "read" }, run: (args) => done(JSON.stringify(args)) } }),
  agents: {
    five: {
      manifest: { tools: ["t.look"] },
      run: async (sys) => {
        for (let n = 0; n < 5; n += 1) {
          await sys.tool.call({ tool: "t.look", args: { n } });
          seen.outcomes = Math.max(seen.outcomes, n + 1);
        }
        return "done";
      },
    },
  },
});

/** Outcomes that the journal holds after the power came back. */
async function outcomesOnDisk(medium: Medium): Promise<number> {
  const store = await medium.open();
  const [record] = await store.processes({ limit: 1 });
  const events = record === undefined ? [] : await store.events(record.pid, 0, 100);
  await store.close();
  return events.filter(({ header }) => header.includes('"call.completed"')).length;
}

describe("K2 nothing acknowledged is lost", () => {
  it("holds: at whichever write the power fails, all that the program saw is on disk", async () => {
    for (const writes of [1, 2, 3, 4, 5]) {
      const medium = temporaryMedium();
      mediums.push(medium);
      const seen = await runUntilPowerFails(medium, { writes, acknowledgeEarly: false });
      expect(await outcomesOnDisk(medium), `power failed after ${writes} writes`).toBeGreaterThanOrEqual(seen.outcomes);
      expect(seen.outcomes).toBe(writes - 1);
    }
  });

  it("breaks when durability is unplugged: the program has seen what is gone", async () => {
    const medium = temporaryMedium();
    mediums.push(medium);
    const seen = await runUntilPowerFails(medium, { writes: 3, acknowledgeEarly: true });
    expect(seen.outcomes).toBeGreaterThan(await outcomesOnDisk(medium));
  });

  it("goes on from what was acknowledged", async () => {
    const medium = temporaryMedium();
    mediums.push(medium);
    await runUntilPowerFails(medium, { writes: 3, acknowledgeEarly: false });
    const store = await medium.open();
    const system: TestSystem = await bootTest({ store, ...program({ outcomes: 0 }) });
    const { pid } = await system.operate("process.spawn", { agent: "five", task: null, key: "k2" }, "test");
    const { exit } = await system.operate("process.wait", { pid }, "test");
    expect(exit).toEqual({ how: "completed", result: "done" });
    system.close();
    await store.close();
  });
});
