// A database of one's own on a PostgreSQL server, for the peers that need one; it is dropped afterwards.
// The server is REEVE_BENCH_POSTGRES, by default postgres://postgres@127.0.0.1:5432/postgres.
import { randomBytes } from "node:crypto";
import pg from "pg";

export type OwnDatabase = {
  readonly url: string;
  readonly durability: string;
  readonly survivesPowerCut: boolean;
  readonly version: string;
  drop(): Promise<void>;
};

const serverUrl = (): string => process.env["REEVE_BENCH_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/postgres";

async function withServer<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: serverUrl(), connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Rejects, naming the server, if it cannot be reached. */
export async function createDatabase(): Promise<OwnDatabase> {
  const name = `reeve_bench_${randomBytes(6).toString("hex")}`;
  const url = new URL(serverUrl());
  const read = async (client: pg.Client, setting: string): Promise<string> => {
    const { rows } = await client.query<{ value: string }>("SELECT current_setting($1) AS value", [setting]);
    return rows[0]?.value ?? "?";
  };
  const settings = await withServer(async (client) => {
    await client.query(`CREATE DATABASE ${name}`);
    const [fsync, commit, method, version] = [
      await read(client, "fsync"),
      await read(client, "synchronous_commit"),
      await read(client, "wal_sync_method"),
      await read(client, "server_version"),
    ];
    return { fsync, commit, method, version };
  }).catch((cause: unknown) => {
    throw new Error(
      `PostgreSQL at ${url.host} cannot be used (set REEVE_BENCH_POSTGRES to another URL): ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  });
  url.pathname = `/${name}`;
  return {
    url: url.href,
    durability: `fsync=${settings.fsync}, synchronous_commit=${settings.commit}, wal_sync_method=${settings.method}`,
    survivesPowerCut: settings.fsync === "on" && settings.commit === "on",
    version: `PostgreSQL ${settings.version.split(" ")[0] ?? ""}`,
    drop: () => withServer(async (client) => void (await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))),
  };
}
