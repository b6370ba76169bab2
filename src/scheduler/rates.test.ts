// Limits of requests and tokens, what a provider says of its own, and its pauses (R1 to R4).
//
// Method: providers of several kinds on a simulated clock, which count what comes and refuse what is too much. How much
// of the allowance was used, and how much was refused, is what matters; both are bounded.
import { describe, expect, it } from "vitest";
import { Chance } from "../../test/simulation/chance.ts";
import type { RateReport, Resource, Slot } from "../ports/scheduler.ts";
import { Crowd, pidOf, roots, standing } from "./crowd.fake.ts";
import type { TurnsOptions } from "./turns.ts";

const signal = new AbortController().signal;
const MINUTE_MS = 60_000;
const LIMIT = 600;

/** Answers null for yes, or what it says with a refusal; `says` is what it says with an answer. */
type Provider = { come(nowMs: number): boolean; says(nowMs: number): { remaining: number; resetMs: number } };

/** So many in each minute of its own clock, which runs `shiftMs` behind ours. */
function fixedWindow(shiftMs: number): Provider {
  let used = 0;
  let window = -1;
  const roll = (nowMs: number): void => {
    const at = Math.floor((nowMs - shiftMs) / MINUTE_MS);
    if (at !== window) [window, used] = [at, 0];
  };
  return {
    come: (nowMs) => {
      roll(nowMs);
      if (used >= LIMIT) return false;
      used += 1;
      return true;
    },
    says: (nowMs) => {
      roll(nowMs);
      return { remaining: LIMIT - used, resetMs: (window + 1) * MINUTE_MS + shiftMs };
    },
  };
}

/** A bucket that fills evenly; it is reset when it is full. */
function fillingBucket(): Provider {
  let level = LIMIT;
  let lastMs: number | undefined;
  const fill = (nowMs: number): void => {
    level = Math.min(LIMIT, level + ((nowMs - (lastMs ?? nowMs)) * LIMIT) / MINUTE_MS);
    lastMs = nowMs;
  };
  return {
    come: (nowMs) => {
      fill(nowMs);
      if (level < 1) return false;
      level -= 1;
      return true;
    },
    says: (nowMs) => {
      fill(nowMs);
      return { remaining: Math.floor(level), resetMs: nowMs + ((LIMIT - level) * MINUTE_MS) / LIMIT };
    },
  };
}

/** So many in any minute; reset is when the oldest is forgotten. */
function slidingWindow(): Provider {
  const taken: number[] = [];
  const forget = (nowMs: number): void => {
    while ((taken[0] ?? nowMs) <= nowMs - MINUTE_MS) taken.shift();
  };
  return {
    come: (nowMs) => {
      forget(nowMs);
      if (taken.length >= LIMIT) return false;
      taken.push(nowMs);
      return true;
    },
    says: (nowMs) => {
      forget(nowMs);
      return { remaining: LIMIT - taken.length, resetMs: (taken[0] ?? nowMs) + MINUTE_MS };
    },
  };
}

type Outcome = { readonly answered: number; readonly refused: number };
type Course = {
  readonly provider: Provider;
  readonly callMs: number;
  readonly minutes: number;
  readonly concurrency: number;
  readonly requestsPerMinute?: number;
  readonly silent?: boolean;
};

