// The resources of the system as a table: what is in use, and who waits for it.
import { CLASSES, PACE_PREFIX } from "../../abi/scheduling.ts";
import type { Output } from "../../abi/syscalls.ts";
import { count, duration } from "../terminal/figures.ts";
import type { Screen } from "../terminal/screen.ts";
import { table, type Cell, type Column } from "../terminal/table.ts";
import { oneLine } from "../terminal/text.ts";

type Inspected = Output<"system.inspect">;
type Resource = Inspected["resources"][number];

const COLUMNS: readonly Column[] = [
  { title: "RESOURCE", widthMin: 20 },
  { title: "SLOTS", align: "right" },
  { title: "IN USE", align: "right" },
  { title: "MEAN TIME", align: "right", leftOut: 1 },
  { title: "WAITING" },
];

/** `2 interactive, 40 batch`, the most urgent first; empty if nothing waits. */
const waitingText = (waiting: Resource["waiting"]): string =>
  CLASSES.filter((name) => waiting[name] > 0)
    .map((name) => `${count(waiting[name])} ${name}`)
    .join(", ");

/** The lines of the table, and one for each tree that waits to grow; none where there is neither. */
export function resourceLines({ paint, columns }: Screen, all: readonly Resource[]): string[] {
  const resources = all.filter(({ name }) => !name.startsWith(PACE_PREFIX));
  const paces = all.filter(({ name }) => name.startsWith(PACE_PREFIX)).flatMap(paceText);
  if (resources.length === 0) return paces;
  const rows = resources.map(({ name, slots, inUse, waiting, meanServiceMs }): Cell[] => [
    oneLine(name),
    count(slots),
    { text: count(inUse), paint: inUse >= slots ? paint.yellow : String },
    meanServiceMs === null ? "-" : duration(meanServiceMs),
    waitingText(waiting),
  ]);
  return [...table(COLUMNS, rows, { columns, paintTitle: paint.dim }), ...(paces.length === 0 ? [] : ["", ...paces])];
}

/** What a tree that grows faster than it may waits for; nothing of one that does not. */
function paceText({ name, waiting }: Resource): string[] {
  const text = waitingText(waiting);
  return text === "" ? [] : [`The tree of ${oneLine(name.slice(PACE_PREFIX.length))} waits to grow: ${text}`];
}

/** `3 of at most 1,000 processes in memory, 12 wait for room in it` */
export function memoryText({ processes, max, queued }: Inspected["memory"]): string {
  const queue = queued === 0 ? "" : `, ${count(queued)} more ${queued === 1 ? "waits" : "wait"} for room`;
  return `${count(processes)} of at most ${count(max)} process${max === 1 ? "" : "es"}${queue}`;
}
