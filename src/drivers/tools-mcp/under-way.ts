// The calls under way at one server, and what its door writes: into the journal of each process that has one.
//
// A server speaks over one pipe and goes out by one door, so nobody can tell for which of its calls it asks for something. All of
// them are told; where there is none, the operator is.
//
// Invariants:
//   U1. A request goes out only after it stands in the journal of each process with a call under way that is not over. Where no such
//       process is left, the operator is told in its place; where a journal cannot be written, the request does not go out.
//   U2. Nothing is written for a call that is over, and a process that ends takes nothing from the others: a door that was
//       once refused its record stays shut for the life of the server.
import { OsError } from "../../abi/errors.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { CallOptions, EgressNotes } from "../../ports/tools.ts";

type Call = Pick<CallOptions, "call" | "notes">;

export class CallsUnderWay {
  readonly #calls = new Set<Call>();

  get size(): number {
    return this.#calls.size;
  }

  async during<T>(call: Call, run: () => Promise<T>): Promise<T> {
    this.#calls.add(call);
    try {
      return await run();
    } finally {
      this.#calls.delete(call);
    }
  }

  /** What the door of `owner` writes. `onNotice` hears what belongs to no call. */
  notesOf(owner: string, onNotice: (message: string) => void): EgressNotes {
    const told = new Map<string, readonly Call[]>();
    return {
      requested: async ({ request, ...header }) => {
        const calls = [...this.#calls];
        // Of what is refused no end is told.
        if (header.decision === "allow") told.set(header.n, calls);
        const recorded = await written(
          calls.map(({ call, notes }) => notes({ kind: "egress.requested", call, ...header }, { request })),
        );
        if (!recorded) onNotice(noticeOf(owner, header, request));
      },
      ended: async (header) => {
        const calls = told.get(header.n)?.filter((call) => this.#calls.has(call)) ?? [];
        told.delete(header.n);
        await written(calls.map(({ call, notes }) => notes({ kind: "egress.ended", call, ...header })));
      },
    };
  }
}

/** Whether any was written, when all are settled. Rejects for a failure that is not the end of a process. */
async function written(writes: readonly Promise<void>[]): Promise<boolean> {
  const ends = await Promise.allSettled(writes);
  const failed = ends.find((end) => end.status === "rejected" && !OsError.is(end.reason, "cancelled"));
  if (failed?.status === "rejected") throw failed.reason;
  return ends.some(({ status }) => status === "fulfilled");
}

type Told = Pick<Parameters<EgressNotes["requested"]>[0], "decision" | "times">;

function noticeOf(owner: string, { decision, times }: Told, request: JsonObject): string {
  const part = (name: string): string => {
    const value = request[name];
    return typeof value === "string" || typeof value === "number" ? String(value) : "";
  };
  const what = `${part("method")} ${part("scheme")}://${part("host")}:${part("port")}${part("path")}`.trim();
  return `${owner}, with no call under way: ${what.slice(0, 300)}: ${decision === "allow" ? "let out" : "refused"}${times === undefined ? "" : ` ${times} times`}`;
}
