// The shop's server, spoken to by a real MCP client over a real pipe: its tools, its errors, and that one
// idempotency key pays once, also when the server died in between.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterAll, beforeAll, expect, it } from "vitest";

let folder = "";
let client: Client;
let serverPid: number | null = null;

async function connect(mode: "auto" | "legacy" = "auto"): Promise<Client> {
  const made = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [join(import.meta.dirname, "server.ts"), folder],
  });
  await made.connect(transport);
  serverPid = transport.pid;
  return made;
}

type Said = { readonly text: string; readonly data: unknown; readonly isError: boolean };

async function call(name: string, args: Record<string, unknown>, key?: string): Promise<Said> {
  const meta = key === undefined ? {} : { _meta: { "reeve/idempotencyKey": key } };
  const result = await client.callTool({ name, arguments: args, ...meta });
  const first = result.content[0];
  return {
    text: first?.type === "text" ? first.text : "",
    data: result.structuredContent,
    isError: result.isError === true,
  };
}

async function refunds(order: number): Promise<string[]> {
  return (await call("list_refunds", { order })).text.split("\n");
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "reeve-shop-"));
  client = await connect();
});

afterAll(async () => {
  await client.close();
  rmSync(folder, { recursive: true });
});

it("makes the shop if there is none and speaks both generations of the protocol", async () => {
  const expected = [
    "close_ticket",
    "find_order",
    "find_refund_by_key",
    "list_refunds",
    "list_tickets",
    "read_ticket",
    "refund",
    "refund_large",
    "run_sql",
  ];
  expect((await client.listTools()).tools.map(({ name }) => name).sort()).toEqual(expected);
  await client.close();
  client = await connect("legacy");
  expect((await client.listTools()).tools.map(({ name }) => name).sort()).toEqual(expected);
  expect((await call("list_tickets", {})).text.split("\n")).toHaveLength(5);
});

it("answers in words and as data", async () => {
  const said = await call("find_order", { order: 1004 });
  expect(said.text).toContain("total 42.70 EUR");
  expect(said.data).toMatchObject({
    orders: [{ order: 1004, customer: "Sofia Lindqvist", total: "42.70", items: [{ quantity: 2, price: "18.90" }] }],
  });
});

it("says as an error what the shop, the schema or the database refuses", async () => {
  const machine = { order: 1013, amount: "489.00", reason: "Damaged" };
  const tooMuch = await call("refund", machine);
  expect(tooMuch.isError).toBe(true);
  expect(tooMuch.text).toContain("Use refund_large.");
  expect((await call("refund", { ...machine, amount: "18,9" })).isError).toBe(true);
  expect((await call("close_ticket", { ticket: "ticket-1", outcome: "lost", reply: "?" })).isError).toBe(true);
  const misspelt = await call("run_sql", { statement: "DROP TABEL" });
  expect(misspelt.isError).toBe(true);
  expect(misspelt.text).toMatch(/^The shop's database refused: /);
  expect(await refunds(1013)).toEqual(["No refunds."]);
});

it("pays once under one key, also when it was killed in between, and knows by the key what became of it", async () => {
  const cup = { order: 1004, amount: "18.90", reason: "Broken cup" };
  const question = { key: "k1", tool: "refund", args: cup };
  expect((await call("find_refund_by_key", question)).data).toEqual({ status: "not_done" });
  const first = await call("refund", cup, "k1");
  expect(first).toMatchObject({
    isError: false,
    text: "Refunded 18.90 EUR of order 1004 to the account it was paid from.",
  });

  if (serverPid !== null) process.kill(serverPid, "SIGKILL");
  await client.close();
  client = await connect();
  expect((await call("find_refund_by_key", question)).data).toEqual({
    status: "done",
    result: { text: first.text, data: first.data },
  });
  expect(await call("refund", cup, "k1")).toEqual(first);
  expect(await refunds(1004)).toHaveLength(1);
  await call("refund", { ...cup, amount: "4.90" }, "k2");
  expect(await refunds(1004)).toHaveLength(2);
});
