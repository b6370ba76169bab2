// What a process has used up, where its row may be behind its journal.
//
// Counters alone are not worth a row on every step, so after a crash a row may say too little until the process has run
// through its journal again. Whoever needs the truth before that counts here.
import type { Store } from "../ports/store.ts";
import { NOTHING_SPENT, spendFor } from "./amounts.ts";
import { openEvent } from "./journal/events.ts";
import type { Process } from "./process.ts";

const PAGE = 1000;

/** Corrects what the process has used up by its journal. Nothing is read where its row is known to be right. */
export async function recount(store: Store, process: Process): Promise<void> {
  if (!process.uncounted) return;
  let spent = NOTHING_SPENT;
  for (let from = 0; ; from += PAGE) {
    const page = await store.events(process.pid, from, PAGE);
    for (const event of page) {
      const { header } = openEvent(event);
      if (header.kind === "call.completed") spent = spendFor(spent, header);
    }
    if (page.length < PAGE) break;
  }
  process.recount(spent);
}
