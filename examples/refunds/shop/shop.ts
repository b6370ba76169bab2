// The shop's own program: what can be asked of its orders, refunds and tickets, and what can be done to them.
//
// Boundary: knows nothing of agents or of Reeve. What it refuses it refuses for everybody, with a `Refusal`.
//
// Invariants:
//   1. What is done under an idempotency key is written down in the transaction that does it; the same key again
//      gets the same answer and changes nothing.
//   2. An order is never refunded beyond what was paid for it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { SQLOutputValue } from "node:sqlite";
import { amountOf, centsOf } from "./money.ts";
import { databaseFile, ticketsFolder } from "./seed.ts";

/** Refunds above this are for `refund_large`. Cents. */
const REFUND_CENTS_MAX = 100_00;

/** The shop says no; the message says why and what to do instead. */
export class Refusal extends Error {}

type Data = { readonly [name: string]: string | number | boolean | null | Data | readonly Data[] };
/** `text` says everything that `data` does, for those who read only text. */
export type Answer = { readonly text: string; readonly data: Data };

type Row = Record<string, SQLOutputValue>;
type Cell = SQLOutputValue | undefined;
export type RefundInput = { readonly order: number; readonly amount: string; readonly reason: string };
export type CloseInput = { readonly ticket: string; readonly outcome: string; readonly reply: string };
/** A call that may come twice: `key` is the same both times. */
export type Keyed = { readonly key: string | undefined; readonly tool: string };

const text = (value: Cell): string => (value === null || value === undefined ? "-" : String(value));
const cents = (value: Cell): number => Number(value);

export class Shop {
  readonly #db: DatabaseSync;
  readonly #folder: string;

  /** Opens the shop that `seed` made in the folder. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#db = new DatabaseSync(databaseFile(folder), { timeout: 5_000 });
  }

  listTickets(): Answer {
    const tickets = this.#ticketIds().map((ticket) => {
      const closed = this.#closed(ticket);
      const subject = /^Subject: (.*)$/m.exec(this.#ticketText(ticket))?.[1] ?? "(no subject)";
      return { ticket, state: closed === undefined ? "open" : `closed (${text(closed["outcome"])})`, subject };
    });
    return { text: tickets.map((one) => `${one.ticket}, ${one.state}: ${one.subject}`).join("\n"), data: { tickets } };
  }

  readTicket(ticket: string): Answer {
    const body = this.#ticketText(ticket);
    return { text: body, data: { ticket, text: body } };
  }

  findOrder({ order, email }: { readonly order?: number | undefined; readonly email?: string | undefined }): Answer {
    if (order === undefined && email === undefined)
      throw new Refusal("Say which order: give its number or the customer's email.");
    const rows = this.#db
      .prepare(
        "SELECT o.*, c.name, c.email FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = ? OR c.email = ? ORDER BY o.id",
      )
      .all(order ?? null, email ?? null);
    if (rows.length === 0) throw new Refusal(`There is no order ${order ?? `of ${text(email)}`}.`);
    const orders = rows.map((row) => this.#order(row));
    return { text: orders.map((one) => one.text).join("\n\n"), data: { orders: orders.map((one) => one.data) } };
  }

  listRefunds(order: number | undefined): Answer {
    const rows = this.#db
      .prepare("SELECT * FROM refunds WHERE order_id = coalesce(?, order_id) ORDER BY id")
      .all(order ?? null);
    const refunds = rows.map((row) => ({
      refund: cents(row["id"]),
      order: cents(row["order_id"]),
      amount: amountOf(cents(row["amount_cents"])),
      reason: text(row["reason"]),
      madeAt: text(row["made_at"]),
      madeBy: text(row["made_by"]),
    }));
    const lines = refunds.map(
      (one) => `order ${one.order}: ${one.amount} EUR on ${one.madeAt.slice(0, 10)} by ${one.madeBy}, ${one.reason}`,
    );
    return { text: lines.length === 0 ? "No refunds." : lines.join("\n"), data: { refunds } };
  }

  /** Refunds up to the limit. */
  refund(input: RefundInput, call: Keyed): Answer {
    if (centsOf(input.amount) > REFUND_CENTS_MAX) {
      throw new Refusal(
        `${input.amount} EUR is above the limit of ${amountOf(REFUND_CENTS_MAX)} EUR for refund; nothing was paid. Use refund_large.`,
      );
    }
    return this.#once(call, input, () => this.#pay(input));
  }

  /** Refunds above the limit. */
  refundLarge(input: RefundInput, call: Keyed): Answer {
    if (centsOf(input.amount) <= REFUND_CENTS_MAX) {
      throw new Refusal(
        `${input.amount} EUR is not above the limit of ${amountOf(REFUND_CENTS_MAX)} EUR; nothing was paid. Use refund.`,
      );
    }
    return this.#once(call, input, () => this.#pay(input));
  }

  /** Closing a ticket once more in the same words changes nothing. */
  closeTicket({ ticket, outcome, reply }: CloseInput): Answer {
    this.#ticketText(ticket);
    const closed = this.#closed(ticket);
    if (closed === undefined) {
      this.#db.prepare("INSERT INTO tickets VALUES (?, ?, ?, ?)").run(ticket, outcome, reply, new Date().toISOString());
    } else if (closed["outcome"] !== outcome || closed["reply"] !== reply) {
      throw new Refusal(`${ticket} was closed before with another answer: ${text(closed["reply"])}`);
    }
    return { text: `${ticket} is closed (${outcome}); the customer gets your reply.`, data: { ticket, outcome } };
  }

