// The control: harmless payloads without a sandbox, where each must be seen to get out. If one is not, the payloads are broken, and
// whatever they say of a sandbox is worth nothing.
import type { Verdict } from "../../ports/sandbox.ts";
import type { Payload } from "./payload.ts";
import { createPlain } from "./plain.ts";
import { tryPayloads, type Means } from "./run.ts";

const CONTROL = "control";

/** `payloads`: those that do no harm. */
export async function controlEscapes(payloads: readonly Payload[], means: Means): Promise<Verdict> {
  const plain = createPlain("process", { PATH: "/usr/bin:/bin", REEVE_SELFTEST_SECRET: "planted" });
  const tried = await tryPayloads(plain, payloads, means);
  const held = tried.filter(({ payload, found }) => found.verdict !== (payload.expected ?? "escaped"));
  const told = held.map(({ payload, found }) => `${payload.name} ${found.verdict} (${found.detail})`).join(", ");
  return {
    payload: CONTROL,
    tries: "get out where there is no sandbox, to show that the payloads work",
    verdict: held.length === 0 ? "escaped" : "no_verdict",
    expected: held.length === 0,
    detail: held.length === 0 ? `${tried.length} of ${tried.length} got out` : `the payloads are broken: ${told}`,
  };
}
