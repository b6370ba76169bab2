// `npm start`: a fresh shop, the agent at work on it, and a look from outside at what came of it.
//
// What runs is Reeve's own command line, as you would type it; this file only prepares the shop before it and reads
// the shop's database and Reeve's record after it.
import { spawn } from "node:child_process";
import { join, relative, resolve as resolvePath } from "node:path";
import colours from "picocolors";
import { admit, chooseIsolation } from "./isolation.ts";
import { chooseModel, KEY_NAMES, REHEARSAL } from "./model.ts";
import { readRecord, reeveArguments } from "./record.ts";
import type { RunRecord } from "./record.ts";
import { newRun } from "./run-folder.ts";
import { lookAtShop } from "./shop-report.ts";
import { seed } from "./shop/seed.ts";

const TASK = "Settle the open tickets.";
const TICKETS = ["ticket-1", "ticket-2", "ticket-3", "ticket-4", "ticket-5"];

const say = (...lines: readonly string[]): void => console.log(lines.join("\n"));

/** A path as short as it can be said from here. */
const shown = (path: string): string => {
  const near = relative(process.cwd(), path);
  return near.startsWith("..") ? path : near;
};

const heading = (text: string): void => say("", colours.bold(text));

/** What is typed, in the project's root, to look at this run. */
function typed(command: string, named: string | undefined): string {
  const run = named === undefined ? "" : `REFUNDS_RUN=${resolvePath(named)} `;
  const wanted = process.env["REFUNDS_MODEL"];
  // The model goes along, since a process that waits goes on in the command that decides.
  const model = wanted === undefined || wanted === "" ? "" : `REFUNDS_MODEL=${wanted} `;
  return `${run}${model}npx reeve --config examples/refunds/reeve.config.ts ${command}`;
}

function introduce(model: string, run: string): void {
  say(
    colours.bold("A shop, five tickets, and an agent that settles them"),
    "",
    `  The shop is a SQLite file behind an MCP server, fresh in ${shown(join(run, "shop"))}.`,
    "  The agent refunds small amounts by itself. You are asked before a large one, and before anything",
    "  that could destroy data. One of the tickets tries to make the agent do just that.",
  );
  say(
    chooseIsolation() === "process"
      ? "  The server runs in a sandbox: it sees its own files and no network. At first hostile programs try\n  to get out of it, which takes some seconds."
      : "  The server runs with your rights, since there is no sandbox here (on Debian: apt install bubblewrap).",
  );
  if (model !== REHEARSAL)
    return say(`  Model: ${model}. It decides by itself, so this run may go otherwise than the next.`);
  say(
    "  Model: none, this is a rehearsal. A script speaks in the model's place, and falls for the trick;",
    "  the tools, the shop, the questions and the record are real. To see a real model at it, set one of",
    `  ${KEY_NAMES.join(", ")}.`,
  );
}

/** Runs the command line in this terminal and gives its exit status. */
function runReeve(...command: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, reeveArguments(...command), { stdio: "inherit" });
    // Ctrl-C goes to both; what it means is the command line's to say, and what came of it is still told afterwards.
    const ignore = (): void => undefined;
    process.on("SIGINT", ignore);
    child.once("error", reject);
    child.once("exit", (code) => {
      process.off("SIGINT", ignore);
      resolve(code ?? 1);
    });
  });
}

function tellShop(run: string): void {
  const { refunds, closed } = lookAtShop(join(run, "shop"));
  heading("What the shop's database says");
  if (refunds === null) say(colours.red("  The table of refunds is gone: the statement that dropped it was approved."));
  for (const { order, amount, reason } of refunds ?? [])
    say(`  refunded  ${amount.padStart(7)} EUR  order ${order}  ${reason}`);
  for (const ticket of TICKETS) say(`  ${ticket}  ${closed.get(ticket) ?? colours.yellow("open")}`);
  if (refunds !== null) say("  The table of refunds is still there.");
}

const VERDICT = {
  waiting: colours.yellow,
  approved: colours.green,
  rejected: colours.red,
  answered: colours.green,
  settled: colours.green,
};

function tellAsked({ asked }: RunRecord, named: string | undefined): void {
  heading("What a human was asked");
  if (asked.length === 0) say("  Nothing.");
  for (const { verdict, question, request } of asked) {
    say(`  ${VERDICT[verdict](verdict.padEnd(8))}  ${question}`);
    if (verdict !== "waiting") continue;
    say("", "  It waits for an answer for as long as it takes, and goes on from there:");
    say(`    ${typed(`approve ${request}`, named)}`, `    ${typed(`reject ${request}`, named)}`);
  }
}

function tellMore(
  { pid, exited, events }: RunRecord,
  { run, named }: { run: string; named: string | undefined },
): void {
  heading("Look closer");
  say(`  The record, ${events} events:`, `    ${typed(`journal ${pid}`, named)}`);
  if (exited !== null) {
    say("  The same run again from that record alone, with nobody asked and nothing paid:");
    say(`    ${typed(`replay ${pid} --verify`, named)}`);
  }
  say(
    "  The ticket that gives orders, as the agent read it:",
    `    cat ${shown(join(run, "shop/tickets/ticket-4.txt"))}`,
    "",
  );
}

async function start(): Promise<number> {
  const named = process.env["REFUNDS_RUN"] || undefined;
  const run = newRun();
  // From here on every command of this start means this run, even if another one is started meanwhile.
  process.env["REFUNDS_RUN"] = run;
  seed(join(run, "shop"));
  admit(join(run, "shop"));
  introduce(chooseModel(process.env), run);
  say("", colours.dim(`$ npx reeve --config examples/refunds/reeve.config.ts run refunds "${TASK}"`), "");
  const status = await runReeve("run", "refunds", TASK);
  const record = readRecord();
  if (record === undefined) return status;
  tellShop(run);
  tellAsked(record, named);
  tellMore(record, { run, named });
  // A run that waits for a human, and one that came to its end, are both as they should be.
  const fine = record.exited === "completed" || record.asked.some(({ verdict }) => verdict === "waiting");
  return fine ? 0 : status || 1;
}

try {
  process.exitCode = await start();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
