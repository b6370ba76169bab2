// Goal: `schedule` lists what there is so that one sees what comes and what went wrong, and says what was typed to the system.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON. The fake system knows no
// calendar: the next time of what it makes is an hour ahead.
import { describe, expect, test } from "vitest";
import { scheduleRecord } from "../../test/conformance/store-samples.ts";
import { OsError } from "../abi/errors.ts";
import type { Schedule } from "../abi/schedules.ts";
import { processIdOf } from "../abi/ids.ts";
import { FAKE_NOW_MS } from "../gateway/system.fake.ts";
import { eachTestOn, FakeHost, json, lines } from "./host.fake.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh));

/** What the terminal takes for now. */
const NOW_MS = FAKE_NOW_MS + 90_000;
const MINUTE_MS = 60_000;
const put = (name: string, fields: Partial<Schedule>): void => {
  host.system.schedules.set(name, scheduleRecord(name, fields));
};
const asked = (): unknown => host.system.operated.at(-1)?.args;

describe("schedule", () => {
  test("lists them with what comes next and what went otherwise", async () => {
    const pid = processIdOf(new Uint8Array(8).fill(1));
    put("nightly", {
      cron: "30 2 * * *",
      nextMs: NOW_MS + 800 * MINUTE_MS,
      runs: 1_234,
      lastPid: pid,
      lastMs: NOW_MS - 6e7,
    });
    put("held", { cron: "@daily", zone: "UTC", paused: true });
    put("late", { nextMs: NOW_MS - 1, lastSkippedMs: NOW_MS, lastSkippedWhy: "overlap" });
    put("done", { cron: null, atMs: NOW_MS, nextMs: null, runs: 1, lastPid: pid, lastMs: NOW_MS });
    put("sick", {
      nextMs: NOW_MS + MINUTE_MS,
      lastError: new OsError("not_found", "There is no agent refunds.").toJSON(),
      lastSkippedMs: 1,
      lastSkippedWhy: "failed",
    });
    const { out, err, status } = await host.reeve("schedule");
    const clock = (ms: number): string => new Date(ms).toTimeString().slice(0, 5);
    expect(out).toBe(
      lines(
        "NAME     WHEN        ZONE           AGENT    NEXT         RUNS  LAST                    NOTE",
        `nightly  30 2 * * *  Europe/Berlin  refunds  in 13h 20m  1,234  ${pid} 16h ago`,
        "held     @daily      UTC            refunds  paused          0  -",
        `late     0 * * * *   Europe/Berlin  refunds  now             0  -                       none at ${clock(NOW_MS)}: its last process was alive`,
        `done     ${clock(NOW_MS)}                      refunds  over            1  ${pid} 0s ago`,
        "sick     0 * * * *   Europe/Berlin  refunds  in 1m           0  -                       not_found: There is no agent refunds.",
      ),
    );
    expect({ err, status }).toEqual({
      err: "No server is running: nothing is started before `npx reeve up`.\n",
      status: 0,
    });
    expect(json(await host.reeve("schedule", "--json"))).toEqual({
      schedules: JSON.parse(JSON.stringify([...host.system.schedules.values()])) as unknown,
    });
    expect(host.booted.filter((what) => what.startsWith("embed"))).toEqual(["embed read", "embed read"]);
  });

  test("says how to make one where there is none", async () => {
    expect(await host.reeve("schedule")).toEqual({
      status: 0,
      out: 'No schedules. Make one: npx reeve schedule add NAME "0 9 * * MON-FRI" AGENT TASK\n',
      err: "",
    });
  });

  test("has help for itself and for what stands below it", async () => {
    const { out } = await host.reeve("schedule", "--help");
    for (const name of ["add", "pause", "resume", "remove"]) {
      expect(out).toMatch(new RegExp(`^  ${name}\\b`, "m"));
      expect((await host.reeve("schedule", name, "--help")).out).toContain(`Usage: reeve schedule ${name}`);
    }
    expect(await host.reeve("schedule", "delete")).toMatchObject({ status: 2, out: "" });
  });
});

