// The world outside the simulated system: tools that remember what was really done, a model, a human who answers the inbox.
//
// It outlives the system's crashes. A crash may hit while a call is out: then the world has done it, or not, as chance will.
import type { Json } from "../../src/abi/json.ts";
import { type ToolManifest, toolManifestSchema } from "../../src/abi/tools.ts";
import type { Decision, InboxItem } from "../../src/abi/requests.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Invocation, ToolOutcome, Tools } from "../../src/ports/tools.ts";
import { fakeTools } from "../system.ts";
import { Chance } from "./chance.ts";

const MANIFESTS: { readonly [name: string]: Partial<ToolManifest> } = {
  "w.read": { effect: "read" },
  "w.once": { effect: "write" },
  "w.keyed": { effect: "write", idempotency: "key" },
  "w.traced": { effect: "write", reconcile: "find" },
  "w.destroy": { effect: "destroy" },
  "w.alone": { effect: "write", idempotency: "key", exclusive: "thing" },
};

export class World {
  /** How often each effect was really performed, by idempotency key. */
  readonly performed: Map<string, number> = new Map<string, number>();
  /** How often a process really called a tool, whatever became of it. */
  readonly calls: Map<string, number> = new Map<string, number>();
  /** The most calls of a tool with a lock of its own that were under way at once. */
  mostAlone = 0;
  #alone = 0;
  readonly #results = new Map<string, string>();
  readonly #decided = new Map<string, Json>();
  readonly #chance: Chance;
  readonly #clock: Clock;
  readonly #unplugIntent: boolean;

  constructor(seed: number, { clock, unplugIntent }: { clock: Clock; unplugIntent: boolean }) {
    this.#chance = new Chance(seed ^ 0x5eed);
    this.#clock = clock;
    this.#unplugIntent = unplugIntent;
  }

  get tools(): Tools {
    const entries = Object.keys(MANIFESTS).map((name) => [
      name,
      {
        manifest: toolManifestSchema.parse({ ...MANIFESTS[name], ...(this.#unplugIntent ? { effect: "read" } : {}) }),
        run: (_args: unknown, key: string) => this.#act(name, key),
        reconcile: async ({ key }: Invocation) => this.#find(key),
      },
    ]);
    return fakeTools(Object.fromEntries(entries) as Parameters<typeof fakeTools>[0]);
  }

  /** What the human says: the truth about what was done, and yes or no as chance will, always the same to the same question. */
  decide(item: InboxItem): Decision {
    const { kind, request, pid, call } = item;
    if (kind === "settlement") {
      const result = this.#results.get(`${pid}.${call}`);
      return result === undefined
        ? { verdict: "settled", outcome: "not_done" }
        : { verdict: "settled", outcome: "done", result: { text: result } };
    }
    const yes = this.#decided.get(request) ?? this.#chance.below(4) > 0;
    this.#decided.set(request, yes);
    if (kind === "question") return { verdict: "answered", answer: "yes" };
    return yes === true ? { verdict: "approved" } : { verdict: "rejected", note: "no" };
  }

  /** The system has crashed: what was under way in it is over. */
  crashed(): void {
    this.#alone = 0;
  }

  async #act(name: string, key: string): Promise<ToolOutcome> {
    const pid = key.slice(0, key.lastIndexOf("."));
    this.calls.set(pid, (this.calls.get(pid) ?? 0) + 1);
    if (name !== "w.alone") return this.#do(name, key);
    this.#alone += 1;
    this.mostAlone = Math.max(this.mostAlone, this.#alone);
    try {
      return await this.#do(name, key);
    } finally {
      this.#alone -= 1;
    }
  }

  async #do(name: string, key: string): Promise<ToolOutcome> {
    await this.#travel();
    const known = this.#results.get(key);
    if (name === "w.read") return { kind: "done", content: { text: `read ${key}` } };
    // A tool that recognises its key does nothing the second time.
    if ((name === "w.keyed" || name === "w.alone") && known !== undefined)
      return { kind: "done", content: { text: known } };
    this.performed.set(key, (this.performed.get(key) ?? 0) + 1);
    const text = `${name} ${key} time ${this.performed.get(key)}`;
    this.#results.set(key, text);
    await this.#travel();
    return this.#chance.below(12) === 0
      ? { kind: "unknown", reason: "the answer was lost" }
      : { kind: "done", content: { text } };
  }

  #find(key: string): Awaited<ReturnType<Tools["reconcile"]>> {
    const text = this.#results.get(key);
    return text === undefined ? { status: "not_done" } : { status: "done", content: { text } };
  }

  #travel(): Promise<void> {
    return new Promise((resolve) => this.#clock.after(this.#chance.below(20), resolve));
  }
}
