// Goal: nobody keeps others from looking up names, whatever he asks for. Method: a resolver that answers when it is told to.
import { afterEach, describe, expect, it } from "vitest";
import { LOOKUPS_EACH_MAX, LOOKUPS_MAX } from "../bounds.ts";
import { get, Notebook, raw, ruleOf, Stage } from "../scene.fake.ts";
import { Lookups } from "./lookups.ts";

const stage = new Stage();
afterEach(() => stage.end());

class Resolver {
  readonly asked: string[] = [];
  readonly #open = new Map<string, (addresses: readonly string[]) => void>();

  readonly resolve = (host: string): Promise<readonly string[]> => {
    this.asked.push(host);
    return new Promise((resolve) => this.#open.set(host, resolve));
  };

  async answer(host: string): Promise<void> {
    this.#open.get(host)?.([`for ${host}`]);
    // Whoever waits is served a few turns later.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("looking up names", () => {
  it("lets one asker have some under way, and the others the rest, by turns", async () => {
    const resolver = new Resolver();
    const lookups = new Lookups(resolver.resolve);
    const [greedy, other, third] = [lookups.asker(), lookups.asker(), lookups.asker()];
    for (let n = 0; n < 100; n += 1) void greedy(`g${n}.test`);
    expect(resolver.asked).toHaveLength(LOOKUPS_EACH_MAX);
    const found = other("o.test");
    expect(resolver.asked).toContain("o.test");
    void third("t.test");
    expect(resolver.asked).toHaveLength(LOOKUPS_MAX);
    await resolver.answer("g0.test");
    expect(resolver.asked.at(-1)).toBe("t.test");
    await resolver.answer("o.test");
    expect(await found).toEqual(["for o.test"]);
    expect(resolver.asked.at(-1)).toBe("g2.test");
  });

  it("asks once for a name that is under way, and not at all for one that was given up", async () => {
    const resolver = new Resolver();
    const ask = new Lookups(resolver.resolve).asker();
    const giving = new AbortController();
    const [first, second] = [ask("a.test"), ask("a.test")];
    void ask("b.test");
    void ask("c.test", giving.signal);
    giving.abort();
    void ask("d.test");
    await resolver.answer("a.test");
    expect(await Promise.all([first, second])).toEqual([["for a.test"], ["for a.test"]]);
    expect(resolver.asked).toEqual(["a.test", "b.test", "d.test"]);
  });

  it("goes on after names that nobody knows", async () => {
    const ask = new Lookups((host) =>
      host === "x.test" ? Promise.reject(new Error("ENOTFOUND")) : Promise.resolve([host]),
    ).asker();
    await expect(ask("x.test")).rejects.toThrow("ENOTFOUND");
    await expect(ask("x.test")).rejects.toThrow("ENOTFOUND");
    expect(await ask("y.test")).toEqual(["y.test"]);
  });
});

it("is what doors do: one that asks for names that nobody answers for holds up no other", async () => {
  const asked: string[] = [];
  const resolve = (host: string): Promise<readonly string[]> => {
    asked.push(host);
    return host === "a.test" ? Promise.resolve(["127.0.0.1"]) : new Promise(() => {});
  };
  const far = await stage.far();
  const { egress, door: greedy } = await stage.open([{ scheme: "http", host: "*.slow", port: far.port }], { resolve });
  const spec = {
    owner: "p_2",
    secrets: [],
    rules: [ruleOf({ scheme: "http", host: "a.test", port: far.port, allowPrivate: true })],
  };
  const other = await egress.open({ ...spec, notes: new Notebook() });
  for (let n = 0; n < 20; n += 1) raw(greedy, get(`http://n${n}.slow:${far.port}/`)).catch(() => {});
  while (asked.length < LOOKUPS_EACH_MAX) await new Promise((done) => setImmediate(done));
  expect(await raw(other, get(`http://a.test:${far.port}/`))).toMatch(/^HTTP\/1.1 200 /);
  expect(asked.filter((host) => host.endsWith(".slow"))).toHaveLength(LOOKUPS_EACH_MAX);
});
