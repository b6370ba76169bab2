// Why a call waits and how long it may take, as things stand: position, who is ahead, an estimate.
//
// Boundary: looks and changes nothing. The order is exact for the next few of each class, and computed from the shares beyond
// them. Ageing, calls in flight that take longer than others, and what comes later are not foreseen.
//
// Invariant:
//   1. The work is bounded, however many wait: beyond LOOKED_AT_MAX in one queue the rest is taken to be like the part that was seen.
import { rankOf } from "../abi/scheduling.ts";
import type { Standing, TurnWait } from "../ports/scheduler.ts";
import { COST_MS_MIN, Flow } from "./flow.ts";
import { AWAY, PRESENT } from "./heap.ts";
import type { ResourceQueue, Waiting } from "./resource.ts";

const AHEAD_MAX = 5;
/** So many of a class are put into their order, one by one. */
const FORESEEN = 8;
const LOOKED_AT_MAX = 10_000;

type Share = Flow<Waiting>;

/** What a waiting call waits for. */
export function turnWait(entry: Waiting): TurnWait {
  const { who, arrival, queue, call, tokens, sinceMs } = entry;
  const rank = rankOf(who.class);
  const next = nextOf(queue, rank);
  // Exact where nobody of its class is away: those keep their places, and will be called back for their turn.
  const away = (queue.order.lanes[rank]?.root.queues[AWAY].size ?? 0) > 0;
  const own = away ? -1 : (next.at(-1)?.indexOf(entry) ?? -1);
  const position = own === -1 ? positionOf(queue, who, arrival) : aboveOf(queue, rank) + own;
  return {
    call,
    resource: queue.name,
    position,
    ahead: next
      .flat()
      .slice(0, Math.min(position, AHEAD_MAX))
      .map((other) => ({ pid: other.who.pid, class: other.who.class })),
    inUse: queue.inUse,
    slots: queue.slots,
    held: queue.held(rank, tokens),
    estimateMs: untilTurnMs(queue, { who, tokens, position }),
    sinceMs,
  };
}

/** From now until a new call of this process would be done; null if nothing was served yet. */
export function untilDoneMs(queue: ResourceQueue, who: Standing): number | null {
  const position = positionOf(queue, who, Number.POSITIVE_INFINITY);
  const waitMs = untilTurnMs(queue, { who, tokens: 0, position });
  return waitMs === null || queue.meanMs === null ? null : waitMs + queue.meanMs;
}

type Place = { readonly who: Standing; readonly tokens: number; readonly position: number };

function untilTurnMs(queue: ResourceQueue, { who, tokens, position }: Place): number | null {
  const { meanMs } = queue;
  if (meanMs === null) return null;
  const rank = rankOf(who.class);
  const hold = queue.held(rank, tokens);
  const heldMs = hold?.untilMs === null || hold === null ? 0 : Math.max(0, hold.untilMs - queue.nowMs());
  const inWay = queue.fits(rank) ? position : position + 1;
  return Math.max((inWay * meanMs) / queue.openTo(rank), heldMs + position * queue.rates.msPerCall);
}

/** How many go before a call of that arrival, those included whose process is away. */
function positionOf(queue: ResourceQueue, who: Standing, arrival: number): number {
  const rank = rankOf(who.class);
  const costMs = Math.max(COST_MS_MIN, queue.meanMs ?? 0);
  const above = aboveOf(queue, rank);
  const lane = queue.order.lanes[rank]?.root;
  if (lane === undefined) return above;
  const tenant = lane.children.get(who.tenant);
  if (tenant === undefined) return above + rivalsBefore(lane, undefined, { count: 0, arrival, costMs });
  const tree = tenant.children.get(who.root);
  const own = tree === undefined ? 0 : callsBefore(tree, arrival);
  const inTenant = own + rivalsBefore(tenant, tree, { count: own, arrival, costMs });
  return above + inTenant + rivalsBefore(lane, tenant, { count: inTenant, arrival, costMs });
}

