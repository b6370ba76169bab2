// Sandboxes that wait: each whole, with its interpreter started, for the next job of the same kind in the same place.
//
// A job of an interpreter whose own end is near is likely to be followed by another of the same process, so when it has ended, and
// not before, one is started that would serve the same spec. It has all that the spec names from its first instruction: nothing is
// added to a sandbox that runs but the program's text.
//
// Invariants:
//   W1. A sandbox serves one job.
//   W2. It is taken only for a spec that it was started for: the same interpreter, environment, limits and workspace, and that folder
//       is still the one that it has.
//   W3. Of each interpreter at most as many wait as the configuration says; the one that has waited longest makes room.
import { statSync } from "node:fs";
import type { Socket } from "node:net";
import type { SandboxSpec } from "../../ports/sandbox.ts";
import type { Running } from "../../linux/running.ts";
import { BOOTSTRAPS, type Interpreter } from "./bootstraps.ts";

export type WarmCounts = Readonly<Record<Interpreter, number>>;

/** A sandbox whose time has not begun, and the pipe that its interpreter reads its program from. */
export type Waiting = { readonly running: Running; readonly text: Socket };

type Slot = Waiting & {
  readonly key: string;
  readonly interpreter: Interpreter;
  readonly place: string;
  readonly expiry: NodeJS.Timeout;
};

/** A workspace that is gone must not be held for long by a sandbox that nobody will take. */
export const IDLE_MS_MAX = 60_000;

export class WarmPool {
  readonly #counts: WarmCounts;
  readonly #start: (spec: SandboxSpec) => Promise<Waiting>;
  readonly #slots = new Set<Slot>();
  readonly #starting = new Set<Promise<void>>();
  #closed = false;

  constructor(counts: WarmCounts, start: (spec: SandboxSpec) => Promise<Waiting>) {
    this.#counts = counts;
    this.#start = start;
  }

  /** Whether a sandbox that waits could serve it: nothing may be needed that differs from call to call. */
  serves(spec: SandboxSpec): spec is SandboxSpec & { readonly warm: Interpreter } {
    const { warm, command, mounts, door, channel, lastingUser } = spec;
    return (
      warm !== undefined &&
      this.#counts[warm] > 0 &&
      command.length === 3 &&
      mounts.length === 0 &&
      door === undefined &&
      lastingUser === undefined &&
      channel !== true
    );
  }

  /** One that waits for such a spec, its program handed over; its time has begun. */
  take(spec: SandboxSpec): Running | undefined {
    const key = keyOf(spec);
    const slot = [...this.#slots].find((candidate) => candidate.key === key);
    if (slot === undefined) return undefined;
    this.#drop(slot);
    if (slot.place !== placeOf(spec) || !slot.running.isAlive) {
      void slot.running.kill();
      return undefined;
    }
    slot.text.end((spec.command[2] ?? "") + BOOTSTRAPS[slot.interpreter].end);
    slot.running.begin();
    return slot.running;
  }

  /** Has one wait for the next job like this. Its failure is told to nobody: the next job then starts by itself, and tells. */
  refillAfter(running: Running, spec: SandboxSpec & { readonly warm: Interpreter }): void {
    running.whenOver(() => {
      if (this.#closed) return;
      const filling = this.#fill(spec).catch(() => {});
      this.#starting.add(filling);
      void filling.then(() => this.#starting.delete(filling));
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#starting);
    const slots = [...this.#slots];
    for (const slot of slots) this.#drop(slot);
    await Promise.all(slots.map(({ running }) => running.kill()));
  }

  async #fill(spec: SandboxSpec & { readonly warm: Interpreter }): Promise<void> {
    const interpreter = spec.warm;
    const place = placeOf(spec);
    const [program, flag] = spec.command;
    const command = [program, flag ?? "", BOOTSTRAPS[interpreter].program] as const;
    const waiting = await this.#start({ ...spec, command: [...command], channel: true });
    const expiry = setTimeout(() => {
      this.#drop(slot);
      void waiting.running.kill();
    }, IDLE_MS_MAX);
    expiry.unref();
    const slot = { ...waiting, key: keyOf(spec), interpreter, place, expiry };
    this.#slots.add(slot);
    waiting.running.whenOver(() => this.#drop(slot));
    const alike = [...this.#slots].filter((other) => other.interpreter === interpreter);
    const [oldest] = alike;
    if (alike.length <= this.#counts[interpreter] || oldest === undefined) return;
    this.#drop(oldest);
    await oldest.running.kill();
  }

  #drop(slot: Slot): void {
    clearTimeout(slot.expiry);
    this.#slots.delete(slot);
  }
}

const keyOf = ({ warm, command, cwd, env, workspace, limits }: SandboxSpec): string =>
  JSON.stringify([warm, command[0], command[1], cwd, env, workspace?.folder, limits]);

/** Another folder under the same name is another place. */
function placeOf({ workspace }: SandboxSpec): string {
  if (workspace === undefined) return "";
  const stats = statSync(workspace.folder, { throwIfNoEntry: false, bigint: true });
  return stats === undefined ? "gone" : `${stats.dev}:${stats.ino}`;
}
