// K7, at the way out: secrets stay outside. A program sends a placeholder; the way out puts the secret in, toward its registered destination
// alone, and takes it out of what comes back.
//
// Method: an agent has a program run behind a door (in a sandbox, where there is one) and makes a request of its own, to a server that says
// back all that it got, and to another one. Then the secret is looked for in all that the agent saw, and in every byte of its store.
// Unplugged (without the scrubber; without the check of the destination; without the way out, the secret in the program's environment as
// elsewhere), it is found. Over HTTPS the same is asked of one request, and unplugged without a look into TLS. What the machine would tell only
// itself, as clouds tell it its credentials, is asked for by a name that an agent may ask; unplugged without the judging of addresses.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { egressRuleSchema, placeholderOf, sandboxLimitsSchema, secretSchema } from "../../src/abi/isolation.ts";
import type { Json } from "../../src/abi/json.ts";
import type { EgressOptions } from "../../src/drivers/egress-proxy/egress.ts";
import type { addressesOf } from "../../src/drivers/egress-proxy/rules/addresses.ts";
import type { Headers, substitute } from "../../src/drivers/egress-proxy/rules/secrets.ts";
import {
  dial,
  farAuthority,
  get,
  Notebook,
  raw,
  secured,
  startFar,
} from "../../src/drivers/egress-proxy/scene.fake.ts";
import { createBubblewrap } from "../../src/drivers/sandbox-bubblewrap/sandbox.ts";
import { systemClock } from "../../src/drivers/system/clock.ts";
import type { Door, Egress } from "../../src/ports/egress.ts";
import type { Sys } from "../../src/sdk/sys.ts";
import { httpTools } from "../../src/tools/builtin/http.ts";
import { egressNotes } from "../../src/tools/builtin/job.ts";
import { createBuiltinSource } from "../../src/tools/builtin/source.ts";
import { builtinTool } from "../../src/tools/builtin/tool.ts";
import { createTools } from "../../src/tools/registry.ts";
import { needs } from "../needs.ts";
import { bootTest } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const VALUE = "sk-live/7c1f+a9e2&51b0";
const PLACEHOLDER = placeholderOf("BANK");
const DRIVER = "../../src/drivers/egress-proxy";

