// A kernel on a store in memory for the tests of this folder, and what they do with it again and again.
//
// The store's operations can be replaced, so that a test decides when, and whether, each of them answers.
import { afterEach } from "vitest";
import type { SimulatedClock } from "../../test/simulation/clock.ts";
import { MemoryMedium, openMemoryStore } from "../../test/simulation/store-memory.ts";
import { bootTest, type TestAgent, type TestOptions, type TestSystem } from "../../test/system.ts";
import type { Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { Exit } from "../abi/process.ts";
import type { InboxItem } from "../abi/requests.ts";
import type { Batch, Store } from "../ports/store.ts";

/** Long, since the machine may be shared: it only says that something hangs. */
const PATIENCE_MS = 25_000;

export type Gate = { readonly passed: Promise<void>; readonly open: () => void };

/** A promise that the test resolves when it likes. */
export function gate(): Gate {
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { passed, open };
}

/** Looks in every turn of the event loop until there is something; rejects when it never comes. */
export async function eventually<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const endMs = Date.now() + PATIENCE_MS;
  while (Date.now() < endMs) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`Not seen in time: ${what}`);
}

/** Turns of the event loop, for what must not happen to have had its chance. */
export async function turns(count = 50): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets this much time pass: what comes due meanwhile fires, and what it sets off comes to rest before the next. */
export async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  const untilMs = clock.nowMs() + ms;
  do await turns();
  while (clock.advance(untilMs));
}

/** The store with some of its operations replaced. */
export function replaced(store: Store, parts: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => {
      const own: unknown = Reflect.get(parts, name);
      const value: unknown = own ?? Reflect.get(target, name);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** The store with appends that take as long as the test says; they reach the disk in the order in which they were called. */
export function slowed(disk: Store, delay: (batch: Batch) => Promise<void> | undefined): Store {
  let last: Promise<unknown> = Promise.resolve();
  const append: Store["append"] = (batch) => {
    const before = last;
    const done = (async () => {
      await before;
      await delay(batch);
      await disk.append(batch);
    })();
    last = done.catch(() => {});
    return done;
  };
  return replaced(disk, { append });
}

/** Whether a batch holds an event of this kind. */
export const holds = ({ journals }: Batch, kind: string): boolean =>
  journals.some(({ events }) => events.some(({ header }) => header.includes(`"kind":"${kind}"`)));

/** An agent that waits for a message, and ends with it. */
export const listener: TestAgent = { run: async (sys) => (await sys.message.receive({})).message?.body ?? null };

/** An agent that calls one tool, and ends with what that said. */
export const callerOf = (tool: string): TestAgent => ({
  manifest: { tools: [tool] },
  run: async (sys) => (await sys.tool.call({ tool, args: {} })).text,
});

/** An agent that starts so many of another, then waits for a message. */
export const parentOf = (agent: string, count: number): TestAgent => ({
  manifest: { agents: [agent] },
  run: async (sys) => {
    for (let child = 0; child < count; child += 1) await sys.process.spawn({ agent, task: null });
    return (await sys.message.receive({})).message?.body ?? null;
  },
});

export type Scene = TestSystem & {
  readonly medium: MemoryMedium;
  /** The store itself, whatever the kernel was given in its place. */
  readonly disk: Store;
  readonly start: (agent: string, task?: Json) => Promise<ProcessId>;
  readonly exit: (pid: ProcessId) => Promise<Exit | null>;
  readonly journal: (pid: ProcessId) => Promise<readonly Event[]>;
  /** The kinds of a process's events, in order. */
  readonly kinds: (pid: ProcessId) => Promise<readonly string[]>;
  readonly state: (pid: ProcessId) => Promise<string>;
  /** The open request of a process, once there is one. */
  readonly asked: (pid: ProcessId) => Promise<InboxItem>;
  /** Ends the kernel as a crash would, and gives the medium back. */
  readonly crash: () => Promise<MemoryMedium>;
};

export type SceneOptions = Omit<TestOptions, "store"> & {
  readonly medium?: MemoryMedium;
  readonly store?: (disk: Store) => Store;
};

export async function scene(options: SceneOptions): Promise<Scene> {
  const { medium = new MemoryMedium(), store = (disk: Store) => disk, ...rest } = options;
  const disk = await openMemoryStore(medium);
  const system = await bootTest({ ...rest, store: store(disk) });
  const journal: Scene["journal"] = async (pid) =>
    (await system.operate("journal.read", { pid }, "test")).events as unknown as readonly Event[];
  return Object.assign(system, {
    medium,
    disk,
    start: async (agent: string, task: Json = null) =>
      (await system.operate("process.spawn", { agent, task }, "test")).pid,
    exit: async (pid: ProcessId) =>
      (await system.operate("process.wait", { pid, timeoutMs: PATIENCE_MS }, "test")).exit,
    journal,
    kinds: async (pid: ProcessId) => (await journal(pid)).map(({ header }) => header.kind),
    state: async (pid: ProcessId) => (await system.operate("process.show", { pid }, "test")).process.state,
    asked: (pid: ProcessId) =>
      eventually("a request", async () => (await system.operate("human.list", { pid }, "test")).requests[0]),
    crash: async () => {
      system.close();
      await disk.close();
      return medium;
    },
  });
}

/** What boots scenes for the tests of a file; each is closed after its test. */
export function scenes(): (options: SceneOptions) => Promise<Scene> {
  const open: Scene[] = [];
  afterEach(() => open.splice(0).forEach((one) => one.close()));
  return async (options) => {
    const booted = await scene(options);
    open.push(booted);
    return booted;
  };
}
