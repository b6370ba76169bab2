// `withLock`: a lock held for the time of some work, and no longer.
//
// A function over `sys` like the loop, and no part of it: `sys` is the table of system calls and nothing else.
import type { Sys } from "./sys.ts";

/** The key, shared by all processes of a tenant, and how long the lock may be held at most. Milliseconds. */
export type LockAsked = { readonly key: string; readonly leaseMs?: number };

/**
 * Takes the lock, waiting for it, does the work, and gives the lock back however the work ended: answers with what the work
 * gave, or rejects with what it threw. Rejects with `deadlock` or `limit_exceeded` before the work has begun.
 *
 * The lease runs on while the work waits, for a human too. Work that may outlast it says a longer `leaseMs`, or takes
 * the lock again with `sys.lock.acquire`, which makes the lease longer. Not to be nested with the same key: the inner one
 * would give back what the outer one still needs.
 */
export async function withLock<T>(sys: Sys, lock: string | LockAsked, work: () => Promise<T>): Promise<T> {
  const { key, ...lease } = typeof lock === "string" ? { key: lock } : lock;
  await sys.lock.acquire({ key, ...lease });
  let outcome: T;
  try {
    outcome = await work();
  } catch (error) {
    // Why the work failed tells more than why a lock could not be given back, which its lease and the exit do as well.
    await sys.lock.release({ key }).catch(() => undefined);
    throw error;
  }
  await sys.lock.release({ key });
  return outcome;
}
