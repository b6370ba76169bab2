// Goal: a driver is believed only for what it held. Method: drivers that lie in one way each are given to the self-test; verdicts that are
// kept are damaged, moved to another fingerprint, and found again.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { Sandbox, SelfTestReport } from "../../ports/sandbox.ts";
import { HAS_BUBBLEWRAP, openScene } from "../sandbox-bubblewrap/sandbox.fake.ts";
import { createPlain } from "./plain.ts";
import { INSIDE } from "./programs.ts";
import { createSelfTest, PAYLOADS } from "./selftest.ts";
import { Verdicts } from "./verdicts.ts";

const folder = mkdtempSync(join(tmpdir(), "reeve-verdicts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

const withState = (fingerprint: string): Sandbox => ({
  ...createPlain("process"),
  state: async () => ({ posture: "strong", layers: [], reason: "", fingerprint }),
});
const report = (passed: boolean): SelfTestReport => ({
  ...{ driver: "plain", level: "process", passed, set: "full", tookMs: 1, atMs: 5 },
  state: { posture: "strong", layers: [], reason: "", fingerprint: "" },
  verdicts: [{ payload: "a", tries: "b", verdict: "contained", expected: true, detail: "c" }],
});

it("has payloads with names of their own", () => {
  expect(new Set(PAYLOADS.map(({ name }) => name)).size).toBe(PAYLOADS.length);
});

it("keeps verdicts under what they depend on, and only those of a test that passed", async () => {
  const verdicts = new Verdicts(folder, "1");
  await verdicts.write(withState("one"), report(true));
  expect(await verdicts.read(withState("one"))).toMatchObject({ atMs: 5, verdicts: [{ payload: "a" }] });
  expect(await verdicts.read(withState("two"))).toBeUndefined();
  expect(await new Verdicts(folder, "2").read(withState("one"))).toBeUndefined();
  await verdicts.write(withState("one"), report(false));
  expect(await verdicts.read(withState("one"))).toBeUndefined();
  expect(readdirSync(folder)).toEqual([]);
});

it.each([
  ["is cut off", (text: string) => text.slice(0, -20)],
  ["is empty", () => ""],
  ["is of another edition", (text: string) => text.replace('"edition": 3', '"edition": 2')],
  ["is of another driver", (text: string) => text.replace('"plain"', '"other"')],
  ["holds what was not expected", (text: string) => text.replace('"expected": true', '"expected": false')],
])("does not believe a file that %s", async (_, damage) => {
  const verdicts = new Verdicts(folder, "1");
  await verdicts.write(withState("one"), report(true));
  const [name = ""] = readdirSync(folder);
  const text = readFileSync(join(folder, name), "utf8");
  expect(damage(text)).not.toBe(text);
  writeFileSync(join(folder, name), damage(text));
  expect(await verdicts.read(withState("one"))).toBeUndefined();
});

const isKnown = process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");
needs("Linux on x86-64 or arm64", isKnown)("a driver that is none", () => {
  const test = createSelfTest({ folder, version: "test", nowMs: () => 7 });

  it("is found out by payloads that do no harm, and is given no others", async () => {
    const { passed, verdicts } = await test.run(createPlain("process", { STRANGE: "1" }), "full");
    expect(passed).toBe(false);
    const of = (name: string) => verdicts.find(({ payload }) => payload === name);
    expect(of("control")).toMatchObject({ expected: true });
    for (const name of ["read-host", "writeout", "kill", "loopback", "abstract", "hostsock", "envsecret", "procenv"])
      expect(of(name)).toMatchObject({ verdict: "escaped", expected: false });
    for (const name of ["membomb", "mount", "forkbomb", "setuid"])
      expect(of(name)).toMatchObject({ verdict: "no_verdict" });
    expect(of("membomb")?.detail).toContain("not tried, since it did not hold");
    expect(readdirSync(folder)).toEqual([]);
  });

  it("fails if it starts nothing, or says nothing", async () => {
    const start: Sandbox["start"] = async () => {
      throw new Error("no start");
    };
    const never = await test.run({ ...createPlain("process"), start }, "full");
    expect(never).toMatchObject({ passed: false, atMs: 7 });
    expect(never.verdicts.filter(({ payload }) => payload === "read-host")).toMatchObject([
      { verdict: "no_verdict", expected: false, detail: "no start" },
    ]);
    const plain = createPlain("process");
    const mute = { ...plain, start: ((spec) => plain.start({ ...spec, command: ["/bin/true"] })) as Sandbox["start"] };
    const { passed, verdicts } = await test.run(mute, "full");
    expect(passed).toBe(false);
    expect(verdicts.slice(1).every(({ verdict }) => verdict === "no_verdict")).toBe(true);
  });
});

needs("bubblewrap on a known machine", HAS_BUBBLEWRAP && isKnown)("a driver that says what it lacks", () => {
  it(
    "is not given what nothing would hold, and is tried once if it has one way only",
    { timeout: 120_000 },
    async () => {
      const scene = openScene();
      const { sandbox: bubblewrap } = scene;
      const lacking = ["memory limit", "process limit", "processor share", "computing time limit"];
      const commands: string[] = [];
      const shown: string[] = [];
      const driver: Sandbox = {
        name: bubblewrap.name,
        level: bubblewrap.level,
        state: async () => {
          const state = await bubblewrap.state();
          const layers = state.layers.map((layer) =>
            lacking.includes(layer.name) ? { ...layer, inForce: false } : layer,
          );
          return { ...state, posture: "reduced", layers, oneWay: true };
        },
        start: (spec, options) => {
          commands.push(spec.command.join(" "));
          shown.push(...spec.mounts.map(({ from }) => from));
          return bubblewrap.start(spec, options);
        },
        close: () => bubblewrap.close(),
      };
      try {
        const tested = await createSelfTest({ folder, version: "lacking", nowMs: () => 7 }).run(driver, "full");
        expect(tested.verdicts.filter(({ expected }) => !expected)).toEqual([]);
        expect(tested.passed).toBe(true);
        const unheld = tested.verdicts.filter(({ detail }) => detail.startsWith("not tried"));
        expect(unheld.map(({ payload }) => payload)).toEqual(
          PAYLOADS.filter((payload) => payload.kind === "program" && lacking.includes(payload.layer ?? "")).map(
            ({ name }) => name,
          ),
        );
        for (const { verdict } of unheld) expect(verdict).toBe("escaped");
        expect(commands.filter((text) => text.includes(INSIDE.bomb) || text.includes(INSIDE.storm))).toEqual([]);
        expect(commands.filter((text) => text.includes("300000"))).toEqual([]);
        expect(shown.filter((path) => path.includes("/found/")).length).toBeGreaterThan(0);
        expect(shown.filter((path) => path.includes("/hidden/"))).toEqual([]);
      } finally {
        await scene.end();
      }
    },
  );
});
