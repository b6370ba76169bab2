// Verdicts of full tests that passed, each in a file under the hash of what it depends on.
//
// Invariants:
//   W1. A file is whole or not there: it is written aside, made durable, and renamed.
//   W2. What cannot be read, or does not say what it should, counts as not there, and the driver is tested again.
//   W3. A failure is never kept: the next test may find what was mended.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Sandbox, SelfTestReport } from "../../ports/sandbox.ts";

/** Raised when payloads or their judgement change in a way that their names do not show. */
const EDITION = 3;

const keptSchema = z.strictObject({
  edition: z.literal(EDITION),
  driver: z.string(),
  atMs: z.number(),
  verdicts: z.array(
    z.strictObject({
      payload: z.string(),
      tries: z.string(),
      verdict: z.enum(["contained", "surface", "escaped", "no_verdict"]),
      expected: z.literal(true),
      detail: z.string(),
    }),
  ),
});
type Kept = z.infer<typeof keptSchema>;

export class Verdicts {
  readonly #folder: string;
  readonly #version: string;

  constructor(folder: string, version: string) {
    this.#folder = folder;
    this.#version = version;
  }

  async read(sandbox: Sandbox): Promise<Kept | undefined> {
    try {
      const kept = keptSchema.parse(JSON.parse(await readFile(await this.#fileOf(sandbox), "utf8")));
      return kept.driver === sandbox.name ? kept : undefined;
    } catch {
      // Not there, damaged, or of another edition: it is tested again.
      return undefined;
    }
  }

  /** Keeps what passed; forgets what was kept where it did not. */
  async write(sandbox: Sandbox, report: SelfTestReport): Promise<void> {
    const file = await this.#fileOf(sandbox);
    if (!report.passed) return rm(file, { force: true });
    const kept = { edition: EDITION, driver: report.driver, atMs: report.atMs, verdicts: report.verdicts };
    const aside = `${file}.${randomBytes(4).toString("hex")}`;
    await mkdir(this.#folder, { recursive: true });
    const handle = await open(aside, "wx");
    try {
      await handle.writeFile(`${JSON.stringify(kept, undefined, 1)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, file);
  }

  async #fileOf(sandbox: Sandbox): Promise<string> {
    const { fingerprint, posture } = await sandbox.state();
    const facts = [EDITION, this.#version, process.version, sandbox.name, sandbox.level, fingerprint, posture];
    return join(this.#folder, `${createHash("sha256").update(JSON.stringify(facts)).digest("hex")}.json`);
  }
}
