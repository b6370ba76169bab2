// The store in memory: the contract, and the crashes that it can be told to have.
import { describe, expect, it } from "vitest";
import type { AppendFate } from "../simulation/store-memory.ts";
import { MemoryMedium, openMemoryStore } from "../simulation/store-memory.ts";
import { appendOf, pidOf } from "./store-samples.ts";
import { storeConformance } from "./store.ts";

storeConformance("the store in memory", async () => {
  const medium = new MemoryMedium();
  return { open: () => openMemoryStore(medium), dispose: async () => {} };
});

describe("a crash of the store in memory", () => {
  for (const [fate, kept] of [
    ["crash_before", 2],
    ["crash_after", 3],
  ] as const)
    it(`${fate}: the third append ends the store, and the medium holds ${kept} events`, async () => {
      const medium = new MemoryMedium();
      const asked: number[] = [];
      const onAppend = (_: unknown, n: number): AppendFate => {
        asked.push(n);
        return n === 2 ? fate : "commit";
      };
      const store = await openMemoryStore(medium, { onAppend });
      const pid = pidOf(1);
      for (let seq = 0; seq < 2; seq += 1) await store.append({ journals: [appendOf(pid, seq)] });
      await expect(store.append({ journals: [appendOf(pid, 0)] })).rejects.toMatchObject({ code: "conflict" });
      const dead = { code: "store_failed", data: { reason: "io" } };
      await expect(store.append({ journals: [appendOf(pid, 2)] })).rejects.toMatchObject(dead);
      await expect(store.append({ journals: [appendOf(pid, 3)] })).rejects.toMatchObject(dead);
      await expect(store.lastEvent(pid)).rejects.toMatchObject(dead);
      expect(asked).toEqual([0, 1, 2]);

      const next = await openMemoryStore(medium);
      await store.close();
      expect(await next.events(pid, 0, 9)).toHaveLength(kept);
      await next.append({ journals: [appendOf(pid, kept)] });
    });
});
