// Goal: what a server asks for stands in the journal of every process with a call under way, and nothing goes out unrecorded.
// Method: journals in the test's hand, and a door's notes called as a door calls them.
import { expect, test } from "vitest";
import { OsError } from "../../abi/errors.ts";
import type { Notes } from "../../ports/tools.ts";
import { CallsUnderWay } from "./under-way.ts";

const asked = {
  n: "r1",
  decision: "allow",
  rule: "api.example.com",
  secrets: ["KEY"],
  request: { method: "GET", scheme: "https", host: "api.example.com", port: 443, path: "/v1" },
} as const;
const over = { n: "r1", status: 200, sentBytes: 1, receivedBytes: 2 };

const journal = (): { readonly kinds: string[]; readonly notes: Notes } => {
  const kinds: string[] = [];
  return { kinds, notes: async (header) => void kinds.push(`${header.kind} ${"call" in header ? header.call : ""}`) };
};
const gone: Notes = () => Promise.reject(new OsError("cancelled", "It is over."));

test("all calls under way are told, one that is gone keeps the others from nothing", async () => {
  const calls = new CallsUnderWay();
  const [a, b] = [journal(), journal()];
  const notes = calls.notesOf("tools.shop", () => expect.fail("nobody else is told"));
  await calls.during({ call: 1, notes: a.notes }, () =>
    calls.during({ call: 2, notes: gone }, () =>
      calls.during({ call: 3, notes: b.notes }, async () => {
        await notes.requested(asked);
        await notes.ended(over);
      }),
    ),
  );
  expect(a.kinds).toEqual(["egress.requested 1", "egress.ended 1"]);
  expect(b.kinds).toEqual(["egress.requested 3", "egress.ended 3"]);
});

test("where a journal cannot be written, it does not go out", async () => {
  const calls = new CallsUnderWay();
  const full: Notes = () => Promise.reject(new OsError("store_failed", "The disk is full."));
  const notes = calls.notesOf("tools.shop", () => expect.fail("nobody else is told"));
  await calls.during({ call: 1, notes: journal().notes }, () =>
    calls.during({ call: 2, notes: full }, () =>
      expect(notes.requested(asked)).rejects.toMatchObject({ code: "store_failed" }),
    ),
  );
});

test("with processes alone that are over, the operator is told, and the door stays open", async () => {
  const told: string[] = [];
  const calls = new CallsUnderWay();
  const notes = calls.notesOf("tools.shop", (message) => told.push(message));
  await calls.during({ call: 1, notes: gone }, async () => {
    await notes.requested(asked);
    await notes.ended(over);
    await notes.requested({ ...asked, n: "r2", decision: "deny", rule: "none", times: 90 });
  });
  expect(told).toEqual([
    expect.stringMatching(/GET https:\/\/api\.example\.com:443\/v1: let out$/),
    expect.stringMatching(/: refused 90 times$/),
  ]);
});

test("with no call under way the operator is told", async () => {
  const told: string[] = [];
  const calls = new CallsUnderWay();
  const notes = calls.notesOf("tools.shop", (message) => told.push(message));
  await notes.requested(asked);
  await notes.ended(over);
  expect(told).toEqual(["tools.shop, with no call under way: GET https://api.example.com:443/v1: let out"]);
});

test("nothing is written for a call that is over", async () => {
  const calls = new CallsUnderWay();
  const a = journal();
  const notes = calls.notesOf("tools.shop", () => {});
  await calls.during({ call: 1, notes: a.notes }, () => notes.requested(asked));
  expect(calls.size).toBe(0);
  await notes.ended(over);
  expect(a.kinds).toEqual(["egress.requested 1"]);
});
