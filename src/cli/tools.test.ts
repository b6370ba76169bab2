// Goal: `reeve tools` shows how tools stand, what changed, accepts it, and logs in by way of a browser.
// Method: the fake system behind the real API, and a browser that answers at the loopback address that was printed.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import { toolManifestSchema } from "../abi/tools.ts";
import { eachTestOn, type FakeHost, json, lines } from "./host.fake.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh), { columns: 120 });

const HASH = "a".repeat(64);

function list(): void {
  const tool = {
    name: "shop.look",
    description: "Looks\nan order up.",
    hash: HASH,
    manifest: toolManifestSchema.parse({ effect: "read" }),
    inputSchema: {},
    isolation: "process",
    pin: "pinned",
  } as const;
  host.system.listedTools = {
    tools: [tool],
    held: [
      { name: "shop.refund", pin: "changed", hash: HASH },
      { name: "shop.old", pin: "gone", hash: null },
    ],
    sources: [{ name: "shop", isolation: "process", firstSeenMs: 1_000 }],
    unavailable: [],
  };
}

test("tools are listed with effect, isolation and how they stand; what is held back says what to do", async () => {
  list();
  const { status, out } = await host.reeve("tools");
  expect(status).toBe(0);
  expect(out).toBe(
    lines(
      "TOOL         EFFECT  ISOLATION  PIN      DESCRIPTION",
      "shop.look    read    process    pinned   Looks an order up.",
      "shop.refund          process    changed  held back",
      "shop.old             process    gone     its source does not list it",
      "",
      "1 tool is held back: npx reeve tools diff NAME shows the change, npx reeve tools accept NAME takes it.",
    ),
  );
});

test("a source that does not answer is named, and the status says so", async () => {
  list();
  host.system.listedTools.unavailable.push({ source: "crm", message: "Log in with `reeve tools login crm`." });
  const { status, out } = await host.reeve("tools");
  expect(status).toBe(1);
  expect(out).toContain("Log in with `npx reeve tools login crm`.");
});

test("without sources it says where to begin", async () => {
  expect((await host.reeve("tools")).out).toMatch(/^No sources of tools\./);
});

test("a difference is shown as it is given, with who took what was before", async () => {
  const diff = "--- shop.refund\ttaken\n+++ shop.refund\tnow\n-  Does.\n+  Does more.\n";
  const held = { name: "shop.refund", pin: "changed", hash: HASH, before: null, after: null } as const;
  host.system.diffs.set("shop.refund", { ...held, by: "ana", atMs: 1_000, diff });
  const { out } = await host.reeve("tools", "diff", "shop.refund");
  expect(out).toMatch(/^shop\.refund: changed \(accepted by ana, /);
  expect(out).toContain("-  Does.\n+  Does more.\n");
});

test("what is accepted is what was listed: its hash goes along", async () => {
  list();
  expect(await host.reeve("tools", "accept", "shop.refund")).toMatchObject({
    status: 0,
    out: "shop.refund accepted\n",
  });
  expect(host.system.accepted).toMatchObject([{ tools: [{ tool: "shop.refund", hash: HASH }], by: "operator" }]);
  expect(json(await host.reeve("tools", "accept", "--source", "shop", "--json"))).toEqual({
    accepted: ["shop.refund", "shop.old"],
  });
  expect((await host.reeve("tools", "accept", "--source", "other")).out).toMatch(/^Nothing to accept/);
});

test("neither names nor a source, or both, is a misuse", async () => {
  expect((await host.reeve("tools", "accept")).status).toBe(2);
  expect((await host.reeve("tools", "accept", "a.b", "--source", "a")).status).toBe(2);
  expect(host.system.accepted).toEqual([]);
});

test("a login prints an address, and ends when the browser has come back with an answer", async () => {
  const steps: object[] = [];
  host.system.login = ({ redirect, answer }) => {
    steps.push({ answer });
    if (answer !== undefined) return { address: null };
    // The browser asks for something else first, as browsers do.
    void fetch(new URL("/favicon.ico", redirect)).then(() => fetch(`${redirect}?code=c&state=s`));
    return { address: "https://login.example.com/authorize?x=1" };
  };
  const { status, out, err } = await host.reeve("tools", "login", "crm");
  expect({ status, out }).toEqual({ status: 0, out: "Logged in at crm.\n" });
  expect(err).toContain("https://login.example.com/authorize?x=1");
  expect(steps).toEqual([{ answer: undefined }, { answer: "code=c&state=s" }]);
});

test("a login that needs no browser ends at once; one that is refused says why", async () => {
  expect((await host.reeve("tools", "login", "crm")).out).toBe("Logged in at crm.\n");
  host.system.login = () => {
    throw new OsError("denied", "The login was refused.");
  };
  expect(await host.reeve("tools", "login", "crm")).toMatchObject({ status: 3, out: "" });
});

test("Ctrl-C ends the wait for the browser", async () => {
  host.system.login = () => {
    setImmediate(() => host.interrupt());
    return { address: "https://login.example.com/" };
  };
  expect((await host.reeve("tools", "login", "crm")).status).toBe(130);
});

test("a logout says whether there was anything", async () => {
  expect((await host.reeve("tools", "logout", "crm")).out).toBe("Logged out of crm.\n");
});
