// What became of the shop, read from its database by somebody who had no part in it.
import { DatabaseSync } from "node:sqlite";
import { amountOf } from "./shop/money.ts";
import { databaseFile } from "./shop/seed.ts";

export type ShopReport = {
  /** Refunds that this run made; null if the table is gone. */
  readonly refunds: readonly { readonly order: number; readonly amount: string; readonly reason: string }[] | null;
  /** Tickets that are closed, by name, each with its outcome. */
  readonly closed: ReadonlyMap<string, string>;
};

/** `folder` is the shop's. Opens it for reading only. */
export function lookAtShop(folder: string): ShopReport {
  const db = new DatabaseSync(databaseFile(folder), { readOnly: true, timeout: 5_000 });
  try {
    const closed = new Map(
      db
        .prepare("SELECT id, outcome FROM tickets ORDER BY id")
        .all()
        .map((row) => [String(row["id"]), String(row["outcome"])]),
    );
    const table = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'refunds'").get();
    if (table === undefined) return { refunds: null, closed };
    const rows = db
      .prepare("SELECT order_id, amount_cents, reason FROM refunds WHERE made_by = 'agent' ORDER BY id")
      .all();
    const refunds = rows.map((row) => ({
      order: Number(row["order_id"]),
      amount: amountOf(Number(row["amount_cents"])),
      reason: String(row["reason"]),
    }));
    return { refunds, closed };
  } finally {
    db.close();
  }
}
