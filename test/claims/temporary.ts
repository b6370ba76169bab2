// A SQLite store in a folder of its own, for one test.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../../src/drivers/store-sqlite/store.ts";
import type { Store } from "../../src/ports/store.ts";

export type Medium = { readonly folder: string; open(): Promise<Store>; dispose(): void };

export function temporaryMedium(): Medium {
  const folder = mkdtempSync(join(tmpdir(), "reeve-test-"));
  return {
    folder,
    open: () => openSqliteStore({ folder }),
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The store with some of its operations replaced. */
export function withParts(store: Store, parts: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => {
      const own: unknown = Reflect.get(parts, name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}