/** As many calls as there are slots want to be made all the time, by two who take turns. */
async function course({ provider, callMs, minutes, concurrency, silent, ...limits }: Course): Promise<Outcome> {
  const chance = new Chance(7);
  const crowd = new Crowd({ concurrency, ...limits }, { random: () => chance.number() });
  let [answered, refused, calls] = [0, 0, 0];
  const perform = (slot: Slot): void => {
    // It arrives after a part of the way.
    crowd.clock.after(callMs * 0.2, () => {
      const nowMs = crowd.clock.nowMs();
      const yes = provider.come(nowMs);
      if (yes) answered += 1;
      else refused += 1;
      const said = provider.says(nowMs);
      const requests = { limit: LIMIT, windowMs: MINUTE_MS, ...said };
      crowd.clock.after(callMs * (yes ? 0.5 + 0.6 * chance.number() : 0.1), () => {
        const pause = yes ? {} : { pausedUntilMs: said.resetMs };
        if (silent !== true || !yes) crowd.turns.report("r", { ...(silent === true ? {} : { requests }), ...pause });
        slot.release();
        ask();
      });
    });
  };
  const ask = (): void => {
    calls += 1;
    const turn = crowd.turns.take(standing(calls % 2), { call: calls, resource: crowd.resource }, signal);
    void Promise.resolve(turn).then(perform);
  };
  for (let at = 0; at < 2 * concurrency; at += 1) ask();
  await crowd.run(minutes * MINUTE_MS);
  return { answered, refused };
}

describe("a provider that says what is left", () => {
  const providers = {
    "counts by its own minutes": () => fixedWindow(0),
    "counts by minutes that begin at another time": () => fixedWindow(17_300),
    "fills a bucket": fillingBucket,
    "counts the last minute": slidingWindow,
  } as const;
  for (const [name, make] of Object.entries(providers))
    for (const [concurrency, callMs] of [
      [8, 100],
      [64, 2_000],
    ] as const)
      it(`is used to 95 % and refuses less than 1 %, where it ${name} (${concurrency} slots of ${callMs} ms)`, async () => {
        const minutes = 5;
        const { answered, refused } = await course({ provider: make(), callMs, minutes, concurrency });
        expect(answered / (LIMIT * minutes)).toBeGreaterThanOrEqual(0.95);
        expect(refused / (answered + refused)).toBeLessThanOrEqual(0.01);
      });

  it("is overrun without reports, which shows that the crowd is large enough", async () => {
    const { refused } = await course({
      provider: fixedWindow(0),
      callMs: 100,
      minutes: 2,
      concurrency: 8,
      silent: true,
    });
    expect(refused).toBeGreaterThan(7);
  });

  it("is believed where it allows less than the configuration, and the configuration where that allows less", async () => {
    const given = { provider: fixedWindow(0), callMs: 100, minutes: 3, concurrency: 8 };
    const loose = await course({ ...given, requestsPerMinute: 6_000 });
    expect(loose.refused / loose.answered).toBeLessThan(0.01);
    const tight = await course({ ...given, provider: fixedWindow(0), requestsPerMinute: 60 });
    expect(tight.answered).toBeGreaterThanOrEqual(175);
    expect(tight.answered).toBeLessThanOrEqual(185);
  });
});

const crowdOf = (resource: Partial<Resource>, options: Partial<TurnsOptions> = {}): Crowd =>
  new Crowd({ concurrency: 8, ...resource }, options);
const startsOf = (crowd: Crowd): number[] => crowd.served.map(({ fromMs }) => Math.round(fromMs));

