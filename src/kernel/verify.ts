// Verify: run a program again on its journal, and say whether it does the same (K4).
//
// No call goes down the path here: it is compared with what the journal holds and answered from there, or the
// comparison ends. So no model is asked, no effect performed and nothing written, by construction.
import { errorRecord } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { VerifyReport } from "../abi/reports.ts";
import { differenceOf, receive } from "./call.ts";
import type { Process } from "./process.ts";
import { Recall } from "./journal/recall.ts";
import { Run } from "./run.ts";
import type { Services } from "./services.ts";

/** A program that has outcomes to come and issues nothing for so long is stuck. */
const STUCK_AFTER_MS = 10_000;
const LOOK_EVERY_MS = 200;

type Difference = NonNullable<VerifyReport["difference"]>;
type End = { readonly result: Json } | { readonly error: unknown };

export function verify(services: Services, pid: ProcessId): Promise<VerifyReport> {
  return services.table.with(pid, async (process) => {
    const { clock } = services.ports;
    const startedMs = clock.nowMs();
    const { events: end } = process.record;
    await services.commits.settled(pid);
    const recall = new Recall(services.ports.store, pid, { end, checkedBy: process.key });
    const [row] = await Promise.all([services.ports.store.process(pid), recall.readOn()]);
    // The row of a process counts events no less than its journal does, unless some have gone from the journal's end.
    if (row !== undefined && row.events > end) recall.cutShort();
    const difference = await compare(services, process, recall);
    while (!recall.exhausted) await recall.readOn();
    const { events, calls } = recall.counts;
    const chain = { intact: recall.brokenAt === null, brokenAt: recall.brokenAt };
    return {
      pid,
      identical: difference === null && chain.intact,
      events,
      calls,
      difference,
      chain,
      elapsedMs: clock.nowMs() - startedMs,
    };
  });
}

/** The first difference, or null. Ends when the journal does, or the program. */
function compare(services: Services, process: Process, recall: Recall): Promise<Difference | null> {
  const { clock, programs } = services.ports;
  return new Promise((resolve, reject) => {
    let progress = 0;
    let cancelWatch = (): void => {};
    let open = 0;
    const done = (settle: () => void): void => {
      cancelWatch();
      run.dispose();
      settle();
    };
    const found = (difference: Difference | null): void => done(() => resolve(difference));
    const failed = (error: unknown): void => done(() => reject(error));
    const run: Run = new Run(process, {
      recall,
      clock,
      events: {
        idle: () => {},
        failed: (_run, error) => failed(error),
        finished: (_run, end) =>
          found(run.unissued === undefined ? exitDifference(process, end) : unissued(run.unissued)),
        issued: (_run, issued) => {
          progress += 1;
          open += 1;
          const call = receive(process, issued);
          Promise.resolve(recall.find(call.number))
            .then((recorded) => {
              open -= 1;
              const difference = recorded === undefined ? undefined : differenceOf(call, recorded);
              if (difference !== undefined) return found(difference.data as unknown as Difference);
              if (recorded?.outcome !== undefined) return run.reissued(recorded);
              return undefined;
            })
            .catch(failed);
        },
      },
    });
    let seen = -1;
    let stillMs = 0;
    const watch = (): void => {
      const left = run.unissued;
      const ended = recall.exhausted && recall.nextOutcome === undefined;
      stillMs = progress === seen ? stillMs + LOOK_EVERY_MS : 0;
      seen = progress;
      // An exited process's program still has to end by itself; one that goes on has reached its journal's end.
      const goesOn = process.record.exit?.how !== "completed" && left === undefined;
      if (ended && open === 0 && stillMs > 0 && goesOn) return found(null);
      // With a journal that does not hold, nothing more can come of waiting.
      if (recall.brokenAt !== null && open === 0 && stillMs > 0)
        return found(left === undefined ? null : unissued(left));
      if (stillMs >= STUCK_AFTER_MS)
        return found(left === undefined ? (ended ? exitDifference(process, undefined) : null) : unissued(left));
      cancelWatch = clock.after(LOOK_EVERY_MS, watch);
      return undefined;
    };
    run.start(programs);
    cancelWatch = clock.after(LOOK_EVERY_MS, watch);
  });
}

const unissued = (call: number): Difference => ({ call, field: "issued", recorded: call, issued: null });

/** How the program ended this time, beside how it ended then. A process that was killed says nothing about its program. */
function exitDifference(process: Process, end: End | undefined): Difference | null {
  const { exit } = process.record;
  if (exit === null || exit.how === "killed") return null;
  const recorded = exit.how === "completed" ? exit.result : exit.error.message;
  const again =
    end === undefined ? null : "result" in end ? end.result : errorRecord(end.error, "program_failed").message;
  const same =
    end !== undefined &&
    "result" in end === (exit.how === "completed") &&
    JSON.stringify(recorded) === JSON.stringify(again);
  return same ? null : { call: -1, field: "exit", recorded, issued: again };
}