describe("schedule add", () => {
  test("says to the system what was typed, and when it is due", async () => {
    const { status, out, err } = await host.reeve(
      ...["schedule", "add", "nightly", "0 2 * * *", "clerk", "settle", "the", "day", "--zone", "Europe/Berlin"],
      ...["--missed", "all", "--overlap", "allow", "--class", "batch", "--tenant", "shop", "--budget-calls", "9"],
    );
    expect(asked()).toEqual({
      name: "nightly",
      cron: "0 2 * * *",
      zone: "Europe/Berlin",
      agent: "clerk",
      task: "settle the day",
      missed: "all",
      overlap: "allow",
      class: "batch",
      tenant: "shop",
      budget: { calls: 9 },
      paused: false,
    });
    expect(status).toBe(0);
    expect(out).toMatch(/^nightly is next due at \d\d:\d\d, in 58m 30s\n$/);
    expect(err).toBe("No server is running: nothing is started before `npx reeve up`.\n");
    expect(json(await host.reeve("schedule", "add", "b", "@daily", "clerk", "--paused", "--json"))).toMatchObject({
      schedule: { name: "b", cron: "@daily", paused: true, missed: "once", overlap: "skip", zone: "UTC" },
    });
  });

  test.each([
    ["2h", NOW_MS + 120 * MINUTE_MS],
    ["2026-11-30T14:05Z", Date.UTC(2026, 10, 30, 14, 5)],
  ])("takes %s for one time", async (when, atMs) => {
    expect((await host.reeve("schedule", "add", "once", when, "clerk")).status).toBe(0);
    expect(asked()).toEqual({ name: "once", atMs, agent: "clerk", task: "", paused: false });
  });

  test("refuses a zone for one time, a choice that is none, and passes on what the system refuses", async () => {
    expect(await host.reeve("schedule", "add", "a", "2h", "clerk", "--zone", "UTC")).toMatchObject({
      status: 2,
      err: expect.stringContaining("--zone is for cron expressions") as string,
    });
    expect(await host.reeve("schedule", "add", "a", "@daily", "clerk", "--missed", "some")).toMatchObject({
      status: 2,
    });
    expect(await host.reeve("schedule", "add", "a", "@daily")).toMatchObject({ status: 2 });
    expect(host.system.operated).toEqual([]);
    expect(await host.reeve("schedule", "add", "a", "@daily", "clerk", "--missed", "all")).toMatchObject({
      status: 2,
      err: expect.stringContaining('it needs overlap "allow"') as string,
    });
    await host.reeve("schedule", "add", "a", "@daily", "clerk");
    expect(await host.reeve("schedule", "add", "a", "@daily", "clerk")).toMatchObject({
      status: 1,
      err: "error conflict: There is a schedule a already.\n",
    });
  });
});

describe("schedule pause, resume, remove", () => {
  test("say what it is then", async () => {
    host = new FakeHost({ server: true });
    put("nightly", { nextMs: NOW_MS + 5 * MINUTE_MS });
    expect(await host.reeve("schedule", "pause", "nightly")).toEqual({
      status: 0,
      out: "nightly is paused\n",
      err: "",
    });
    expect(asked()).toEqual({ name: "nightly", paused: true });
    expect(await host.reeve("schedule", "resume", "nightly")).toMatchObject({
      status: 0,
      out: expect.stringMatching(/^nightly is next due at \d\d:\d\d, in 5m\n$/) as string,
      err: "",
    });
    put("nightly", { nextMs: NOW_MS - 5 * MINUTE_MS });
    expect((await host.reeve("schedule", "resume", "nightly")).out).toMatch(/^nightly is due since \d\d:\d\d\n$/);
    expect(await host.reeve("schedule", "remove", "nightly")).toEqual({ status: 0, out: "nightly removed\n", err: "" });
    expect(host.system.schedules.size).toBe(0);
    for (const verb of ["pause", "resume", "remove"])
      expect(await host.reeve("schedule", verb, "nightly")).toMatchObject({ status: 4 });
  });
});
