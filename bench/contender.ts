// A contender: something that performs durable steps, ours or a peer's, behind one face.
//
// Each contender runs in a child process of its own (host.ts), so that none shares a heap, an event loop or a
// library with another, and is started and stopped again for each round: while one is measured no other runs.
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export type Started = {
  /** What makes a step durable here, as read back from the running system where it can be read. */
  readonly durability: string;
  /** Whether that survives the loss of power. */
  readonly survivesPowerCut: boolean;
  readonly version: string;
};

export type Contender = {
  readonly name: string;
  /** `folder` is empty and belongs to the contender until it is stopped. */
  start(folder: string): Promise<Started>;
  /** One workflow of sequential durable steps: milliseconds of each step. */
  one(steps: number): Promise<readonly number[]>;
  /** Workflows at once, each of sequential durable steps: steps a second over all, from the first start to the last end. */
  many(workflows: number, steps: number): Promise<number>;
  /** Ends everything that `start` began. */
  stop(): Promise<void>;
};

/** Where a contender's code is: a module beside this file that exports `contenders`, and a name in it. */
export type ContenderSource = { readonly module: string; readonly name: string };

export type HostRequest =
  | { readonly id: number; readonly verb: "start"; readonly folder: string }
  | { readonly id: number; readonly verb: "one"; readonly steps: number }
  | { readonly id: number; readonly verb: "many"; readonly workflows: number; readonly steps: number }
  | { readonly id: number; readonly verb: "stop" };
export type HostAnswer = { readonly id: number; readonly value?: unknown; readonly error?: string };
type Unnumbered<Request> = Request extends unknown ? Omit<Request, "id"> : never;

/** A contender in a child process. `stop` always ends the child, also after a failed call. */
export function hosted(source: ContenderSource, options: { readonly callTimeoutMs: number }): Contender {
  let child: ChildProcess | undefined;
  let lastId = 0;

  async function ask<T>(request: Unnumbered<HostRequest>): Promise<T> {
    if (child === undefined) throw new Error(`${source.name} was not started.`);
    const asked = child;
    const id = (lastId += 1);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const onMessage = (answer: HostAnswer): void => {
      if (answer.id !== id) return;
      if (answer.error === undefined) resolve(answer.value as T);
      else reject(new Error(`${source.name}: ${answer.error}`));
    };
    const onExit = (code: number | null, signal: string | null): void =>
      reject(new Error(`${source.name} died (${signal ?? `exit ${code}`}) during ${request.verb}.`));
    const timer = setTimeout(
      () => reject(new Error(`${source.name} gave no answer to ${request.verb} within ${options.callTimeoutMs} ms.`)),
      options.callTimeoutMs,
    );
    asked.on("message", onMessage).on("exit", onExit);
    asked.send({ ...request, id });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      asked.off("message", onMessage).off("exit", onExit);
    }
  }

  async function end(): Promise<void> {
    const ended = child;
    child = undefined;
    if (ended === undefined || ended.exitCode !== null || ended.signalCode !== null) return;
    const exit = once(ended, "exit");
    const timer = setTimeout(() => ended.kill("SIGKILL"), 5_000);
    ended.disconnect();
    await exit;
    clearTimeout(timer);
  }

  return {
    name: source.name,
    async start(folder) {
      await mkdir(folder, { recursive: true });
      child = fork(
        fileURLToPath(new URL("host.ts", import.meta.url)),
        [join(import.meta.dirname, source.module), source.name],
        {
          // What a peer prints is for nobody's table; what it complains about is.
          stdio: ["ignore", "ignore", "inherit", "ipc"],
          cwd: folder,
        },
      );
      return ask<Started>({ verb: "start", folder });
    },
    one: (steps) => ask<number[]>({ verb: "one", steps }),
    many: (workflows, steps) => ask<number>({ verb: "many", workflows, steps }),
    async stop() {
      try {
        if (child?.connected === true) await ask<null>({ verb: "stop" });
      } finally {
        await end();
      }
    },
  };
}
