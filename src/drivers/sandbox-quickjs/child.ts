// The child that interprets snippets: JavaScript in QuickJS (package `run`), each in a fresh context on a thread that the
// package makes for it. It does one at a time, with nothing in its environment, under Node's permission model.
//
// What a snippet prints goes to this process's standard output and is nothing but text; replies go by the channel that
// only this file writes to.
import { createRunner } from "run";
import type { Order, Reply } from "./frames.ts";

const runner = createRunner({});

const reply = (message: Reply): void => void process.send?.(message);

const field = (error: unknown, name: "code" | "message" | "stack"): string => {
  const value =
    typeof error === "object" && error !== null && name in error ? (error as Record<string, unknown>)[name] : "";
  return typeof value === "string" ? value : "";
};

/** The message, and the places in the snippet that it passed through. */
function textOf(error: unknown): string {
  const message = field(error, "message") || String(error);
  const lines = field(error, "stack").split("\n");
  const frames = lines.filter((line) => line.includes("run.js:")).slice(0, 5);
  const name = lines[0]?.split(":")[0] ?? "";
  const named = /^[A-Za-z]+Error$/.test(name) ? `${name}: ${message}` : message;
  return [named, ...frames].join("\n");
}

async function interpret(order: Order): Promise<Reply> {
  try {
    const result = await runner.run({
      source: order.source,
      limits: {
        timeoutMs: order.timeoutMs,
        memoryLimitBytes: order.memoryBytes,
        maxResultBytes: order.resultBytesMax,
        maxConsoleOutputBytes: order.consoleBytesMax,
        maxSourceBytes: order.sourceBytesMax,
      },
    });
    if (result.status !== "completed") return { kind: "failed", code: "", message: "the snippet was interrupted" };
    return { kind: "value", json: jsonOf(result.value) };
  } catch (error) {
    return { kind: "failed", code: field(error, "code"), message: textOf(error) };
  }
}

/** A value that JSON cannot hold fails the snippet, with words that say so. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "null";
  } catch (error) {
    throw new Error(`the result cannot be written as JSON: ${field(error, "message")}`, { cause: error });
  }
}

process.on("message", (order: Order) => {
  void interpret(order).then((answer) => {
    // What was printed is on its way before the answer is.
    process.stdout.write("", () => process.stderr.write("", () => reply(answer)));
  });
});
// Without the host there is nobody to interpret for.
process.on("disconnect", () => process.exit(0));
reply({ kind: "ready" });
