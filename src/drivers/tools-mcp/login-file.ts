// What a login gave, kept in a file of the data folder that its owner alone may read. It is not encrypted.
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { StoredOAuthClientInformation, StoredOAuthTokens } from "@modelcontextprotocol/client";

/** Client and tokens bear the issuer that they are for; the library gives them to nobody else. */
export type Kept = {
  /** The server that it is for: another address gets nothing of it. */
  readonly url: string;
  readonly client?: StoredOAuthClientInformation;
  readonly tokens?: StoredOAuthTokens;
  /** What the server asked for beyond what was granted, with what was granted. */
  readonly wantedScope?: string;
};

export class LoginFile {
  readonly #path: string;
  readonly #url: string;

  constructor(path: string, url: string) {
    this.#path = path;
    this.#url = url;
  }

  /** Nothing for a file that is not there, or is for another address. Throws if it cannot be read. */
  read(): Kept {
    try {
      const kept = JSON.parse(readFileSync(this.#path, "utf8")) as Kept;
      return kept.url === this.#url ? kept : { url: this.#url };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return { url: this.#url };
      throw error;
    }
  }

  write(kept: Omit<Kept, "url">): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    const fresh = `${this.#path}.new`;
    writeFileSync(fresh, JSON.stringify({ ...kept, url: this.#url }), { mode: 0o600 });
    // A file that was left there by a crash keeps its mode.
    chmodSync(fresh, 0o600);
    renameSync(fresh, this.#path);
  }

  /** Answers whether there was anything. */
  remove(): boolean {
    const { client, tokens } = this.read();
    rmSync(this.#path, { force: true });
    return client !== undefined || tokens !== undefined;
  }
}
