// What a benchmark leaves behind: nothing. A temporary folder of its own, and everything that must be undone.
//
// `close` runs what was deferred, last first, and removes the folder; it is also run when the benchmark is interrupted.
import { mkdtempSync, realpathSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Undo = () => Promise<void> | void;

export class Scratch {
  readonly path: string;
  readonly #undo = new Set<Undo>();
  #folders = 0;
  #closing: Promise<void> | undefined;

  /** `parent` is where the folder is made: durability is measured on the file system that it is on. */
  constructor(parent: string = tmpdir()) {
    this.path = realpathSync(mkdtempSync(join(parent, "reeve-bench-")));
  }

  /** A new empty folder. */
  async folder(name: string): Promise<string> {
    this.#folders += 1;
    const path = join(this.path, `${this.#folders}-${name}`);
    await mkdir(path);
    return path;
  }

  /** Has `undo` run at the end; the answer runs it now instead, once. A failure of it is reported on standard error. */
  defer(undo: Undo): () => Promise<void> {
    this.#undo.add(undo);
    return () => this.#run(undo);
  }

  async #run(undo: Undo): Promise<void> {
    if (!this.#undo.delete(undo)) return;
    try {
      await undo();
    } catch (error) {
      // One thing that cannot be undone must not keep the others from it.
      console.error(`Could not clean up: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const undo of [...this.#undo].toReversed()) await this.#run(undo);
    await rm(this.path, { recursive: true, force: true, maxRetries: 5 });
  }
}
