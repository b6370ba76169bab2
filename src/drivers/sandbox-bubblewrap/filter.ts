// The filter of system calls that every sandbox runs under: the table of src/lib/system-call-policy.ts, assembled for one architecture.
//
// Order: the architecture (another one kills, x32 too), then the number, by a tree of comparisons; for a few numbers also
// arguments.
//
// Invariants:
//   F1. What the table has no entry for is refused, whatever its number.
//   F2. A call that needs no look passes after the comparisons of its number alone.
import { ALLOW, and, answer, ARCHITECTURE_AT, argumentAt, assemble, failWith, goto, KILL_PROCESS } from "./bpf.ts";
import { label, load, NUMBER_AT, when, type Step } from "./bpf.ts";
import { policyFor, UNKNOWN, WHOLE, type Answer, type Entry, type Look } from "../../lib/system-call-policy.ts";
import type { Architecture } from "../../lib/system-calls.ts";

const AUDIT: Readonly<Record<Architecture, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };
const X32_BIT = 0x4000_0000;

const given = (to: Answer): number => (to === "allow" ? ALLOW : failWith(to));

/** Numbers from `from` up to the next segment's go the same way: to an answer, or to the look at a call of this name. */
type Segment = { readonly from: number; readonly to: Answer | { readonly look: string } };

function segmentsOf(policy: readonly Entry[]): readonly Segment[] {
  const ways = new Map(
    policy.map(({ name, number, decision }) => [number, typeof decision === "object" ? { look: name } : decision]),
  );
  const segments: Segment[] = [];
  const last = Math.max(...ways.keys());
  for (let number = 0; number <= last + 1; number += 1) {
    const to = ways.get(number) ?? UNKNOWN;
    if (segments.at(-1)?.to !== to) segments.push({ from: number, to });
  }
  return segments;
}

/** A tree of comparisons: the lower half at once, the upper half behind a label. */
function tree(segments: readonly Segment[], path = "tree"): readonly Step[] {
  const [only] = segments;
  if (only === undefined) return [];
  if (segments.length === 1) return [typeof only.to === "object" ? goto(only.to.look) : answer(given(only.to))];
  const half = Math.ceil(segments.length / 2);
  const upper = segments.slice(half);
  const name = `${path}.${upper[0]?.from ?? 0}`;
  return [
    when("ifAtLeast", upper[0]?.from ?? 0, name),
    ...tree(segments.slice(0, half), name),
    label(name),
    ...tree(upper, name),
  ];
}

/** A look under its label, with all that it leads to right behind it, within reach of a jump. */
function lookSteps(name: string, look: Look): readonly Step[] {
  const answers = new Map<string, Answer>();
  const visit = (at: string, { argument, mask, cases, otherwise }: Look): readonly Step[] => {
    const below: (readonly Step[])[] = [];
    const wayOf = (then: Look["otherwise"], number: number): string => {
      const to = typeof then === "object" ? `${at}.${number}` : `${name}:${then}`;
      if (typeof then === "object") below.push(visit(to, then));
      else answers.set(to, then);
      return to;
    };
    const compared = cases.flatMap(([values, then], number) => {
      const to = wayOf(then, number);
      return values.map((value) => [value, to] as const);
    });
    const no = wayOf(otherwise, cases.length);
    const [first] = compared;
    const tests =
      compared.length === 1 && first?.[0] === 0 && mask !== WHOLE
        ? [when("ifAnyBit", mask, no, first[1])]
        : [
            ...(mask === WHOLE ? [] : [and(mask)]),
            ...compared.slice(0, -1).map(([value, to]) => when("ifEqual", value, to)),
            ...compared.slice(-1).map(([value, to]) => when("ifEqual", value, to, no)),
          ];
    return [label(at), load(argumentAt(argument)), ...tests, ...below.flat()];
  };
  const steps = visit(name, look);
  return [...steps, ...[...answers].flatMap(([to, told]) => [label(to), answer(given(told))])];
}

/** The program for an architecture, as `bwrap --seccomp` reads it. */
export function filterFor(architecture: Architecture): Uint8Array {
  const policy = policyFor(architecture);
  return assemble([
    load(ARCHITECTURE_AT),
    when("ifEqual", AUDIT[architecture], "native"),
    label("foreign"),
    answer(KILL_PROCESS),
    label("native"),
    load(NUMBER_AT),
    // The same numbers with this bit are the calls of x32, where pointers are shorter: a second way in.
    ...(architecture === "x64"
      ? [when("ifAtLeast", X32_BIT, "x32", "number"), label("x32"), answer(KILL_PROCESS)]
      : []),
    label("number"),
    ...tree(segmentsOf(policy)),
    ...policy.flatMap(({ name, decision }) => (typeof decision === "object" ? lookSteps(name, decision) : [])),
  ]);
}
