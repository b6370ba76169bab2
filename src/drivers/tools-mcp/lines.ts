// Cuts a stream of bytes into lines, holding at most a fixed number of bytes whatever is sent.

const NEWLINE = 0x0a;

export class Lines {
  readonly #bytesMax: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The lines that the chunk completes; null once a line is longer than allowed, and what came of it is forgotten. */
  push(chunk: Buffer): readonly string[] | null {
    const lines: string[] = [];
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      if (!this.#keep(chunk.subarray(from, at))) return null;
      lines.push(Buffer.concat(this.#parts).toString("utf8"));
      this.#forget();
      from = at + 1;
    }
    return this.#keep(chunk.subarray(from)) ? lines : null;
  }

  #keep(part: Buffer): boolean {
    if (this.#bytes + part.length > this.#bytesMax) {
      this.#forget();
      return false;
    }
    this.#bytes += part.length;
    if (part.length > 0) this.#parts.push(part);
    return true;
  }

  #forget(): void {
    this.#parts = [];
    this.#bytes = 0;
  }
}
