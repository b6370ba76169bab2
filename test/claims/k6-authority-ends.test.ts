// K6: authority ends with the process. Exit, kill or crash of a process ends its authority and that of all its descendants
// in the same transaction.
//
// Method: a grandchild is about to pay when its root is killed: the intent is on its way to disk, and reaches it while the kill is
// still looking for whom it takes with it. Whole, the payment is refused. Unplugged (an identity that takes everybody for alive), it
// is made. And the power fails while the kill is written: whole, all are alive afterwards or none is; unplugged (a store that
// writes what belongs together one after the other), the root is over and its descendants go on.
import { afterEach, describe, expect, it } from "vitest";
import type { ProcessId } from "../../src/abi/ids.ts";
import { createIdentity } from "../../src/identity/liveness.ts";
import type { Identity } from "../../src/ports/identity.ts";
import type { Batch, Store } from "../../src/ports/store.ts";
import { bootTest, done, fakeTools, type TestOptions } from "../system.ts";
import { type Medium, temporaryMedium, withParts } from "./temporary.ts";

const mediums: Medium[] = [];
afterEach(() => mediums.splice(0).forEach((medium) => medium.dispose()));

function fresh(): Medium {
  const medium = temporaryMedium();
  mediums.push(medium);
  return medium;
}

const agents: TestOptions["agents"] = {
  root: { manifest: { agents: ["middle"] }, run: async (sys) => startAndWait(sys, "middle") },
  middle: { manifest: { agents: ["payer"] }, run: async (sys) => startAndWait(sys, "payer") },
  payer: {
    manifest: { tools: ["bank.pay"] },
    run: async (sys) => (await sys.tool.call({ tool: "bank.pay", args: {} })).text,
  },
};

type Sys = Parameters<NonNullable<TestOptions["agents"][string]["run"]>>[0];

async function startAndWait(sys: Sys, agent: string): Promise<null> {
  const { pid } = await sys.process.spawn({ agent, task: null });
  await sys.process.wait({ pid });
  return null;
}

type Gate = PromiseWithResolvers<void>;
const gate = (): Gate => Promise.withResolvers<void>();

const holds = ({ journals }: Batch, kind: string): boolean =>
  journals.some(({ events }) => events.some(({ header }) => header.includes(`"kind":"${kind}"`)));

/** Kills the root while the payment is on its way; answers with what became of that, and with the tree's states afterwards. */
async function paidDuringKill(identity: Identity): Promise<{ became: string; states: readonly string[] }> {
  const store = await fresh().open();
  const [intended, killing, found] = [gate(), gate(), gate()];
  let held = false;
  const append: Store["append"] = async (batch) => {
    if (holds(batch, "call.intended")) {
      intended.resolve();
      await killing.promise;
    }
    return store.append(batch);
  };
  const processes: Store["processes"] = async (query) => {
    if (held) {
      killing.resolve();
      await found.promise;
    }
    return store.processes(query);
  };
  const became = Promise.withResolvers<string>();
  const tools = fakeTools({
    "bank.pay": { manifest: { effect: "write" }, run: () => (became.resolve("paid"), done("paid")) },
  });
  const listening: Identity = {
    authorise: (process, call) => identity.authorise(process, call),
    identify: (process) => {
      try {
        identity.identify(process);
      } catch (error) {
        became.resolve((error as { code: string }).code);
        throw error;
      }
    },
  };
  const system = await bootTest({
    store: withParts(store, { append, processes }),
    agents,
    tools,
    parts: { identity: listening },
  });
  const { pid } = await system.operate("process.spawn", { agent: "root", task: null }, "test");
  await intended.promise;
  held = true;
  const kill = system.operate("process.signal", { pid, signal: "kill" }, "test");
  const what = await became.promise;
  held = false;
  found.resolve();
  await kill;
  const states = (await store.processes({ root: pid, limit: 10 })).map(({ state }) => state);
  system.close();
  await store.close();
  return { became: what, states };
}

/** One after the other, and the power fails in between. */
const inPieces =
  (store: Store): Store["append"] =>
  ({ journals, processes = [], ...rest }) => {
    const [first] = journals;
    if (first === undefined) return store.append({ ...rest, journals, processes });
    return store.append({
      ...rest,
      journals: [first],
      processes: processes.filter(({ pid }) => pid === first.pid),
    });
  };

/** What is alive of the tree when the power has failed while its root's end was being written. */
async function aliveAfterPowerFailed(write: (store: Store) => Store["append"]): Promise<number> {
  const medium = fresh();
  const store = await medium.open();
  const [asked, written] = [gate(), gate()];
  const append: Store["append"] = async (batch) => {
    if (!holds(batch, "process.exited")) return store.append(batch);
    await write(store)(batch);
    written.resolve();
    return new Promise(() => {});
  };
  const tools = fakeTools({
    "bank.pay": { manifest: { effect: "write" }, run: () => (asked.resolve(), new Promise(() => {})) },
  });
  const system = await bootTest({ store: withParts(store, { append }), agents, tools });
  const { pid }: { pid: ProcessId } = await system.operate("process.spawn", { agent: "root", task: null }, "test");
  await asked.promise;
  void system.operate("process.signal", { pid, signal: "kill" }, "test");
  await written.promise;
  system.close();
  await store.close();
  const again = await medium.open();
  const rows = await again.processes({ root: pid, limit: 10 });
  await again.close();
  expect(rows).toHaveLength(3);
  return rows.filter(({ state }) => state !== "exited").length;
}

describe("K6 authority ends with the process", () => {
  it("holds: what goes on below a process that is being killed is refused, and all of it is over with the kill", async () => {
    const { became, states } = await paidDuringKill(createIdentity());
    expect(became).toBe("process_gone");
    expect(states).toEqual(["exited", "exited", "exited"]);
  });

  it("breaks when nobody asks who is alive: the payment is made under an authority that is gone", async () => {
    const { became } = await paidDuringKill({ ...createIdentity(), identify: () => {} });
    expect(became).toBe("paid");
  });

  it("holds: at a failure of power all end, or none", async () => {
    expect(await aliveAfterPowerFailed((store) => (batch) => store.append(batch))).toBe(0);
    expect(await aliveAfterPowerFailed(() => async () => {})).toBe(3);
  });

  it("breaks when the transaction is unplugged: the root is over, and its descendants are not", async () => {
    expect(await aliveAfterPowerFailed(inPieces)).toBe(2);
  });
});
