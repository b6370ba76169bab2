// A transaction in PostgreSQL, as those who look into one know it.
import type { Json } from "../../abi/json.ts";
import type { Answer } from "./database.ts";

/** Rows as PostgreSQL's text, beside the types of their columns. */
export type Fetched = Answer & { readonly types: readonly number[] };

/** One transaction. */
export interface Transaction {
  /** Rows up to `rowsMax`; the statement ends there. */
  fetch(text: string, params?: readonly Json[], rowsMax?: number): Promise<Fetched>;
  /** Without bound on the rows, for what is known to give few; answers with the rows affected as well. */
  run(
    text: string,
    params?: readonly unknown[],
  ): Promise<{ readonly affected: number; readonly rows: readonly (readonly (string | null)[])[] }>;
  readonly notices: readonly string[];
}
