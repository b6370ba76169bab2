// Goal: what could not be tried is told apart from what got out, and has a second try. Method: payloads in the test's hand, in no sandbox
// at all or in one that cuts them off.
import { expect, it } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import type { Sandbox, SandboxExit } from "../../ports/sandbox.ts";
import { contained, endedBy, escaped, silent, type Found, type Payload, type Run } from "./payload.ts";
import { createPlain } from "./plain.ts";
import { killed, probe, refused } from "./probe.ts";
import { call } from "./prober.ts";
import { PROGRAMS } from "./programs.ts";
import { tryPayloads } from "./run.ts";

const run = (exit: Partial<SandboxExit>, rest: Partial<Run> = {}): Run =>
  ({ stdout: "", left: [], tookMs: 1, exit: { cpuMs: 1, memoryPeakBytes: 1, ...exit }, ...rest }) as Run;
const wall = { kind: "limit", limit: "wall", max: 1 } as const;

it("a program whose time was over before another limit could end it has no verdict", () => {
  expect(endedBy("processes")(run(wall)).verdict).toBe("no_verdict");
  expect(endedBy("wall")(run(wall)).verdict).toBe("contained");
  expect(endedBy("processes")(run({ ...wall, limit: "memory" })).verdict).toBe("escaped");
  expect(endedBy("processes")(run({ kind: "exited", code: 0 })).verdict).toBe("escaped");
  expect(endedBy("processes")(run(wall, { left: [1] })).verdict).toBe("escaped");
});

it.each([
  ["was hardly given the processor", 100, "no_verdict"],
  ["computed far beyond its limit", 5_000, "escaped"],
  ["is not counted by anybody", null, "escaped"],
] as const)("computing that only time has ended: it %s", async (_, cpuMs, verdict) => {
  const payload = PROGRAMS.find(({ name }) => name === "cpu-time");
  expect((await payload?.judge(run({ ...wall, cpuMs })))?.verdict).toBe(verdict);
});

const isKnown = process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");
needs("Linux on x86-64 or arm64", isKnown)("payloads", () => {
  const means = { architecture: process.arch as Architecture };
  const plain = createPlain("process");

  /** A program whose judgement is `found`, one start after another. */
  function payloadOf(name: string, found: readonly Found[]): { readonly payload: Payload; readonly wallsMs: number[] } {
    const wallsMs: number[] = [];
    const judge = (): Found => found[wallsMs.length - 1] ?? silent("nothing more");
    return {
      payload: { kind: "program", name, tries: "…", set: "quick", program: ["/bin/true", name], judge },
      wallsMs,
    };
  }

  it("that came to no verdict are tried once more, with more time; what got out is not", async () => {
    const all = {
      late: payloadOf("late", [silent("late"), contained("held")]),
      never: payloadOf("never", [silent("late"), silent("late again"), contained("too late")]),
      out: payloadOf("out", [escaped("out"), contained("held")]),
      back: payloadOf("back", [silent("late"), escaped("out after all")]),
      held: payloadOf("held", [contained("held"), escaped("never asked")]),
    };
    const start: Sandbox["start"] = (spec, options) => {
      const [, name = ""] = spec.command;
      all[name as keyof typeof all].wallsMs.push(spec.limits.wallMs);
      return plain.start(spec, options);
    };
    const tried = await tryPayloads(
      { ...plain, start },
      Object.values(all).map(({ payload }) => payload),
      means,
    );
    expect(tried.map(({ payload, found }) => [payload.name, found.verdict])).toEqual([
      ["late", "contained"],
      ["never", "no_verdict"],
      ["out", "escaped"],
      ["back", "escaped"],
      ["held", "contained"],
    ]);
    const starts = Object.values(all).map(({ wallsMs }) => wallsMs.length);
    expect(starts).toEqual([2, 2, 1, 2, 1]);
    const [first = 0, second = 0] = all.late.wallsMs;
    expect(second).toBeGreaterThan(first);
  });

  it("of the prober that it did not come to are not taken for killed", async () => {
    const die = [call("getpid", 39, 172), call("kill", 62, 129, { result: 0 }, 9)];
    const payloads = [
      probe(["first", "…"], refused, [call("close", 3, 57, 99)]),
      probe(["dead", "…"], (results, calls) => killed(results.slice(1), calls), die),
    ];
    const whole = await tryPayloads(plain, payloads, means);
    expect(whole.map(({ found }) => found.verdict)).toEqual(["contained", "contained"]);
    // One record is written, and then the end comes from outside.
    const start: Sandbox["start"] = (spec) =>
      plain.start({ ...spec, command: ["/bin/sh", "-c", '"$0" | head -c 72; kill -9 $$', spec.command[0]] });
    const cut = await tryPayloads({ ...plain, start }, payloads, means);
    expect(cut.map(({ found }) => found.verdict)).toEqual(["contained", "no_verdict"]);
  });
});
