// A host for tests: the fake system behind the real API, output captured, a terminal if the test wants one.
import { PassThrough, Writable } from "node:stream";
import { afterEach, beforeEach } from "vitest";
import { OsError } from "../abi/errors.ts";
import { waitForBrowser } from "../drivers/browser/browser.ts";
import { createHttpApi, type HttpApi } from "../gateway/http.ts";
import { listen } from "../gateway/listen.ts";
import { FAKE_NOW_MS, FakeSystem } from "../gateway/system.fake.ts";
import { runCli } from "./cli.ts";
import type { CliHost, OnNotice } from "./host.ts";

class Captured extends Writable {
  text = "";
  readonly isTTY: boolean;
  readonly columns: number;

  constructor(isTTY: boolean, columns: number) {
    super();
    this.isTTY = isTTY;
    this.columns = columns;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

class Keyboard extends PassThrough {
  readonly isTTY: boolean;
  isRaw = false;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  setRawMode(raw: boolean): this {
    this.isRaw = raw;
    return this;
  }
}

const TOKEN = "the-token";
const URL_SERVER = "http://127.0.0.1:4180";

export type FakeHostOptions = {
  readonly terminal?: boolean;
  /** Whether one is running already. */
  readonly server?: boolean;
  /** Of the terminal. */
  readonly columns?: number;
};
export type Ended = { readonly status: number; readonly out: string; readonly err: string };

export class FakeHost implements CliHost {
  readonly version = "0.1.0";
  readonly system = new FakeSystem();
  readonly stdout: Captured;
  readonly stderr: Captured;
  readonly stdin: Keyboard;
  readonly env: Record<string, string> = {};
  /** What was booted, and what was closed again. */
  readonly booted: string[] = [];
  notices: string[] = [];
  /** What the system that was booted says unasked. */
  tells: OnNotice = () => undefined;
  bootError: OsError | undefined;
  readonly #api: HttpApi;
  readonly #server: boolean;
  #interrupt = (): void => undefined;

  constructor({ terminal = false, server = false, columns = 100 }: FakeHostOptions = {}) {
    this.stdout = new Captured(terminal, columns);
    this.stderr = new Captured(terminal, columns);
    this.stdin = new Keyboard(terminal);
    this.#server = server;
    this.#api = createHttpApi({
      system: this.system,
      token: TOKEN,
      version: this.version,
      clock: { nowMs: () => 0, after: () => () => undefined },
    });
  }

  readonly embed: CliHost["embed"] = async ({ config, run, onNotice }) => {
    if (this.bootError !== undefined) throw this.bootError;
    this.tells = onNotice;
    this.booted.push(`embed ${run ? "run" : "read"}${config === undefined ? "" : ` ${config}`}`);
    return {
      fetch: this.#api.fetch,
      token: TOKEN,
      notices: this.notices,
      close: async () => void this.booted.push("closed"),
    };
  };

  readonly serve: CliHost["serve"] = async ({ port = 0 }) => {
    if (this.bootError !== undefined) throw this.bootError;
    this.booted.push("serve");
    const listening = await listen({
      fetch: this.#api.fetch,
      port,
      clock: { nowMs: () => 0, after: () => () => undefined },
    });
    return {
      url: listening.url,
      token: TOKEN,
      folder: "/tmp/project/.reeve",
      notices: this.notices,
      close: () => listening.close().then(() => void this.booted.push("closed")),
    };
  };

  /** A server that runs is reached through the same API: the global `fetch` is given that for the test's time. */
  readonly locate: CliHost["locate"] = async () => {
    if (!this.#server) return null;
    globalThis.fetch = ((request: Request) => this.#api.fetch(request)) as typeof fetch;
    return { url: URL_SERVER, token: TOKEN };
  };

  /** The real one: it is a loopback port and no more. */
  readonly waitForBrowser = waitForBrowser;

  nowMs(): number {
    return FAKE_NOW_MS + 90_000;
  }

  /** A timer fires when everything that was under way has had its turn, however long it was set for. */
  after(_ms: number, fire: () => void): () => void {
    const turn = setImmediate(fire);
    return () => clearImmediate(turn);
  }

  onInterrupt(listener: () => void): () => void {
    this.#interrupt = listener;
    return () => void (this.#interrupt = () => undefined);
  }

  /** Ctrl-C. */
  interrupt(): void {
    this.#interrupt();
  }

  /** Runs a command; its output is what it wrote since the last one. */
  async reeve(...argv: readonly string[]): Promise<Ended> {
    this.stdout.text = "";
    this.stderr.text = "";
    const status = await runCli(argv, this);
    return { status, out: this.stdout.text, err: this.stderr.text };
  }
}

/**
 * Gives each test of a file a host of its own, and takes back what a host of a running server did to the global `fetch`.
 * Called once, where a file's tests begin.
 */
export function eachTestOn(use: (host: FakeHost) => void, options: FakeHostOptions = {}): void {
  const fetchOfNode = globalThis.fetch;
  beforeEach(() => use(new FakeHost(options)));
  afterEach(() => {
    globalThis.fetch = fetchOfNode;
  });
}

export const KEYS = { enter: "\r", down: "\u001b[B", ctrlC: "\u0003", backspace: "\u007f" } as const;

/** The text without colours and other escapes of terminals. */
// oxlint-disable-next-line no-control-regex -- Escapes are what it takes out.
export const bare = (text: string): string => text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "");

export const lines = (...list: readonly string[]): string => `${list.join("\n")}\n`;
export const json = ({ out }: Ended): unknown => JSON.parse(out);
export const jsonLines = ({ out }: Ended): unknown[] =>
  out
    .trimEnd()
    .split("\n")
    .map((line): unknown => JSON.parse(line));

/** An agent `refunds` that looks, asks whether it may refund, refunds if it may, and says so. */
export function giveRefunds(host: FakeHost): void {
  host.system.scripts.set("refunds", async (process) => {
    process.says("Let me ", "look.");
    process.calls("shop.look", { order: 17 }, "480.00 EUR,\n  delivered");
    const { verdict } = await process.asks({
      kind: "approval",
      question: "Refund 480.00 EUR?",
      tool: "shop.refund",
      args: { order: 17 },
      effect: "destroy",
    });
    if (verdict === "rejected") process.fails("shop.refund", { order: 17 }, new OsError("denied", "A human said no."));
    else process.calls("shop.refund", { order: 17 }, "refunded");
    process.says(verdict === "rejected" ? "I may not." : "Refunded.");
    process.exits({ how: "completed", result: { text: "Refunded.", turns: 2 } });
  });
}