describe("a configured limit", () => {
  it("is used to the full and not beyond, and the urgent go first through it", async () => {
    const crowd = crowdOf({ requestsPerMinute: 600 });
    for (const who of roots("b", 1_300, { class: "batch" })) crowd.ask(who, { serviceMs: 10 });
    crowd.at(30_000, () => crowd.ask(standing("urgent", { class: "interactive" }), { serviceMs: 10 }));
    await crowd.run(2 * MINUTE_MS);
    const starts = startsOf(crowd);
    expect(starts.length).toBeGreaterThanOrEqual(1_190);
    for (const from of starts) {
      const inMinute = starts.filter((start) => start >= from && start < from + MINUTE_MS).length;
      expect(inMinute).toBeLessThanOrEqual(613);
    }
    const urgent = crowd.served.find(({ who }) => who.pid === pidOf("urgent"));
    expect(urgent!.fromMs - 30_000).toBeLessThanOrEqual(101);
  });

  it("of tokens counts the estimate at first and what was used in the end", async () => {
    for (const [used, atLeast, atMost] of [
      [1_000, 60, 63],
      [500, 118, 125],
      [2_000, 29, 33],
    ] as const) {
      const crowd = crowdOf({ tokensPerMinute: 60_000 });
      let begun = 0;
      const ask = (call: number): void => {
        const turn = crowd.turns.take(standing("a"), { call, resource: crowd.resource, tokens: 1_000 }, signal);
        void Promise.resolve(turn).then((slot) => {
          begun += 1;
          crowd.clock.after(50, () => {
            slot.release({ tokens: used });
            ask(call + 8);
          });
        });
      };
      for (let call = 0; call < 8; call += 1) ask(call);
      await crowd.run(MINUTE_MS);
      expect(begun, `${used} used`).toBeGreaterThanOrEqual(atLeast);
      expect(begun, `${used} used`).toBeLessThanOrEqual(atMost + 8);
    }
  });

  it("of tokens lets a call pass that is larger than the limit, and pays it off after", async () => {
    const crowd = crowdOf({ tokensPerMinute: 1_000 });
    crowd.ask(standing("a"), { serviceMs: 1, tokens: 3_000 });
    crowd.ask(standing("b"), { serviceMs: 1, tokens: 10 });
    expect(crowd.turns.waits(pidOf("b"))).toMatchObject([{ held: { by: "tokens" }, inUse: 1 }]);
    await crowd.run();
    expect(startsOf(crowd)[1]).toBeGreaterThan(170_000);
  });
});

describe("a provider that says only a part", () => {
  it("is held at nothing left until its reset, and not at all while nothing is known", async () => {
    const crowd = crowdOf({});
    const report: RateReport = { requests: { remaining: 0, resetMs: crowd.clock.nowMs() + 5_000 } };
    for (const who of roots("a", 8)) crowd.ask(who, { serviceMs: 10 });
    crowd.at(5, () => crowd.turns.report("r", report));
    crowd.at(20, () => {
      for (const who of roots("b", 8)) crowd.ask(who, { serviceMs: 10 });
      const resetMs = crowd.startMs + 5_000;
      const [wait] = crowd.turns.waits(pidOf("b0"));
      expect(wait?.held?.by).toBe("requests");
      expect(wait?.held?.untilMs).toBeGreaterThanOrEqual(resetMs);
      expect(wait?.estimateMs).toBeGreaterThanOrEqual(4_900);
    });
    await crowd.run();
    const starts = startsOf(crowd);
    expect(starts.slice(0, 8)).toEqual(Array(8).fill(0));
    expect(starts[8]).toBeGreaterThanOrEqual(5_000);
    expect(starts[15]).toBeLessThanOrEqual(5_200);
  });

  it("is used as far as it says something is left, though it names no limit", async () => {
    const crowd = crowdOf({});
    crowd.ask(standing("first"), { serviceMs: 1 });
    crowd.turns.report("r", { requests: { remaining: 3, resetMs: crowd.startMs + 1_000 } });
    for (const who of roots("a", 6)) crowd.ask(who, { serviceMs: 1 });
    await crowd.run();
    expect(startsOf(crowd).filter((start) => start < 1_000)).toHaveLength(4);
    expect(crowd.served).toHaveLength(7);
  });

  it("changes nothing by a report for a resource that nobody knows, or of a time that is over", async () => {
    const crowd = crowdOf({});
    crowd.turns.report("nobody", { requests: { remaining: 0 } });
    crowd.turns.report("r", {});
    crowd.ask(standing("a"), { serviceMs: 1 });
    crowd.turns.report("r", { requests: { limit: 10, remaining: 0, resetMs: crowd.startMs - 1 } });
    crowd.ask(standing("b"), { serviceMs: 1 });
    await crowd.run();
    expect(startsOf(crowd)).toEqual([0, 0]);
  });
});

