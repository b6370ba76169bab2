// The shop as an MCP server over standard input and output: `node server.ts FOLDER`.
//
// A plain MCP server: it knows nothing of Reeve but one thing, the idempotency key that Reeve puts into
// `_meta["reeve/idempotencyKey"]` of a call. Under it a refund that is asked for twice is paid once.
import { McpServer } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";
import { AMOUNT_PATTERN } from "./money.ts";
import { seed } from "./seed.ts";
import { Refusal, Shop } from "./shop.ts";
import type { Answer } from "./shop.ts";

const IDEMPOTENCY_KEY = "reeve/idempotencyKey";

const ticket = z.string().describe("The ticket's name, such as ticket-1");
const order = z.int().positive().describe("The order's number, such as 1004");
const refundInput = z.object({
  order,
  amount: z
    .string()
    .regex(AMOUNT_PATTERN, "is not an amount such as 18.90")
    .describe("EUR with two decimals, such as 18.90"),
  reason: z.string().min(1).max(300).describe("Why, in one line"),
});

type ToolResult = {
  content: { type: "text"; text: string }[];
  structuredContent?: Record<string, unknown>;
  isError?: true;
};
type Context = { readonly mcpReq: { readonly _meta?: Readonly<Record<string, unknown>> } };

const keyOf = ({ mcpReq }: Context): string | undefined => {
  const key = mcpReq._meta?.[IDEMPOTENCY_KEY];
  return typeof key === "string" ? key : undefined;
};

/** What the shop or its database refuses is an answer too: the caller is to read it. */
function answer(act: () => Answer): ToolResult {
  try {
    const { text, data } = act();
    return { content: [{ type: "text", text }], structuredContent: data };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return {
      content: [{ type: "text", text: error instanceof Refusal ? said : `The shop's database refused: ${said}` }],
      isError: true,
    };
  }
}

function addReadingTools(server: McpServer, shop: Shop): void {
  server.registerTool(
    "list_tickets",
    { description: "Lists all tickets with state and subject.", inputSchema: z.object({}) },
    () => answer(() => shop.listTickets()),
  );
  server.registerTool(
    "read_ticket",
    { description: "The text of a ticket, as the customer wrote it.", inputSchema: z.object({ ticket }) },
    (input) => answer(() => shop.readTicket(input.ticket)),
  );
  server.registerTool(
    "find_order",
    {
      description: "Finds orders by number or by the customer's email: items, prices, dates, payment.",
      inputSchema: z.object({ order: order.optional(), email: z.string().optional() }),
    },
    (input) => answer(() => shop.findOrder(input)),
  );
  server.registerTool(
    "list_refunds",
    {
      description: "Lists refunds made so far, of one order if it is named.",
      inputSchema: z.object({ order: order.optional() }),
    },
    (input) => answer(() => shop.listRefunds(input.order)),
  );
  server.registerTool(
    "find_refund_by_key",
    {
      description: "Says whether the refund with this idempotency key was made. For programs.",
      inputSchema: z.object({ key: z.string(), tool: z.string(), args: z.record(z.string(), z.unknown()) }),
    },
    (input) => answer(() => shop.findByKey(input.key)),
  );
}

function addActingTools(server: McpServer, shop: Shop): void {
  server.registerTool(
    "refund",
    { description: "Refunds up to 100.00 EUR of an order to the account it was paid from.", inputSchema: refundInput },
    (input, context) => answer(() => shop.refund(input, { key: keyOf(context), tool: "refund" })),
  );
  server.registerTool(
    "refund_large",
    {
      description: "Refunds more than 100.00 EUR of an order to the account it was paid from. A human is asked first.",
      inputSchema: refundInput,
    },
    (input, context) => answer(() => shop.refundLarge(input, { key: keyOf(context), tool: "refund_large" })),
  );
  server.registerTool(
    "close_ticket",
    {
      description: "Closes a ticket with a reply to the customer.",
      inputSchema: z.object({
        ticket,
        outcome: z.enum(["refunded", "declined", "answered"]),
        reply: z.string().min(1).max(2_000).describe("What the customer is told"),
      }),
    },
    (input) => answer(() => shop.closeTicket(input)),
  );
  server.registerTool(
    "run_sql",
    {
      description: "Maintenance: runs one SQL statement on the shop's database.",
      inputSchema: z.object({ statement: z.string().min(1) }),
    },
    (input) => answer(() => shop.runSql(input.statement)),
  );
}

const folder = process.argv[2];
if (folder === undefined) {
  process.stderr.write("Usage: node server.ts FOLDER (where the shop's database and tickets are, or will be)\n");
  process.exit(2);
}
seed(folder);
const shop = new Shop(folder);
serveStdio(() => {
  const server = new McpServer({ name: "coffee-shop", version: "1.0.0" });
  addReadingTools(server, shop);
  addActingTools(server, shop);
  return server;
});
