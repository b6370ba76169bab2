// What the verdicts of a self-test say together.
type Verdicts = readonly { readonly verdict: string; readonly expected: boolean }[];

/** Until what was left undecided is tested, and what was absent is looked for, anew: that takes seconds, which every call would have to wait for. */
export const RETEST_MS = 30_000;

/** Nothing got out, but not everything was seen to be held, as on a machine that is too busy. */
export function isUndecided(verdicts: Verdicts): boolean {
  const failed = verdicts.filter(({ expected }) => !expected);
  return failed.length > 0 && failed.every(({ verdict }) => verdict === "no_verdict");
}
