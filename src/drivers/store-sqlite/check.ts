// Reads everything back and says what is damaged, in words for people.
import type { DatabaseSync } from "node:sqlite";

/** Findings of one kind that are listed before the rest is left out. */
const FINDINGS_MAX = 20;

/** Each finds rows of one text. Together the first five prove every journal whole: heads, links, and no event besides. */
const PROBES: readonly string[] = [
  `SELECT printf('The journal of %s should end with event %d in row %d, and does not.', pid, events - 1, last)
     FROM journals LEFT JOIN events AS newest ON n = last
    WHERE events > 0 AND (newest.n IS NULL OR newest.journal <> journals.journal OR newest.seq <> events - 1)`,
  `SELECT printf('Event %d of %s (row %d) does not follow event %d: the journal has a gap.', later.seq, pid, later.n, later.seq - 1)
     FROM events AS later LEFT JOIN events AS earlier ON earlier.n = later.prev LEFT JOIN journals ON journals.journal = later.journal
    WHERE later.seq > 0 AND (earlier.n IS NULL OR earlier.journal <> later.journal OR earlier.seq <> later.seq - 1)`,
  `SELECT printf('The journals should hold %d events, and there are %d.', wanted, found)
     FROM (SELECT coalesce(sum(events), 0) AS wanted FROM journals), (SELECT count(*) AS found FROM events) WHERE wanted <> found`,
  `SELECT printf('The events are numbered up to %d, and there are %d.', newest, found)
     FROM (SELECT coalesce(max(n), 0) AS newest, count(*) AS found FROM events) WHERE newest <> found`,
  `SELECT printf('The mark for event %d of %s points to row %d, which is another event.', marks.seq, pid, marks.n)
     FROM marks LEFT JOIN events ON events.n = marks.n LEFT JOIN journals ON journals.journal = marks.journal
    WHERE events.n IS NULL OR events.journal <> marks.journal OR events.seq <> marks.seq`,
  `SELECT printf('The process %s has no journal.', coalesce(pid, 'in row ' || processes.journal))
     FROM processes LEFT JOIN journals ON journals.journal = processes.journal WHERE coalesce(events, 0) = 0`,
];

/** Works on one state of the database, whatever is written meanwhile. */
export function checkDatabase(db: DatabaseSync): readonly string[] {
  db.exec("BEGIN");
  const structure = findings(db, `PRAGMA integrity_check(${FINDINGS_MAX})`).filter((line) => line !== "ok");
  return [
    ...structure.map((line) => `The database's structure: ${line}`),
    ...PROBES.flatMap((sql) => findings(db, sql)),
  ];
}

function findings(db: DatabaseSync, sql: string): readonly string[] {
  const found: string[] = [];
  try {
    for (const row of db.prepare(sql).iterate()) {
      if (found.length === FINDINGS_MAX) return [...found, "… and more of the same kind."];
      found.push(String(Object.values(row)[0]));
    }
  } catch (error) {
    // That a part cannot be read is itself a finding, and the other probes may still tell more.
    found.push(`A part of the database cannot be read: ${error instanceof Error ? error.message : String(error)}.`);
  }
  return found;
}