  /** Runs one statement, whatever it does. */
  runSql(statement: string): Answer {
    const rows = this.#db
      .prepare(statement)
      .all()
      .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, text(value)])));
    return { text: rows.length === 0 ? "Done; no rows." : JSON.stringify(rows), data: { rows } };
  }

  /** What was done under a key: asked after a crash, when nobody knows whether the refund went through. */
  findByKey(key: string): Answer {
    const found = this.#db.prepare("SELECT answer FROM done WHERE key = ?").get(key);
    if (found === undefined) return { text: "not_done", data: { status: "not_done" } };
    const { text: said, data } = JSON.parse(text(found["answer"])) as Answer;
    return { text: "done", data: { status: "done", result: { text: said, data } } };
  }

  close(): void {
    this.#db.close();
  }

  #ticketIds(): string[] {
    return readdirSync(ticketsFolder(this.#folder))
      .filter((name) => name.endsWith(".txt"))
      .map((name) => name.slice(0, -".txt".length))
      .sort();
  }

  #ticketText(ticket: string): string {
    const known = this.#ticketIds();
    // The name must be one of those in the folder, so that it cannot lead out of it.
    if (!known.includes(ticket)) throw new Refusal(`There is no ticket ${ticket}. There are: ${known.join(", ")}.`);
    return readFileSync(join(ticketsFolder(this.#folder), `${ticket}.txt`), "utf8");
  }

  #closed(ticket: string): Row | undefined {
    return this.#db.prepare("SELECT outcome, reply FROM tickets WHERE id = ?").get(ticket);
  }

  #order(row: Row): Answer {
    const items = this.#items(cents(row["id"])).map((item) => ({
      article: text(item["article"]),
      quantity: cents(item["quantity"]),
      price: amountOf(cents(item["price_cents"])),
    }));
    const shipping = amountOf(cents(row["shipping_cents"]));
    const total = amountOf(this.#total(row));
    const dates = { ordered: text(row["ordered"]), promised: text(row["promised"]), delivered: text(row["delivered"]) };
    const lines = [
      `order ${text(row["id"])} of ${text(row["name"])} <${text(row["email"])}>, payment: ${text(row["payment"])}`,
      `ordered ${dates.ordered}, promised ${dates.promised}, delivered ${dates.delivered}`,
      ...items.map((item) => `${item.quantity} x ${item.article} at ${item.price} EUR`),
      `shipping ${shipping} EUR, total ${total} EUR`,
    ];
    const data = {
      order: cents(row["id"]),
      customer: text(row["name"]),
      email: text(row["email"]),
      payment: text(row["payment"]),
      ...dates,
      items,
      shipping,
      total,
    };
    return { text: lines.join("\n"), data };
  }

  #items(order: number): Row[] {
    return this.#db
      .prepare("SELECT article, quantity, price_cents FROM items WHERE order_id = ? ORDER BY rowid")
      .all(order);
  }

  #total(row: Row): number {
    return this.#items(cents(row["id"])).reduce(
      (sum, item) => sum + cents(item["quantity"]) * cents(item["price_cents"]),
      cents(row["shipping_cents"]),
    );
  }

  #pay({ order, amount, reason }: RefundInput): Answer {
    const row = this.#db.prepare("SELECT * FROM orders WHERE id = ?").get(order);
    if (row === undefined) throw new Refusal(`There is no order ${order}.`);
    if (row["payment"] !== "paid")
      throw new Refusal(
        `Order ${order} was not paid (payment: ${text(row["payment"])}), so there is nothing to refund.`,
      );
    if (centsOf(amount) === 0) throw new Refusal("A refund of 0.00 EUR is no refund.");
    const before = this.#db
      .prepare("SELECT coalesce(sum(amount_cents), 0) AS cents FROM refunds WHERE order_id = ?")
      .get(order);
    const left = this.#total(row) - cents(before?.["cents"]);
    if (centsOf(amount) > left)
      throw new Refusal(
        `Of order ${order} only ${amountOf(left)} EUR can still be refunded; nothing was paid. Look at list_refunds.`,
      );
    const made = this.#db
      .prepare("INSERT INTO refunds (order_id, amount_cents, reason, made_at, made_by) VALUES (?, ?, ?, ?, 'agent')")
      .run(order, centsOf(amount), reason, new Date().toISOString());
    return {
      text: `Refunded ${amount} EUR of order ${order} to the account it was paid from.`,
      data: { refund: Number(made.lastInsertRowid), order, amount },
    };
  }

  #once({ key, tool }: Keyed, input: RefundInput, act: () => Answer): Answer {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const answer = this.#before(key, input) ?? act();
      if (key !== undefined)
        this.#db
          .prepare("INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)")
          .run(key, tool, argsText(input), JSON.stringify(answer));
      this.#db.exec("COMMIT");
      return answer;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  #before(key: string | undefined, input: RefundInput): Answer | undefined {
    const found =
      key === undefined ? undefined : this.#db.prepare("SELECT args, answer FROM done WHERE key = ?").get(key);
    if (found === undefined) return undefined;
    if (found["args"] !== argsText(input))
      throw new Refusal("This idempotency key was used for another refund; nothing was paid.");
    return JSON.parse(text(found["answer"])) as Answer;
  }
}

const argsText = ({ order, amount, reason }: RefundInput): string => JSON.stringify({ order, amount, reason });