describe("after a pause", () => {
  it("calls come back one, two, four, and none before", async () => {
    const crowd = crowdOf({ concurrency: 8 }, { random: () => 0.5 });
    crowd.ask(standing("first"), { serviceMs: 10 });
    crowd.turns.report("r", { pausedUntilMs: crowd.startMs + 1_000 });
    for (const who of roots("a", 40)) crowd.ask(who, { serviceMs: 100 });
    expect(crowd.turns.waits(pidOf("a0"))).toMatchObject([
      { position: 0, held: { by: "pause", untilMs: crowd.startMs + 1_050 } },
    ]);
    await crowd.run();
    const starts = startsOf(crowd).slice(1);
    const waves = [1_050, 1_150, 1_250, 1_350].map((ms) => starts.filter((start) => start === ms).length);
    expect(waves).toEqual([1, 2, 4, 8]);
    expect(starts).toHaveLength(40);
  });

  it("a further refusal halves what may be in flight, once for all calls that were refused together", async () => {
    const crowd = crowdOf({ concurrency: 8 });
    crowd.ask(standing("first"), { serviceMs: 10 });
    crowd.turns.report("r", { pausedUntilMs: crowd.startMs + 1_000 });
    for (const who of roots("a", 40)) crowd.ask(who, { serviceMs: 100 });
    // Four are in flight; two of them are refused.
    crowd.at(1_250, () => {
      crowd.turns.report("r", { pausedUntilMs: crowd.startMs + 3_000 });
      crowd.turns.report("r", { pausedUntilMs: crowd.startMs + 3_000 });
    });
    await crowd.run();
    const starts = startsOf(crowd);
    expect(starts.filter((start) => start > 1_250 && start < 3_000)).toEqual([]);
    expect(starts.filter((start) => start === 3_000)).toHaveLength(2);
  });

  it("what it saved up goes at twice the pace of the limit, all of it, and not at a stroke", async () => {
    const crowd = crowdOf({ concurrency: 64, requestsPerMinute: 6_000 });
    for (const who of roots("a", 80)) crowd.ask(who, { serviceMs: 20, again: true });
    crowd.at(10_000, () => crowd.turns.report("r", { pausedUntilMs: crowd.startMs + 15_000 }));
    await crowd.run(30_000);
    const starts = startsOf(crowd);
    const after = starts.filter((start) => start > 15_000);
    const inSecond = (from: number): number => after.filter((start) => start >= from && start < from + 1_000).length;
    // 100 a second is the limit. The slot times of those first few that slow start allows are short of it.
    for (const start of after) expect(inSecond(start)).toBeLessThanOrEqual(2 * 100 + 11);
    // What flowed in while it paused was all that the bucket holds, which is used within a few seconds.
    expect(inSecond(15_200)).toBeGreaterThan(150);
    expect(starts.filter((start) => start > 16_500).length).toBeGreaterThanOrEqual(1_340);
  });

  it("nobody is woken while nobody waits", async () => {
    const crowd = crowdOf({});
    const abort = new AbortController();
    crowd.ask(standing("first"), { serviceMs: 10 });
    crowd.turns.report("r", { pausedUntilMs: crowd.startMs + 1_000 });
    crowd.ask(standing("a"), { serviceMs: 10, signal: abort.signal });
    abort.abort();
    await crowd.run();
    expect(crowd.nowMs).toBe(10);
  });

  it("nobody is woken for a limit that is no more", () => {
    const timers = new Set<() => void>();
    const after = (_ms: number, fire: () => void): (() => void) => {
      timers.add(fire);
      return () => void timers.delete(fire);
    };
    const crowd = crowdOf({ requestsPerMinute: 1 }, { clock: { nowMs: () => 0, after } });
    const take = (name: string, resource: Resource): unknown =>
      crowd.turns.take(standing(name), { call: 1, resource }, signal);
    expect([take("a", crowd.resource), take("b", crowd.resource)]).toEqual([expect.anything(), expect.any(Promise)]);
    expect(timers.size).toBe(1);
    expect(take("c", { name: "r", concurrency: 8 })).toHaveProperty("release");
    expect(timers.size).toBe(0);
  });
});
