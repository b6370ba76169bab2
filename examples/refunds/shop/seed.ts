// The shop as every run finds it: customers, orders, refunds of the last weeks, and five open tickets.
//
// Dates are fixed, so that the tickets fit the orders on whatever day the example is run.
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const SCHEMA = `
  CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, city TEXT NOT NULL);
  CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers(id),
    ordered TEXT NOT NULL, promised TEXT NOT NULL, delivered TEXT,
    shipping_cents INTEGER NOT NULL, payment TEXT NOT NULL CHECK (payment IN ('paid', 'open', 'cancelled'))
  );
  CREATE TABLE items (
    order_id INTEGER NOT NULL REFERENCES orders(id), article TEXT NOT NULL,
    quantity INTEGER NOT NULL, price_cents INTEGER NOT NULL
  );
  CREATE TABLE refunds (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(id), amount_cents INTEGER NOT NULL,
    reason TEXT NOT NULL, made_at TEXT NOT NULL, made_by TEXT NOT NULL
  );
  CREATE TABLE tickets (
    id TEXT PRIMARY KEY, outcome TEXT NOT NULL, reply TEXT NOT NULL, closed_at TEXT NOT NULL
  );
  -- What was done under which idempotency key, and what was answered.
  CREATE TABLE done (key TEXT PRIMARY KEY, tool TEXT NOT NULL, args TEXT NOT NULL, answer TEXT NOT NULL);
`;

const CUSTOMERS: readonly (readonly [id: number, name: string, email: string, city: string])[] = [
  [1, "Maren Holt", "maren.holt@example.com", "Hamburg"],
  [2, "Jonas Weber", "jonas.weber@example.com", "Leipzig"],
  [3, "Aylin Kaya", "aylin.kaya@example.com", "Cologne"],
  [4, "Pieter de Vries", "pieter.devries@example.com", "Utrecht"],
  [5, "Sofia Lindqvist", "sofia.lindqvist@example.com", "Malmö"],
  [6, "Tomasz Nowak", "tomasz.nowak@example.com", "Poznań"],
  [7, "Claire Dubois", "claire.dubois@example.com", "Lyon"],
  [8, "Marco Bianchi", "marco.bianchi@example.com", "Turin"],
  [9, "Hannah Fischer", "hannah.fischer@example.com", "Vienna"],
  [10, "Ines Carvalho", "ines.carvalho@example.com", "Porto"],
  [11, "Niall Byrne", "niall.byrne@example.com", "Cork"],
  [12, "Katja Novak", "katja.novak@example.com", "Ljubljana"],
];

type Item = readonly [article: string, quantity: number, priceCents: number];
type Order = {
  readonly id: number;
  readonly customer: number;
  readonly ordered: string;
  readonly promised: string;
  readonly delivered: string | null;
  readonly shippingCents: number;
  readonly payment: "paid" | "open" | "cancelled";
  readonly items: readonly Item[];
};

