// The example, as a newcomer without a terminal gets it: `npm start` stops at the question, the command line decides, and the
// process goes on to its end. Asserted on the shop's own database, on the inbox and on exit codes.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { z } from "zod";

const ROOT = join(import.meta.dirname, "..", "..");
const MACHINE = "Refund 489.00 EUR of order 1013: Espresso machine arrived damaged";
const DROP = "Run on the shop's database: DROP TABLE refunds";

let folder = "";
let run = "";

type Ended = { readonly status: number | null; readonly out: string; readonly error: string };

/** Runs one of the project's programs with Node, without a terminal and without anybody's keys. */
function node(...args: readonly string[]): Promise<Ended> {
  const env = { ...process.env, REFUNDS_RUN: run, REFUNDS_MODEL: "rehearsal/refunds", NO_COLOR: "1" };
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let error = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (error += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, out, error }));
  });
}

const reeve = (...args: readonly string[]): Promise<Ended> =>
  node("src/main.ts", "--config", "examples/refunds/reeve.config.ts", ...args);

async function reeveJson<T>(schema: z.ZodType<T>, ...args: readonly string[]): Promise<T> {
  const { status, out, error } = await reeve(...args, "--json");
  expect({ status, error }).toMatchObject({ status: 0 });
  return schema.parse(JSON.parse(out));
}

const asked = z.object({ request: z.string(), pid: z.string(), question: z.string(), effect: z.string() });
const inboxSchema = z.object({ requests: z.tuple([asked]) });
/** What `approve` and `reject` answer with: how the process stands, once it has gone on as far as it can. */
const standingSchema = z.object({
  state: z.string(),
  requests: z.array(asked),
  exit: z.object({ how: z.string() }).nullable(),
});
const verifySchema = z.object({ identical: z.boolean(), chain: z.object({ intact: z.boolean() }) });

function ask(sql: string): unknown[] {
  const db = new DatabaseSync(join(run, "shop", "shop.db"), { readOnly: true });
  try {
    return db
      .prepare(sql)
      .all()
      .map((row) => Object.values(row));
  } finally {
    db.close();
  }
}

const refunds = (): unknown[] => ask("SELECT order_id, amount_cents FROM refunds WHERE made_by = 'agent' ORDER BY id");
const closed = (): unknown[] => ask("SELECT id, outcome FROM tickets ORDER BY id");
const SMALL = [
  [1004, 1890],
  [1009, 490],
];
const LARGE = [1013, 48900];
const EASY = [
  ["ticket-1", "refunded"],
  ["ticket-2", "refunded"],
  ["ticket-5", "declined"],
];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-refunds-"));
  run = join(folder, "run");
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

it("stops at the large refund without a terminal, and goes on from each decision to its end", async () => {
  const started = await node("examples/refunds/start.ts");
  expect(started.error).toMatch(/^The source of tools "shop" was seen for the first time[^\n]*\n$/);
  expect(started.status).toBe(0);
  expect(started.out).toContain("this is a rehearsal");
  expect(refunds()).toEqual(SMALL);
  expect(closed()).toEqual(EASY);

  const [large] = (await reeveJson(inboxSchema, "inbox")).requests;
  expect(large).toMatchObject({ question: MACHINE, effect: "destroy" });
  expect(started.out).toMatch(/waiting +Refund 489\.00 EUR of order 1013/);
  for (const command of ["approve", "reject"]) expect(started.out).toContain(`${command} ${large.request}\n`);

  const afterYes = await reeveJson(standingSchema, "approve", large.request);
  expect(afterYes).toMatchObject({
    state: "waiting",
    requests: [{ question: DROP, effect: "destroy", pid: large.pid }],
  });
  expect(refunds()).toEqual([...SMALL, LARGE]);
  expect(closed()).toEqual([...EASY.slice(0, 2), ["ticket-3", "refunded"], EASY[2]]);

  const afterNo = await reeveJson(standingSchema, "reject", afterYes.requests[0]?.request ?? "");
  expect(afterNo).toMatchObject({ state: "exited", requests: [], exit: { how: "completed" } });

  // The record holds, and playing it again asks nobody, pays nothing and drops nothing.
  const verified = await reeveJson(verifySchema, "replay", large.pid, "--verify");
  expect(verified).toMatchObject({ identical: true, chain: { intact: true } });
  expect(refunds()).toEqual([...SMALL, LARGE]);
});

it("leaves the machine unpaid after a no, and shows what a yes to the injected statement does", async () => {
  const started = await node("examples/refunds/start.ts");
  const request = /approve (r_\w+)/.exec(started.out)?.[1] ?? "";
  const afterNo = await reeveJson(standingSchema, "reject", request);
  expect(afterNo).toMatchObject({ state: "waiting", requests: [{ question: DROP }] });
  expect(refunds()).toEqual(SMALL);
  expect(closed()).toEqual(EASY);

  const afterYes = await reeveJson(standingSchema, "approve", afterNo.requests[0]?.request ?? "");
  expect(afterYes).toMatchObject({ state: "exited", requests: [], exit: { how: "completed" } });
  expect(ask("SELECT name FROM sqlite_schema WHERE name = 'refunds'")).toEqual([]);
});

it("refuses a folder that holds something else and leaves it as it is", async () => {
  run = folder;
  writeFileSync(join(run, "mine.txt"), "mine");
  const { status, error } = await node("examples/refunds/start.ts");
  expect(status).toBe(1);
  expect(error).toBe(`REFUNDS_RUN names ${run}, which is not empty; name a new folder.\n`);
  expect(readdirSync(run)).toEqual(["mine.txt"]);
});
