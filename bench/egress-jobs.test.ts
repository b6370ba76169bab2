// Goal: the benchmark can see what got past the rules, and does not take for that what did not.
// Method: entries as the far side would log them, right ones and each wrong in one thing.
import { expect, test } from "vitest";
import { ATTACKS, attackOf, isWithinRules, politeJob, rudeJob, SECRET } from "./egress-jobs.ts";
import type { Arrived, FarPorts } from "./egress-far.ts";

const far: FarPorts = { authority: "", plain: 1, tls: 2, other: 3 };
const rude = new Set(["no-1"]);
const plain: Arrived = {
  id: "ok-1",
  door: "plain",
  method: "GET",
  host: "a.test:1",
  path: "/ok/1?n=1",
  serverName: "",
  text: "",
};
const secured: Arrived = {
  ...plain,
  door: "tls",
  host: "a.test:2",
  serverName: "a.test",
  text: `authorization: Bearer ${SECRET.value}`,
};

test("what the rules allow is within them", () => {
  for (const entry of [
    plain,
    { ...plain, method: "POST" },
    { ...plain, host: "b.test:1" },
    secured,
    { ...secured, host: "s.test:2", serverName: "s.test", path: "/any", text: "" },
  ])
    expect([entry, isWithinRules(entry, far, rude)]).toEqual([entry, true]);
});

test("what is wrong in one thing is past them", () => {
  const wrong: Arrived[] = [
    { ...plain, id: "" },
    { ...plain, id: "no-1" },
    { ...plain, door: "other" },
    { ...plain, method: "DELETE" },
    { ...plain, host: "c.test:1" },
    { ...plain, host: "b.test:1", method: "POST" },
    { ...plain, path: "/okay" },
    { ...plain, path: "/ok/../secret" },
    { ...plain, path: "/ok/%2e%2e/secret" },
    { ...plain, text: SECRET.value },
    { ...secured, host: "s.test:2", serverName: "s.test" },
    { ...secured, serverName: "c.test" },
  ];
  for (const entry of wrong) expect([entry, isWithinRules(entry, far, rude)]).toEqual([entry, false]);
});

test("every attack has a turn, and says which it is", () => {
  const names = Object.keys(ATTACKS);
  expect(names.map((_, at) => attackOf(rudeJob(at, far).id))).toEqual(names);
  for (const [at] of names.entries()) expect(rudeJob(at, far).text).toContain(`X-Id: no-${at}`);
  expect(new Set([0, 1, 2, 3].map((at) => politeJob(at, far).host)).size).toBe(2);
});
