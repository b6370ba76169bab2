// The scheduler's invariants Q1 to Q4, held against random crowds.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Spent } from "../abi/process.ts";
import type { ProcessView } from "../ports/process.ts";
import type { Lease } from "../ports/scheduler.ts";
import { createScheduler } from "./turns.ts";

const NOTHING: Spent = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };

const process = (budget: ProcessView["budget"] = {}, spent: Partial<Spent> = {}): ProcessView =>
  ({ pid: "p_000000000000", budget, spent: { ...NOTHING, ...spent } }) as unknown as ProcessView;

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const neverAborted = new AbortController().signal;

type Step = { readonly act: "come" | "leave" | "release"; readonly which: number };
const steps = fc.array(
  fc.record({ act: fc.constantFrom<Step["act"]>("come", "come", "leave", "release"), which: fc.nat(30) }),
  { maxLength: 80 },
);

type Caller = { readonly n: number; readonly abort: AbortController; lease?: Lease; over?: string };

describe("turns at a resource", () => {
  it("are taken by at most so many at a time, in the order of arrival, and none is lost", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (concurrency, script) => {
        const scheduler = createScheduler();
        const resource = { name: "r", concurrency };
        const callers: Caller[] = [];
        const admitted: number[] = [];
        const come = (): void => {
          const caller: Caller = { n: callers.length, abort: new AbortController() };
          callers.push(caller);
          Promise.resolve(scheduler.admit(process(), resource, caller.abort.signal)).then(
            (lease) => {
              caller.lease = lease;
              admitted.push(caller.n);
            },
            (error: { code: string }) => (caller.over = error.code),
          );
        };
        const out = (): Caller[] => callers.filter(({ lease, over }) => lease !== undefined && over === undefined);
        for (const { act, which } of script) {
          if (act === "come") come();
          const waiting = callers.filter(({ lease, over }) => lease === undefined && over === undefined);
          if (act === "leave") waiting[which % Math.max(1, waiting.length)]?.abort.abort();
          const leased = out()[which % Math.max(1, out().length)];
          if (act === "release" && leased !== undefined) {
            leased.over = "released";
            leased.lease?.release();
            leased.lease?.release();
          }
          await settle();
          expect(out().length).toBeLessThanOrEqual(concurrency);
          const left = callers.filter(({ lease, over }) => lease === undefined && over === undefined);
          expect(left.length === 0 || out().length === concurrency).toBe(true);
        }
        expect(admitted).toEqual(admitted.toSorted((a, b) => a - b));
        for (const { over } of callers) expect(["released", "cancelled", undefined]).toContain(over);
      }),
      { numRuns: 60 },
    );
  });

  it("are refused to whoever has already given up, and cost him nothing", () => {
    const scheduler = createScheduler();
    const limited = process({ calls: 1 });
    expect(() => scheduler.admit(limited, { name: "r", concurrency: 1 }, AbortSignal.abort())).toThrow(
      expect.objectContaining({ code: "cancelled" }) as Error,
    );
    expect(scheduler.admit(limited, { name: "r", concurrency: 1 }, neverAborted)).toHaveProperty("release");
  });

  it("of one resource do not wait for another's", () => {
    const scheduler = createScheduler();
    for (const name of ["a", "b"])
      expect(scheduler.admit(process(), { name, concurrency: 1 }, neverAborted)).toHaveProperty("release");
  });
});

describe("a budget", () => {
  const exhausted = expect.objectContaining({ code: "budget_exhausted" }) as Error;
  const admit = (
    scheduler: ReturnType<typeof createScheduler>,
    who: ProcessView,
    concurrency = 100,
  ): Promise<Lease> | Lease => scheduler.admit(who, { name: "r", concurrency }, neverAborted);

  it("counts what is under way, so that a burst cannot pass it, queued or not", () => {
    for (const concurrency of [1, 100]) {
      const scheduler = createScheduler();
      const limited = process({ calls: 3 }, { calls: 1 });
      void admit(scheduler, limited, concurrency);
      void admit(scheduler, limited, concurrency);
      expect(() => admit(scheduler, limited, concurrency)).toThrow(exhausted);
      expect(admit(scheduler, process({ calls: 3 }), concurrency)).toBeDefined();
    }
  });

  it("has room again when a call was given back unspent or given up", async () => {
    const scheduler = createScheduler();
    const limited = process({ calls: 2 });
    const lease = await admit(scheduler, limited, 1);
    const abort = new AbortController();
    const queued = Promise.resolve(scheduler.admit(limited, { name: "r", concurrency: 1 }, abort.signal));
    expect(() => admit(scheduler, limited, 1)).toThrow(exhausted);
    abort.abort();
    await expect(queued).rejects.toMatchObject({ code: "cancelled" });
    lease.release();
    lease.release();
    void admit(scheduler, limited);
    void admit(scheduler, limited);
    expect(() => admit(scheduler, limited)).toThrow(exhausted);
  });

  it("of tokens is over when they are spent, and says of what", () => {
    const scheduler = createScheduler();
    expect(admit(scheduler, process({ tokens: 10 }, { inputTokens: 5, outputTokens: 4 }))).toBeDefined();
    expect(() => admit(scheduler, process({ tokens: 10 }, { inputTokens: 5, outputTokens: 5 }))).toThrow(
      expect.objectContaining({ data: { budget: "tokens", max: 10, spent: 10 } }) as Error,
    );
  });
});
