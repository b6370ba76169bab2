// An instrument for fault tests: a store that kills its own process at a chosen append.
//
// Nothing is cleaned up and nobody is told, as when the power fails: what the store below acknowledged must be there afterwards.
import type { Store } from "../../ports/store.ts";

/** `before`: the batch never reaches the store; `after`: it is durable and nobody hears of it. */
export type CrashPoint = { readonly append: number; readonly when: "before" | "after" };

/** Reads `17:before` or `17:after`; a bare number crashes before. Throws on anything else. */
export function crashPointOf(text: string): CrashPoint {
  const match = /^(\d+)(?::(before|after))?$/.exec(text);
  if (match === null)
    throw new Error(
      `REEVE_CRASH_AT_WRITE takes a number, or a number and \`:before\` or \`:after\`, not ${JSON.stringify(text)}.`,
    );
  return { append: Number(match[1]), when: match[2] === "after" ? "after" : "before" };
}

export function crashingStore(store: Store, point: CrashPoint): Store {
  let appends = 0;
  const die = (): Promise<never> => {
    process.kill(process.pid, "SIGKILL");
    return new Promise(() => {});
  };
  const append: Store["append"] = (batch) => {
    appends += 1;
    if (appends !== point.append) return store.append(batch);
    return point.when === "before" ? die() : store.append(batch).then(die);
  };
  return new Proxy(store, {
    get: (target, name) => {
      if (name === "append") return append;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}
