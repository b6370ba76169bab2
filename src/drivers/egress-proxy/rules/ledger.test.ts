// Goal: refusals are all counted, and neither fill a journal nor shut a door. Method: a ledger alone, and its notes.
import { describe, expect, it } from "vitest";
import { DENIALS_APART_MAX, DENIALS_MAX } from "../bounds.ts";
import { Notebook } from "../scene.fake.ts";
import { Ledger } from "./ledger.ts";

const REFUSAL = { rule: "none", message: "No rule." } as const;

function world() {
  const notebook = new Notebook();
  let overs = 0;
  const ledger = new Ledger({
    id: "d",
    notes: notebook,
    bytesMax: 1,
    clean: (text) => text,
    onOver: () => (overs += 1),
  });
  const refuse = (path: string): Promise<void> =>
    ledger.denied(REFUSAL, { method: "GET", scheme: "https", host: "a.test", port: 443, path });
  const told = (): number[] => notebook.events("requested").map(({ times }) => (typeof times === "number" ? times : 1));
  return { notebook, ledger, refuse, told, overs: () => overs };
}

const ones = (count: number): number[] => Array.from({ length: count }, () => 1);

describe("what is refused again and again", () => {
  it("is told each time at first, then now and again, and at the end", async () => {
    const { notebook, ledger, refuse, told, overs } = world();
    for (let n = 0; n < DENIALS_MAX + 2_500; n += 1) await refuse(`/poll?at=${n}`);
    expect(told()).toEqual([...ones(DENIALS_MAX + 1), 9, 90, 900]);
    await ledger.settle();
    expect(told()).toEqual([...ones(DENIALS_MAX + 1), 9, 90, 900, 1_500]);
    expect(overs()).toBe(0);
    expect(notebook.events("requested").at(-1)).toMatchObject({
      request: { path: `/poll?at=${DENIALS_MAX + 2_499}` },
      n: `d.${DENIALS_MAX + 5}`,
    });
  });

  it("is told apart by what it is, up to a bound, and then as one", async () => {
    const { notebook, ledger, refuse, told } = world();
    for (let n = 0; n < DENIALS_MAX; n += 1) await refuse("/");
    await ledger.denied(
      { rule: "method", message: "Not so." },
      { method: "GET", host: "a.test", port: 443, path: "/0" },
    );
    for (let n = 0; n < 3 * DENIALS_APART_MAX; n += 1) await refuse(`/${n}`);
    await ledger.settle();
    expect(told().length).toBeLessThan(DENIALS_MAX + DENIALS_APART_MAX + 20);
    expect(told().reduce((sum, times) => sum + times, 0)).toBe(DENIALS_MAX + 3 * DENIALS_APART_MAX + 1);
    expect(notebook.events("requested").at(-1)).toMatchObject({ request: { others: true } });
  });
});
