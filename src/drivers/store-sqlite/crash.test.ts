// S1 under `kill -9`: whatever a killed process had acknowledged is there, whole and without gaps, and the next one goes on.
//
// Method: a child with several writers says each event that was acknowledged to it on its standard output, and is killed when a number
// of them, drawn from a seed, have been read. The folder is the same in all rounds. Repeat with SEED=<n>.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { expect, it } from "vitest";
import { eventsOf, pidOf } from "../../../test/conformance/store-samples.ts";
import { openSqliteStore } from "./store.ts";

const WRITERS = 5;
const ROUNDS = 5;
/** Each round starts a process; the machine may be busy. Milliseconds. */
const TIMEOUT_MS = 90_000;
const SEED = Number(process.env["SEED"] ?? 7);

/** Each writer alternates small groups and large payloads, so that the kill falls into commits and checkpoints of all sizes. */
const program = (folder: string): string => `
  import { writeSync } from "node:fs";
  import { openSqliteStore } from ${JSON.stringify(new URL("store.ts", import.meta.url).href)};
  import { addressOf, appendOf, pidOf, subject } from ${JSON.stringify(new URL("../../../test/conformance/store-samples.ts", import.meta.url).href)};
  const store = await openSqliteStore({ folder: ${JSON.stringify(folder)} });
  // A pipe that is full for the moment says so; the line must be out before the next append all the same.
  const acknowledge = (line) => {
    for (;;) {
      try {
        return writeSync(1, line);
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
      }
    }
  };
  for (let n = 0; n < ${WRITERS}; n += 1) void (async () => {
    for (let seq = ((await store.lastEvent(pidOf(n)))?.seq ?? -1) + 1; ; seq += 2) {
      const payloads = seq % 3 === 0 ? [{ address: addressOf(seq * 10 + n), subject, text: JSON.stringify("x".repeat(30_000)) }] : [];
      await store.append({ journals: [appendOf(pidOf(n), seq, 2)], payloads });
      acknowledge(n + " " + (seq + 2) + "\\n");
    }
  })();`;

async function killedAfter(acknowledgements: number, folder: string, acknowledged: number[]): Promise<void> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program(folder)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const over = once(child, "exit");
  let heard = 0;
  // Lines that were still under way when the child died count too: it had been told so.
  for await (const line of createInterface({ input: child.stdout })) {
    const [n = 0, events = 0] = line.split(" ").map(Number);
    acknowledged[n] = Math.max(acknowledged[n] ?? 0, events);
    heard += 1;
    if (heard === acknowledgements) child.kill("SIGKILL");
  }
  expect(await over).toEqual([null, "SIGKILL"]);
}

it(
  `loses nothing that was acknowledged in ${ROUNDS} kills (seed ${SEED})`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "reeve-crash-"));
    const acknowledged: number[] = [];
    const moments = fc.sample(fc.integer({ min: 1, max: 400 }), { numRuns: ROUNDS, seed: SEED });
    for (const [round, moment] of moments.entries()) {
      await killedAfter(moment, folder, acknowledged);
      const store = await openSqliteStore({ folder });
      for (let n = 0; n < WRITERS; n += 1) {
        const events = await store.events(pidOf(n), 0, 1_000_000);
        expect(events.length, `round ${round}, writer ${n}`).toBeGreaterThanOrEqual(acknowledged[n] ?? 0);
        expect(events, `round ${round}, writer ${n}`).toEqual(eventsOf(pidOf(n), 0, events.length));
      }
      expect(await store.check(), `round ${round}`).toEqual([]);
      await store.close();
    }
    expect(Math.max(...acknowledged)).toBeGreaterThan(100);
    rmSync(folder, { recursive: true });
  },
  TIMEOUT_MS,
);
