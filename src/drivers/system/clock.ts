// The machine's clock.
import type { Clock } from "../../ports/clock.ts";

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
