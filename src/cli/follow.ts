// What `run`, `wait` and `approve` share: following a process in the view and ending with its summary.
import type { Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Followed } from "../sdk/client.ts";
import type { Context } from "./context.ts";
import { exitStatus, STATUS } from "./exit-status.ts";
import { attend } from "./process/attend.ts";
import { summaryDocument, summaryLines, type Summary } from "./process/summary.ts";
import { View } from "./process/view.ts";
import type { Session } from "./session.ts";
import { plain } from "./terminal/text.ts";

export type FollowingOptions = {
  readonly pid: ProcessId;
  readonly from: number;
  readonly patient: boolean;
  readonly timeoutMs?: number;
  /** What `--json` prints: each event on a line and the summary last, or the summary alone. */
  readonly json: "events" | "summary";
};

/** Follows until the end and prints the summary. */
export async function follow(context: Context, session: Session, options: FollowingOptions): Promise<Summary> {
  const { screen } = context;
  const view = new View(screen, { streams: context.host.stdout.isTTY === true, asks: context.interactive });
  if (!context.json) await learn(session, view, options);
  const show = context.json ? jsonShow(context, options.json) : (item: Followed) => view.show(item);
  let worked = false;
  const summary = await attend(context, session, {
    ...options,
    show: (item) => {
      worked ||= item.kind === "event" && item.event.header.kind === "workspace.changed";
      show(item);
    },
  });
  if (context.json) context.document(summaryDocument(summary));
  else screen.lines(summaryLines(context, summary, { lastSaid: view.lastSaid, server: session.server, worked }));
  return summary;
}

/** Events before the first shown one that may tell what its calls are about. */
const LEARNT_EVENTS = 200;

async function learn({ client }: Session, view: View, { pid, from }: FollowingOptions): Promise<void> {
  if (from === 0) return;
  const first = Math.max(0, from - LEARNT_EVENTS);
  const { events } = await client.journal.read({ pid, from: first, limit: from - first });
  for (const event of events as unknown as readonly Event[]) view.learn(event);
}

const jsonShow =
  (context: Context, json: FollowingOptions["json"]): ((item: Followed) => void) =>
  (item) => {
    if (json === "events" && item.kind === "event") context.document({ kind: "event", event: item.event });
  };

/** The exit status that tells how it ended. */
export function statusOf({ row, why }: Summary): number {
  if (row.exit !== null) return exitStatus(row.exit);
  return why === "waiting" ? STATUS.waiting : STATUS.interrupted;
}

/** Tells the notices of a system that was booted for this command. */
export function tellNotices(context: Context, session: Session): void {
  for (const notice of session.notices) {
    if (context.json) context.notice(notice);
    else context.screen.line(context.screen.paint.dim(plain(context.said(notice))));
  }
}