const mediums: Medium[] = [];
const servers: Server[] = [];
afterEach(async () => {
  vi.doUnmock(`${DRIVER}/rules/scrub.ts`);
  vi.doUnmock(`${DRIVER}/rules/secrets.ts`);
  vi.doUnmock(`${DRIVER}/rules/addresses.ts`);
  vi.resetModules();
  mediums.splice(0).forEach((medium) => medium.dispose());
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

/** Says back what it got in its headers, and keeps it by the host that was asked for. */
async function startServer(): Promise<{ port: number; seen: Map<string, string[]> }> {
  const seen = new Map<string, string[]>();
  const server = createServer((incoming, response) => {
    const host = incoming.headers.host?.split(":")[0] ?? "";
    const got = incoming.rawHeaders.join("\n");
    seen.set(host, [...(seen.get(host) ?? []), got]);
    response
      .writeHead(200, {
        "content-type": "text/plain",
        "x-got": incoming.headers.authorization ?? "",
        connection: "close",
      })
      .end(got);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return { port: (server.address() as AddressInfo).port, seen };
}

/** Runs something behind a door; answers with all that it saw, its environment included. */
type Program = (door: Door, urls: readonly string[], env: Readonly<Record<string, string>>) => Promise<string>;

/** No sandbox: a client on the door's own socket. */
const rawProgram: Program = async (door, urls, env) => {
  const answers = urls.map(
    (url) =>
      new Promise<string>((resolve, reject) => {
        const headers = { host: new URL(url).host, authorization: `Bearer ${env["BANK"]}` };
        request({ socketPath: join(door.folder, "egress.sock"), path: url, headers }, (answer) => {
          void textOf(answer).then((body) => resolve(`${answer.rawHeaders.join("\n")}\n${body}`), reject);
        })
          .once("error", reject)
          .end();
      }),
  );
  return JSON.stringify({ answers: await Promise.all(answers), env: { ...door.env, ...env } });
};

const folder = mkdtempSync(join(tmpdir(), "reeve-k7-"));
const sandbox = createBubblewrap({
  folder,
  uids: { from: 231_000, to: 231_100 },
  warm: { shell: 0, python: 0, node: 0 },
});
const { posture } = await sandbox.state();
afterAll(async () => {
  await sandbox.close();
  rmSync(folder, { recursive: true, force: true });
});

const SCRIPT = `
for (const url of process.argv.slice(1)) {
  const answer = await fetch(url, { headers: { authorization: "Bearer " + process.env.BANK } });
  console.log(JSON.stringify([...answer.headers]), await answer.text());
}
console.log(JSON.stringify(process.env));
console.log(await (await import("node:fs/promises")).readFile("/proc/1/environ", "latin1").catch(String));`;

const sandboxedProgram: Program = async (door, urls, env) => {
  const running = await sandbox.start({
    owner: "test",
    level: "process",
    command: ["/run/reeve-forward/node", "--input-type=module", "-e", SCRIPT, ...urls],
    env,
    mounts: [],
    limits: sandboxLimitsSchema.parse({}),
    door,
  });
  const [stdout, stderr, exit] = await Promise.all([textOf(running.stdout), textOf(running.stderr), running.exit]);
  return JSON.stringify({ stdout, stderr, exit });
};

type Found = {
  /** What the destination and another place got. */
  readonly destination: string;
  readonly elsewhere: string;
  /** All that the agent saw. */
  readonly answers: string;
  /** Every byte of the store. */
  readonly stored: string;
  readonly events: readonly Json[];
};

type Setup = {
  readonly createEgress: (options: EgressOptions) => Egress;
  readonly program: Program;
  readonly bank?: string;
};

/** Has the program run, and asks its destination, another place, and one that no rule allows. */
async function pay(sys: Sys, urls: readonly string[], bank: string): Promise<Json> {
  const [url = "", other = ""] = urls;
  const headers = { authorization: `Basic ${Buffer.from(`user:${bank}`).toString("base64")}` };
  const ran = await sys.tool.call({ tool: "box.run", args: {} });
  const got = await sys.tool.call({ tool: "box.get", args: { url, headers } });
  const elsewhere = await sys.tool.call({ tool: "box.get", args: { url: other, headers } });
  const refused = await sys.tool
    .call({ tool: "box.get", args: { url: "http://bank.example/", headers } })
    .then(({ text }) => text, String);
  return [ran.text, got.text, elsewhere.text, refused];
}

async function attempt({ createEgress, program, bank = PLACEHOLDER }: Setup): Promise<Found> {
  const { port, seen } = await startServer();
  const urls = ["bank.test", "other.test"].map((host) => `http://${host}:${port}/`);
  const to = [{ scheme: "http", host: "bank.test", port }];
  const egress = createEgress({
    secrets: { BANK: secretSchema.parse({ from: "BANK", to }) },
    secretOf: () => VALUE,
    resolve: async () => ["127.0.0.1"],
  });
  const run = builtinTool({
    name: "run",
    description: "Runs the program.",
    input: z.strictObject({}),
    declared: { effect: "read" },
    run: async (_args, options) => {
      const { pid, manifest } = options.process;
      const door = await egress.open({
        owner: pid,
        rules: manifest.egress,
        secrets: manifest.secrets,
        notes: egressNotes(options),
      });
      try {
        return { kind: "done", content: { text: await program(door, urls, { BANK: bank }) } };
      } finally {
        await door.close();
      }
    },
  });
  const source = createBuiltinSource([run, ...httpTools({ egress })], "none");
  const medium = temporaryMedium();
  mediums.push(medium);
  const store = await medium.open();
  const agents = {
    payer: {
      manifest: {
        tools: ["box.run", "box.get"],
        egress: [{ scheme: "http", host: "*.test", port, allowPrivate: true }],
        secrets: ["BANK"],
      },
      run: (sys: Sys) => pay(sys, urls, bank),
    },
  };
  const tools = createTools({
    sources: new Map([["box", { source, overrides: {}, outside: false }]]),
    store,
    clock: systemClock,
    onNotice: () => {},
  });
  const system = await bootTest({ store, agents, tools });
  const { pid } = await system.operate("process.spawn", { agent: "payer", task: null }, "test");
  const { exit } = await system.operate("process.wait", { pid, timeoutMs: 20_000 }, "test");
  const { events } = await system.operate("journal.read", { pid }, "test");
  system.close();
  await egress.close();
  await store.close();
  const files = readdirSync(medium.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return {
    destination: seen.get("bank.test")?.join("\n") ?? "",
    elsewhere: seen.get("other.test")?.join("\n") ?? "",
    answers: JSON.stringify(exit),
    stored: files.map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1")).join("\n"),
    events: events.map(({ header, payloads }) => ({ ...header, payloads })),
  };
}

/** In base64 it may stand within longer text: what is the same of it wherever it begins. */
const FORMS = [VALUE, JSON.stringify(VALUE).slice(1, -1), Buffer.from(`user:${VALUE}`).toString("base64").slice(8, -4)];
const holds = (text: string): boolean => FORMS.some((form) => text.includes(form));

const whole = async (): Promise<Setup["createEgress"]> =>
  (await import("../../src/drivers/egress-proxy/egress.ts")).createEgress;

type EgressEvent = {
  readonly kind: string;
  readonly decision: string;
  readonly secrets: readonly string[];
  readonly payloads: { readonly request: { readonly leaked?: readonly string[] } };
};

function expectKept({ destination, elsewhere, answers, stored, events }: Found): void {
  expect(destination.match(/sk-live\/7c1f\+a9e2&51b0/g)).toHaveLength(1);
  expect(destination).toContain(Buffer.from(`user:${VALUE}`).toString("base64"));
  expect([holds(elsewhere), holds(answers), holds(stored), holds(JSON.stringify(events))]).toEqual([
    false,
    false,
    false,
    false,
  ]);
  expect(elsewhere).toContain(PLACEHOLDER);
  expect(answers).toContain(PLACEHOLDER);
  const requests = events
    .map((event) => event as unknown as EgressEvent)
    .filter(({ kind }) => kind === "egress.requested");
  const told = requests.map(
    ({ decision, secrets, payloads }) =>
      `${decision}, sent ${secrets.join()}, misplaced ${(payloads.request.leaked ?? []).join()}`,
  );
  const [destinationToo, elsewhereToo] = ["allow, sent BANK, misplaced ", "allow, sent , misplaced BANK"];
  expect(told.toSorted((a, b) => a.localeCompare(b))).toEqual(
    [destinationToo, destinationToo, elsewhereToo, elsewhereToo, "deny, sent , misplaced BANK"].toSorted((a, b) =>
      a.localeCompare(b),
    ),
  );
}

describe("K7 secrets stay outside, at the way out", () => {
  it("keeps a secret from a client on a door's socket, from the agent, its errors and its store", async () => {
    expectKept(await attempt({ createEgress: await whole(), program: rawProgram }));
  });

  it("breaks when the scrubber is unplugged: what comes back holds the secret, and so do the agent and its store", async () => {
    vi.doMock(`${DRIVER}/rules/scrub.ts`, () => ({ createScrubber: () => undefined }));
    const found = await attempt({ createEgress: await whole(), program: rawProgram });
    expect([holds(found.answers), holds(found.stored)]).toEqual([true, true]);
  });

  it("breaks when the check of the destination is unplugged: another place gets the secret", async () => {
    const anywhere: typeof substitute = (headers: Headers, { secrets }) => ({
      headers: headers.map(([name, value]) => [name, value.replace(PLACEHOLDER, secrets[0]?.value ?? "")] as const),
      sent: [],
      leaked: [],
    });
    vi.doMock(`${DRIVER}/rules/secrets.ts`, async (original) => ({
      ...(await original<object>()),
      substitute: anywhere,
    }));
    const found = await attempt({ createEgress: await whole(), program: rawProgram });
    expect(holds(found.elsewhere)).toBe(true);
  });

  it("breaks without placeholders: a program that has the secret in its environment gives it to whoever asks", async () => {
    const found = await attempt({ createEgress: await whole(), program: rawProgram, bank: VALUE });
    expect([holds(found.elsewhere), holds(found.answers), holds(found.stored)]).toEqual([true, true, true]);
  });
});

/** One request over HTTPS: what its destination got, and what the program did. */
async function payOverTls(createEgress: Setup["createEgress"]): Promise<{ destination: string; answer: string }> {
  const far = await startFar({ tls: ["bank.test"] });
  const place = { host: "bank.test", port: far.port };
  const egress = createEgress({
    secrets: { BANK: secretSchema.parse({ from: "BANK", to: [place] }) },
    secretOf: () => VALUE,
    resolve: async () => ["127.0.0.1"],
    authorities: [farAuthority.pem],
  });
  const rules = [egressRuleSchema.parse({ ...place, allowPrivate: true })];
  const door = await egress.open({ owner: "p", rules, secrets: ["BANK"], notes: new Notebook() });
  const at = `bank.test:${far.port}`;
  const text = `GET / HTTP/1.1\r\nHost: ${at}\r\nAuthorization: Bearer ${PLACEHOLDER}\r\nConnection: close\r\n\r\n`;
  const { text: answer } = await secured(await dial(door, at), {
    servername: "bank.test",
    ca: [],
    careless: true,
    text,
  });
  await egress.close();
  await far.close();
  return { destination: far.seen.map(({ headers }) => headers.join("\n")).join("\n"), answer };
}

describe("K7 secrets stay outside, over HTTPS", () => {
  it("puts a secret in within TLS, and takes it out of what comes back", async () => {
    const { destination, answer } = await payOverTls(await whole());
    expect([destination.includes(VALUE), answer.includes(PLACEHOLDER), holds(answer)]).toEqual([true, true, false]);
  });

  it("breaks when the look into TLS is unplugged: nothing is put in, and the program would need the secret itself", async () => {
    vi.doMock(`${DRIVER}/rules/secrets.ts`, async (original) => ({
      ...(await original<object>()),
      isRegistered: () => false,
    }));
    const { destination } = await payOverTls(await whole());
    expect([destination.includes(VALUE), destination.includes(PLACEHOLDER)]).toEqual([false, true]);
  });
});

/** What the machine's cloud tells the machine alone, asked for by a name that the agent may ask, and by Reeve itself for it. */
async function askMachine(createEgress: Setup["createEgress"]): Promise<string> {
  const credential = `{"AccessKeyId":"${VALUE}"}`;
  const far = await startFar({ handle: (_request, response) => void response.end(credential) });
  const egress = createEgress({ secrets: {}, secretOf: () => undefined, resolve: async () => ["127.0.0.1"] });
  const rules = [egressRuleSchema.parse({ scheme: "http", host: "*.test", port: far.port })];
  const opening = { owner: "p", rules, secrets: [], notes: new Notebook() };
  const door = await egress.open(opening);
  const url = `http://rebound.test:${far.port}/latest/meta-data/iam/security-credentials/role`;
  const limits = { signal: new AbortController().signal, responseBytesMax: 10_000 };
  const own = egress
    .request({ url, method: "GET", headers: {} }, opening, limits)
    .then(({ body }) => Buffer.from(body).toString(), String);
  const answers = await Promise.all([raw(door, get(url)), own]);
  await egress.close();
  await far.close();
  return answers.join("\n");
}

describe("K7 secrets of the machine stay outside", () => {
  it("keeps from an agent what the machine is told at an address of its own", async () => {
    const answers = await askMachine(await whole());
    expect(answers).not.toContain(VALUE);
    expect(answers.match(/not public/g)).toHaveLength(2);
  });

  it("breaks when the judging of addresses is unplugged: the agent has the machine's credentials, twice", async () => {
    const any: typeof addressesOf = async (host, _allowPrivate, { resolve }) => ({
      kind: "found",
      addresses: await resolve(host),
    });
    vi.doMock(`${DRIVER}/rules/addresses.ts`, async (original) => ({
      ...(await original<object>()),
      addressesOf: any,
    }));
    expect((await askMachine(await whole())).split(VALUE)).toHaveLength(3);
  });
});

needs("a sandbox of native code (bubblewrap)", posture !== "none")("K7 in a sandbox", () => {
  it("keeps a secret from a program in it: from its environment, what it is answered, and what it prints", async () => {
    expectKept(await attempt({ createEgress: await whole(), program: sandboxedProgram }));
  });
});
