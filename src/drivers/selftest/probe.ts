// What payloads of system calls are made of: calls by their numbers on both architectures, and how answers are judged.
//
// `filtered`: the filter itself must answer; an error by which the kernel complains about the arguments tells that the call went through.
// `refused`: whoever refuses it, it must fail.
import { constants as os } from "node:os";
import type { Bait } from "./bait.ts";
import { contained, escaped, silent, surface, type Found, type ProbePayload } from "./payload.ts";
import { call, type Argument, type Call } from "./prober.ts";

export const ERRNO = os.errno;
const { EPERM, ENOSYS, EACCES, EAFNOSUPPORT, EPROTONOSUPPORT } = ERRNO;
const ESOCKTNOSUPPORT = 94;
/** As filters answer. EACCES is how a security module does. */
const FILTER_ANSWERS = new Set([EPERM, ENOSYS, EACCES, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT]);

const NAMES = new Map(Object.entries(ERRNO).map(([name, number]) => [number, name]));
export const nameOf = (result: number): string => NAMES.get(-result) ?? `error ${-result}`;

/** On both architectures the same, as all calls are from 424 on. */
export const late = (name: string, number: number, ...args: Argument[]): Call => call(name, number, number, ...args);

export type Judge = ProbePayload["judge"];

export const each =
  (worst: (result: number, call: Call) => Found): Judge =>
  (results, calls) => {
    const found = results.map((result, at): Found => {
      const made = calls[at];
      if (result === undefined || made === undefined)
        return silent(`${made?.name ?? "a call"} was not made to its end`);
      return worst(result, made);
    });
    const by = (verdict: Found["verdict"]): readonly Found[] => found.filter((one) => one.verdict === verdict);
    const bad = [...by("escaped"), ...by("surface"), ...by("no_verdict")];
    return bad[0] ?? contained([...new Set(found.map(({ detail }) => detail))].join(", "));
  };

export const filtered = each((result, { name }) => {
  if (FILTER_ANSWERS.has(-result)) return contained(nameOf(result));
  if (result < 0) return surface(`${name} reached the kernel: ${nameOf(result)}`);
  return escaped(`${name} succeeded`);
});
export const refused = each((result, { name }) =>
  result < 0 ? contained(nameOf(result)) : escaped(`${name} succeeded`),
);
/** The first calls prepare; the last one counts. */
export const last =
  (judge: Judge): Judge =>
  (results, calls) =>
    judge(results.slice(-1), calls.slice(-1));
/** The process is killed, or the call is refused. */
export const killed: Judge = (results) => {
  const [result] = results;
  if (result === undefined) return contained("killed");
  return result < 0 ? contained(nameOf(result)) : escaped("the other gate is open");
};

/** Where a call that should be refused leads, so that one that is not does no harm. */
export const NOWHERE = 0;
export const NO_FILE = "/reeve-no-such";

/** Room for the kernel to write into, and zeroes to read. */
export const room = (bytes: number): Uint8Array => new Uint8Array(bytes);
export const words = (...values: readonly (number | bigint)[]): Uint8Array =>
  new Uint8Array(BigUint64Array.from(values.map((value) => BigInt.asUintN(64, BigInt(value)))).buffer);

type Tried = readonly [name: string, tries: string];
type Calls = readonly Call[] | ((bait: Bait) => readonly Call[]);

export const probe = (
  [name, tries]: Tried,
  judge: Judge,
  calls: Calls,
  more: Pick<ProbePayload, "control" | "outside"> = {},
): ProbePayload => ({
  ...{ kind: "probe", name, tries, judge },
  calls: typeof calls === "function" ? calls : () => calls,
  ...more,
});
