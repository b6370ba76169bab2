// Goal: however the end of a server and a message to it fall together, how it ended is what is told. Method: a program that is made up,
// whose end is known before its output has come to its own.
import { expect, test } from "vitest";
import { PassThrough } from "node:stream";
import type { Launched } from "./launch.ts";
import { StdioTransport } from "./stdio-transport.ts";

const PING = { jsonrpc: "2.0", id: 1, method: "ping" } as const;

type Made = { readonly transport: StdioTransport; readonly program: Launched; readonly end: () => void };

function made(): Made {
  let end = (): void => {};
  const program: Launched = {
    ...{ pid: 1, stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() },
    ended: new Promise((resolve) => (end = () => resolve("exited with code 1"))),
    ask: () => {},
    kill: () => {},
  };
  return { transport: new StdioTransport(() => Promise.resolve(program)), program, end };
}

function outputEndsLater({ stdout, stderr }: Launched): void {
  setTimeout(() => {
    stdout.destroy();
  }, 20);
  setTimeout(() => {
    (stderr as PassThrough).end("no such table\n");
  }, 40);
}

test("a message to a server that has just ended is refused with how it ended, and it died by itself", async () => {
  const { transport, program, end } = made();
  await transport.start();
  end();
  await Promise.resolve();
  outputEndsLater(program);
  await expect(transport.send(PING)).rejects.toThrow(/^exited with code 1$/);
  await transport.close();
  expect(transport.diedByItself).toBe(true);
  expect(transport.describe()).toBe("exited with code 1; its standard error ends: no such table");
});

test("so is one whose last byte it did not take", async () => {
  const { transport, program, end } = made();
  await transport.start();
  program.stdin.destroy(new Error("EPIPE"));
  setTimeout(end, 10);
  outputEndsLater(program);
  await expect(transport.send(PING)).rejects.toThrow(/^exited with code 1$/);
  await transport.close();
  expect(transport.diedByItself).toBe(true);
});
