// Goal: refusals are all counted, and neither fill a journal nor shut a door. Method: a ledger alone, and its notes.
import { describe, expect, it } from "vitest";
import { DENIALS_MAX } from "../bounds.ts";
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

describe("what is refused again and again", () => {
  it("is told each time at first, then now and again, and at the end", async () => {
    const { notebook, ledger, refuse, told, overs } = world();
    for (let n = 0; n < 30_000; n += 1) await refuse(`/poll?at=${n}`);
    const ten = Array.from({ length: 10 }, () => 1);
    expect(told()).toEqual([...ten, 90, 900, 9_000]);
    await ledger.settle();
    expect(told()).toEqual([...ten, 90, 900, 9_000, 20_000]);
    expect(overs()).toBe(0);
    expect(notebook.events("requested").at(-1)).toMatchObject({ request: { path: "/poll?at=29999" }, n: "d.14" });
  });

  it("is told apart by what it is, up to a bound, and then as one", async () => {
    const { notebook, ledger, refuse, told } = world();
    await ledger.denied(
      { rule: "method", message: "Not so." },
      { method: "GET", host: "a.test", port: 443, path: "/0" },
    );
    for (let n = 0; n < 3 * DENIALS_MAX; n += 1) await refuse(`/${n}`);
    await ledger.settle();
    expect(told().length).toBeLessThan(DENIALS_MAX + 20);
    expect(told().reduce((sum, times) => sum + times, 0)).toBe(3 * DENIALS_MAX + 1);
    expect(notebook.events("requested").at(-1)).toMatchObject({ request: { others: true } });
  });
});