/** How many wait in the classes above. */
const aboveOf = (queue: ResourceQueue, rank: number): number =>
  queue.order.lanes.slice(0, rank).reduce((sum, { root }) => sum + root.waiting, 0);

/** Sums over so many of which these were looked at. */
function sumOver<T>(seen: readonly T[], size: number, count: (item: T) => number): number {
  let sum = 0;
  for (const item of seen) sum += count(item);
  return seen.length === 0 ? 0 : Math.round((sum * size) / seen.length);
}

const callsBefore = (tree: Share, arrival: number): number =>
  tree.queues.reduce(
    (sum, queue) =>
      sum +
      sumOver(queue.some(LOOKED_AT_MAX), queue.size, (call) =>
        !(call instanceof Flow) && call.arrival < arrival ? 1 : 0,
      ),
    0,
  );

/** The shares of a flow that have anybody waiting, present or away; each once. */
const sharesOf = (parent: Share): readonly (Share | Waiting)[] => [
  ...new Set(parent.queues.flatMap((queue) => queue.some(queue.size))),
];

/** When the first of a share that waits came. */
const firstArrival = (share: Share): number => Math.min(...share.queues.map(({ topArrival }) => topArrival));

type Mark = { readonly count: number; readonly arrival: number; readonly costMs: number };

/** How many calls of the siblings of `own` go before its call number `count`. */
function rivalsBefore(parent: Share, own: Share | undefined, { count, arrival, costMs }: Mark): number {
  const tag =
    own !== undefined && own.queues.some(({ size }) => size > 0) ? own.tag : Math.max(parent.virtual, own?.tag ?? 0);
  const start = tag + (count * costMs) / (own?.weight ?? 1);
  // Which of two shares goes first when they tie: as now, so in the rounds to come.
  const first = own === undefined ? arrival : Math.min(arrival, firstArrival(own));
  const shares = sharesOf(parent);
  return sumOver(shares.slice(0, LOOKED_AT_MAX), shares.length, (rival) => {
    if (rival === own || !(rival instanceof Flow)) return 0;
    const turns = ((start - rival.tag) * rival.weight) / costMs;
    if (turns < 0) return 0;
    const tied = Number.isInteger(turns) && firstArrival(rival) < first ? 1 : 0;
    return Math.min(rival.waiting, Math.ceil(turns) + tied);
  });
}

/** The next few of each class down to this one, in order. */
function nextOf(queue: ResourceQueue, rank: number): (readonly Waiting[])[] {
  const costMs = Math.max(COST_MS_MIN, queue.meanMs ?? 0);
  return queue.order.lanes.slice(0, rank + 1).map(({ root }) => foresee(root, costMs));
}

/** The next few of a flow, as its shares have it. */
function foresee(flow: Share, costMs: number): Waiting[] {
  const parts = flow.queues[PRESENT]
    .first(FORESEEN)
    .map((part) =>
      part instanceof Flow
        ? { tag: part.tag, step: costMs / part.weight, calls: foresee(part, costMs) }
        : { tag: 0, step: 0, calls: [part] },
    );
  const next: Waiting[] = [];
  while (next.length < FORESEEN) {
    let least: (typeof parts)[number] | undefined;
    for (const part of parts) if (least === undefined || precedes(part, least)) least = part;
    const call = least?.calls.shift();
    if (least === undefined || call === undefined) break;
    least.tag += least.step;
    next.push(call);
  }
  return next;
}

type Part = { readonly tag: number; readonly calls: readonly Waiting[] };

function precedes(one: Part, other: Part): boolean {
  const [call, rival] = [one.calls[0], other.calls[0]];
  if (call === undefined || rival === undefined) return rival === undefined;
  return one.tag < other.tag || (one.tag === other.tag && call.arrival < rival.arrival);
}
