// Goal: a login gives tokens to the one server that they are for; an answer that is forged, mixed up, late or a refusal gives nothing;
// what wants a login says so, and a call that was refused for it was not performed.
// Method: a real authorisation server and a real MCP server on loopback, and a browser that follows one redirect.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configSchema } from "../../abi/config.ts";
import type { ToolSource } from "../../ports/tools.ts";
import { caller } from "../../../test/caller.ts";
import { type Authority, MACHINE, openAuthority } from "./authorisation-server.fake.ts";
import type { McpConfig } from "./connection.ts";
import { openScene, type Scene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";

const REDIRECT = "http://127.0.0.1:7/callback";

let authority: Authority;
let scene: Scene;
let loginFolder: string;
let opened: ToolSource[];
beforeEach(async () => {
  authority = await openAuthority();
  loginFolder = mkdtempSync(join(tmpdir(), "reeve-oauth-"));
  scene = openScene(loginFolder, { environment: { MACHINE_SECRET: MACHINE.secret }, loginFolder });
  opened = [];
});
afterEach(async () => {
  await Promise.all(opened.map((source) => source.close()));
  await scene.close();
  await authority.close();
  rmSync(loginFolder, { recursive: true });
});

/** The operator's word that the authorisation server may stand on this machine. */
const toAuthority = (): object => {
  const { hostname: host, port } = new URL(authority.issuer);
  return { host, port: Number(port), scheme: "http", allowPrivate: true };
};

function open(more: Record<string, unknown> = {}): ToolSource {
  const config = configSchema.parse({
    tools: {
      crm: { type: "mcp-http", url: authority.mcp, headers: { "x-team": "blue" }, egress: [toAuthority()], ...more },
    },
  }).tools["crm"] as McpConfig;
  const source = createMcpSource("crm", config, scene.deps);
  opened.push(source);
  return source;
}

const call = (source: ToolSource): ReturnType<ToolSource["call"]> =>
  source.call("refund", { id: "o-1" }, { ...caller(), key: "k", signal: new AbortController().signal });

/** The query that the browser comes back with. */
async function browse(address: string | null | undefined): Promise<string> {
  const response = await fetch(address ?? "", { redirect: "manual" });
  return new URL(response.headers.get("location") ?? "").search.slice(1);
}

async function logIn(source: ToolSource): Promise<void> {
  const begun = await source.login?.({ redirect: REDIRECT });
  const ended = await source.login?.({ redirect: REDIRECT, answer: await browse(begun?.address) });
  expect(ended).toEqual({ address: null });
}

const kept = (): { readonly tokens?: { readonly access_token: string } } =>
  JSON.parse(readFileSync(join(loginFolder, "crm.json"), "utf8")) as never;

test("a source that wants a login says so, with the command; nobody is registered unasked", async () => {
  const source = open();
  await expect(source.tools()).rejects.toMatchObject({
    code: "tool_unavailable",
    message: expect.stringMatching(/"crm" asks who calls.*`reeve tools login crm`/s),
  });
  expect(authority.registered).toEqual([]);
});

test("after a login its tools can be used, over restarts, with tokens that their owner alone may read", async () => {
  await logIn(open());
  expect(authority.registered).toMatchObject([{ client_name: "Reeve", redirect_uris: [REDIRECT] }]);
  expect(authority.asked[0]?.get("resource")).toBe(authority.mcp);
  const source = open();
  expect((await source.tools()).map(({ name }) => name)).toContain("refund");
  expect(await call(source)).toEqual({ kind: "done", content: { text: "k" } });
  expect(statSync(join(loginFolder, "crm.json")).mode & 0o777).toBe(0o600);
  // The headers of the source are for its server alone.
  expect(authority.headers.every((headers) => headers["x-team"] === undefined)).toBe(true);
});

test("tokens are not shown to another address", async () => {
  await logIn(open());
  await expect(open({ url: `${authority.mcp}?other` }).tools()).rejects.toThrow(/asks who calls/);
});

test("a token that has expired is renewed once, however many calls wait for it", async () => {
  const source = open();
  await logIn(source);
  await source.tools();
  const before = kept().tokens?.access_token;
  authority.expire();
  const outcomes = await Promise.all([call(source), call(source), call(source)]);
  expect(outcomes.map(({ kind }) => kind)).toEqual(["done", "done", "done"]);
  expect(authority.asked.map((form) => form.get("grant_type"))).toEqual(["authorization_code", "refresh_token"]);
  expect(kept().tokens?.access_token).not.toBe(before);
});

test("a renewal that is refused asks for a login; the call was not performed", async () => {
  const source = open();
  await logIn(source);
  await source.tools();
  authority.expire();
  authority.faults.revoked = true;
  expect(await call(source)).toMatchObject({
    kind: "not_performed",
    error: { code: "tool_unavailable", message: expect.stringContaining("`reeve tools login crm`") },
  });
  expect(kept().tokens).toBeUndefined();
});

test("rights that are missing are asked for at the next login, beside those that were granted", async () => {
  const source = open();
  await logIn(source);
  authority.faults.callScope = "refunds";
  expect(await call(source)).toMatchObject({
    kind: "not_performed",
    error: { message: expect.stringMatching(/asks for more rights.*\(refunds\).*`reeve tools login crm`/s) },
  });
  const begun = await source.login?.({ redirect: REDIRECT });
  expect(new URL(begun?.address ?? "").searchParams.get("scope")).toBe("tools refunds");
  await source.login?.({ redirect: REDIRECT, answer: await browse(begun?.address) });
  expect(await call(source)).toMatchObject({ kind: "done" });
});

test("a login begins where the server says that its metadata are, with the rights that it asks for", async () => {
  authority.faults.metadataAt = "/elsewhere/metadata";
  authority.faults.loginScope = "basic";
  const begun = await open().login?.({ redirect: REDIRECT });
  const { searchParams } = new URL(begun?.address ?? "");
  expect([searchParams.get("scope"), searchParams.get("resource")]).toEqual(["basic", authority.mcp]);
  const chosen = await open({ oauth: { scope: "own" } }).login?.({ redirect: REDIRECT });
  expect(new URL(chosen?.address ?? "").searchParams.get("scope")).toBe("own");
});

test("after a logout nothing is left", async () => {
  const source = open();
  await logIn(source);
  await source.tools();
  expect(await source.logout?.()).toBe(true);
  await expect(source.tools()).rejects.toThrow(/asks who calls/);
  expect(await source.logout?.()).toBe(false);
});

describe("an answer that gives nothing", () => {
  const refused = async (source: ToolSource, answer: string, why: RegExp, redirect = REDIRECT): Promise<void> => {
    await expect(source.login?.({ redirect, answer })).rejects.toMatchObject({
      code: "denied",
      message: expect.stringMatching(why),
    });
    await expect(source.tools()).rejects.toThrow(/asks who calls/);
  };

  test.each([
    ["an issuer that was not asked", { iss: "http://127.0.0.1:9" }, /issuer/i],
    ["no issuer, where one was promised", { iss: null }, /issuer/i],
    ["a no", { refuse: true }, /access_denied/],
    ["a no of an issuer that was not asked", { refuse: true, iss: "http://127.0.0.1:9" }, /issuer/i],
  ])("%s", async (_, faults, why) => {
    const source = open();
    Object.assign(authority.faults, faults);
    const begun = await source.login?.({ redirect: REDIRECT });
    await refused(source, await browse(begun?.address), why);
    expect(authority.asked).toEqual([]);
  });

  test("a state that was never given out, of another redirect, and one that was used", async () => {
    const source = open();
    const begun = await source.login?.({ redirect: REDIRECT });
    const answer = await browse(begun?.address);
    const forged = new URLSearchParams(answer);
    forged.set("state", "forged");
    await refused(source, forged.toString(), /belongs to no login/);
    await refused(source, answer, /belongs to no login/, "http://127.0.0.1:8/callback");
    await source.login?.({ redirect: REDIRECT, answer });
    await expect(source.login?.({ redirect: REDIRECT, answer })).rejects.toMatchObject({ code: "denied" });
  });

  test("the code of another login", async () => {
    const source = open();
    const [mine, theirs] = [await source.login?.({ redirect: REDIRECT }), await source.login?.({ redirect: REDIRECT })];
    const mixed = new URLSearchParams(await browse(mine?.address));
    mixed.set("code", new URLSearchParams(await browse(theirs?.address)).get("code") ?? "");
    await refused(source, mixed.toString(), /invalid_grant|was refused/);
    expect(() => kept()).toThrow("ENOENT");
  });

  test("metadata that name another issuer begin no login", async () => {
    authority.faults.issuer = "https://elsewhere.example.com";
    await expect(open().login?.({ redirect: REDIRECT })).rejects.toMatchObject({ code: "tool_unavailable" });
  });

  test("an authorisation server that does not say that it knows PKCE begins no login, and nobody is registered", async () => {
    authority.faults.withoutPkce = true;
    await expect(open().login?.({ redirect: REDIRECT })).rejects.toThrow(/"crm" could not be logged in at: .*PKCE/);
    expect(authority.registered).toEqual([]);
  });
});

describe("a machine", () => {
  const oauth = (issuer: string): Record<string, unknown> => ({
    oauth: {
      grant: "client_credentials",
      clientId: MACHINE.id,
      clientSecretFrom: "MACHINE_SECRET",
      issuer,
      scope: "tools",
    },
  });

  test("gets its tokens by itself, again when they expire, and more rights when they are asked for", async () => {
    const source = open(oauth(authority.issuer));
    expect(await call(source)).toMatchObject({ kind: "done" });
    authority.expire();
    expect(await call(source)).toMatchObject({ kind: "done" });
    authority.faults.callScope = "refunds";
    expect(await call(source)).toMatchObject({ kind: "done" });
    expect(authority.asked.map((form) => [form.get("grant_type"), form.get("scope")])).toEqual([
      ["client_credentials", "tools"],
      ["client_credentials", "tools"],
      ["client_credentials", "tools refunds"],
    ]);
  });

  test("does not send its secret to an issuer that it is not for", async () => {
    await expect(open(oauth("https://login.example.com")).tools()).rejects.toMatchObject({ code: "tool_unavailable" });
    expect(authority.asked).toEqual([]);
  });

  test("without its secret in the environment says which variable is missing", async () => {
    const { environment, ...others } = scene.deps;
    expect(environment["MACHINE_SECRET"]).toBe(MACHINE.secret);
    scene = { ...scene, deps: { ...others, environment: {} } };
    await expect(open(oauth(authority.issuer)).tools()).rejects.toThrow(/MACHINE_SECRET is not set/);
  });
});

test("a source whose headers say who calls knows no login", async () => {
  const source = open({ headers: { Authorization: "Bearer x" } });
  await expect(source.login?.({ redirect: REDIRECT })).rejects.toMatchObject({ code: "unsupported" });
  await expect(source.tools()).rejects.toMatchObject({ code: "tool_unavailable" });
});