const ORDERS: readonly Order[] = [
  {
    id: 1001,
    customer: 1,
    ordered: "2026-02-20",
    promised: "2026-02-25",
    delivered: "2026-02-24",
    shippingCents: 490,
    payment: "paid",
    items: [["Hand grinder", 1, 8900]],
  },
  {
    id: 1002,
    customer: 2,
    ordered: "2026-02-21",
    promised: "2026-02-26",
    delivered: "2026-02-26",
    shippingCents: 490,
    payment: "paid",
    items: [["House blend, 1 kg", 2, 2650]],
  },
  {
    id: 1003,
    customer: 3,
    ordered: "2026-02-22",
    promised: "2026-02-27",
    delivered: "2026-02-26",
    shippingCents: 490,
    payment: "paid",
    items: [["Milk jug, 350 ml", 1, 2490]],
  },
  {
    id: 1004,
    customer: 5,
    ordered: "2026-02-24",
    promised: "2026-03-01",
    delivered: "2026-02-28",
    shippingCents: 490,
    payment: "paid",
    items: [["Stoneware cup, blue", 2, 1890]],
  },
  {
    id: 1005,
    customer: 4,
    ordered: "2026-02-25",
    promised: "2026-03-02",
    delivered: "2026-03-02",
    shippingCents: 0,
    payment: "paid",
    items: [["Filter machine", 1, 16900]],
  },
  {
    id: 1006,
    customer: 6,
    ordered: "2026-02-25",
    promised: "2026-03-02",
    delivered: null,
    shippingCents: 490,
    payment: "cancelled",
    items: [["Cold brew bottle", 1, 2990]],
  },
  {
    id: 1007,
    customer: 7,
    ordered: "2026-02-26",
    promised: "2026-03-03",
    delivered: "2026-03-02",
    shippingCents: 490,
    payment: "paid",
    items: [["Ethiopia Guji, 250 g", 3, 1190]],
  },
  {
    id: 1008,
    customer: 8,
    ordered: "2026-02-27",
    promised: "2026-03-04",
    delivered: "2026-03-04",
    shippingCents: 490,
    payment: "paid",
    items: [
      ["Espresso cup", 6, 950],
      ["Saucer", 6, 450],
    ],
  },
  {
    id: 1009,
    customer: 9,
    ordered: "2026-02-28",
    promised: "2026-03-05",
    delivered: "2026-03-11",
    shippingCents: 490,
    payment: "paid",
    items: [
      ["Hand filter, size 2", 1, 2190],
      ["Filter paper, 100", 2, 490],
    ],
  },
  {
    id: 1010,
    customer: 10,
    ordered: "2026-03-01",
    promised: "2026-03-06",
    delivered: "2026-03-05",
    shippingCents: 490,
    payment: "paid",
    items: [["French press, 1 l", 1, 3990]],
  },
  {
    id: 1011,
    customer: 11,
    ordered: "2026-03-02",
    promised: "2026-03-07",
    delivered: "2026-03-06",
    shippingCents: 490,
    payment: "paid",
    items: [["Descaler, 500 ml", 2, 1250]],
  },
  {
    id: 1012,
    customer: 12,
    ordered: "2026-03-02",
    promised: "2026-03-07",
    delivered: "2026-03-07",
    shippingCents: 490,
    payment: "paid",
    items: [["Tamper, 58 mm", 1, 3490]],
  },
  {
    id: 1013,
    customer: 2,
    ordered: "2026-03-03",
    promised: "2026-03-10",
    delivered: "2026-03-09",
    shippingCents: 0,
    payment: "paid",
    items: [["Espresso machine Lario", 1, 48900]],
  },
  {
    id: 1014,
    customer: 3,
    ordered: "2026-03-04",
    promised: "2026-03-09",
    delivered: "2026-03-09",
    shippingCents: 490,
    payment: "paid",
    items: [
      ["House blend, 1 kg", 1, 2650],
      ["Decaf, 250 g", 1, 1090],
    ],
  },
  {
    id: 1015,
    customer: 1,
    ordered: "2026-03-05",
    promised: "2026-03-10",
    delivered: null,
    shippingCents: 490,
    payment: "open",
    items: [["Kettle with thermometer", 1, 7900]],
  },
  {
    id: 1016,
    customer: 8,
    ordered: "2026-03-05",
    promised: "2026-03-10",
    delivered: "2026-03-10",
    shippingCents: 0,
    payment: "paid",
    items: [["Electric grinder Molino", 1, 21900]],
  },
  {
    id: 1017,
    customer: 4,
    ordered: "2026-03-06",
    promised: "2026-03-11",
    delivered: "2026-03-10",
    shippingCents: 490,
    payment: "paid",
    items: [["Scale, 0.1 g", 1, 4590]],
  },
  {
    id: 1018,
    customer: 7,
    ordered: "2026-03-06",
    promised: "2026-03-11",
    delivered: "2026-03-10",
    shippingCents: 490,
    payment: "paid",
    items: [["Glass carafe, 600 ml", 1, 3250]],
  },
  {
    id: 1019,
    customer: 10,
    ordered: "2026-03-08",
    promised: "2026-03-13",
    delivered: null,
    shippingCents: 490,
    payment: "paid",
    items: [["Brush set", 1, 1690]],
  },
  {
    id: 1020,
    customer: 12,
    ordered: "2026-03-09",
    promised: "2026-03-14",
    delivered: null,
    shippingCents: 490,
    payment: "paid",
    items: [["Knock box", 1, 2890]],
  },
];

const REFUNDS: readonly (readonly [order: number, cents: number, reason: string, madeAt: string])[] = [
  [1003, 2490, "Returned unused within 30 days", "2026-03-05T09:12:00.000Z"],
  [1018, 3250, "Carafe arrived cracked", "2026-03-12T14:40:00.000Z"],
];

function fill(db: DatabaseSync): void {
  db.exec(SCHEMA);
  const customer = db.prepare("INSERT INTO customers VALUES (?, ?, ?, ?)");
  for (const row of CUSTOMERS) customer.run(...row);
  const order = db.prepare("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)");
  const item = db.prepare("INSERT INTO items VALUES (?, ?, ?, ?)");
  for (const { id, customer: by, ordered, promised, delivered, shippingCents, payment, items } of ORDERS) {
    order.run(id, by, ordered, promised, delivered, shippingCents, payment);
    for (const row of items) item.run(id, ...row);
  }
  const refund = db.prepare(
    "INSERT INTO refunds (order_id, amount_cents, reason, made_at, made_by) VALUES (?, ?, ?, ?, 'staff')",
  );
  for (const row of REFUNDS) refund.run(...row);
}

export const databaseFile = (folder: string): string => join(folder, "shop.db");
export const ticketsFolder = (folder: string): string => join(folder, "tickets");

/** Makes a fresh shop in `folder` from the tickets that lie in the example. Changes nothing if there is a shop already. */
export function seed(folder: string): void {
  mkdirSync(ticketsFolder(folder), { recursive: true });
  const db = new DatabaseSync(databaseFile(folder), { timeout: 5_000 });
  try {
    // The lock comes first, so that of two who start at once one finds the other's shop. Closing without a commit undoes all.
    db.exec("BEGIN IMMEDIATE");
    const tables = db.prepare("SELECT count(*) AS count FROM sqlite_schema").get();
    if (tables?.["count"] !== 0) return;
    const source = join(import.meta.dirname, "..", "tickets");
    for (const name of readdirSync(source)) copyFileSync(join(source, name), join(ticketsFolder(folder), name));
    fill(db);
    db.exec("COMMIT");
  } finally {
    db.close();
  }
}
