// The example's configuration: one model, one source of tools, and what each of its tools may do to the world.
//
// The shop's server says what a tool does; this file says what that means here. What is not declared is taken at
// its worst: effect `destroy`, which asks a human each time.
import { join } from "node:path";
import { defineConfig } from "../../src/sdk/author.ts";
import { chooseIsolation } from "./isolation.ts";
import { chooseModel, REHEARSAL } from "./model.ts";
import { currentRun } from "./run-folder.ts";

const run = currentRun();
const model = chooseModel(process.env);

export default defineConfig({
  dataFolder: run,
  defaultModel: model,
  // The rehearsal stands in for a model: it plays a script and needs no account. The providers of real models need
  // no entry here, only their key in the environment.
  models: model === REHEARSAL ? { rehearsal: { type: "rehearsal", script: "refunds.yaml" } } : {},
  // Where Reeve does not run as root some layers are missing; `reeve doctor` names them. Here that will do.
  sandbox: { posture: "reduced" },
  tools: {
    shop: {
      type: "mcp-stdio",
      command: process.execPath,
      args: [join(import.meta.dirname, "shop/server.ts"), join(run, "shop")],
      // In its sandbox it sees this folder and the packages, and writes to its own database and nowhere else.
      isolation: chooseIsolation(),
      sandbox: { write: [join(run, "shop")] },
      tools: {
        list_tickets: { effect: "read" },
        read_ticket: { effect: "read" },
        find_order: { effect: "read" },
        list_refunds: { effect: "read" },
        find_refund_by_key: { effect: "read" },
        // Money within the limit moves without a question, but never twice: the shop knows the key, and after a crash
        // it is asked what became of the call.
        refund: {
          effect: "write",
          idempotency: "key",
          reconcile: "find_refund_by_key",
          summary: "Refund {amount} EUR of order {order}: {reason}",
        },
        // Above the limit it is out of reach once it is gone: a human says yes to each.
        refund_large: {
          effect: "destroy",
          idempotency: "key",
          reconcile: "find_refund_by_key",
          summary: "Refund {amount} EUR of order {order}: {reason}",
        },
        close_ticket: { effect: "write", idempotency: "natural", summary: "Close {ticket} as {outcome}" },
        // One statement can do anything, so it counts as the worst that it could be.
        run_sql: { effect: "destroy", summary: "Run on the shop's database: {statement}" },
      },
    },
  },
});
