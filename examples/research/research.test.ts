// Goal: the example's program does what its README says, whoever answers its calls.
// Method: the program alone, with the kernel's part played here; and the tool that searches on the real folder of texts.
import { expect, it } from "vitest";
import type { Json } from "../../src/sdk/author.ts";
import research from "./agents/research.ts";
import { search } from "./tools.ts";

type Call = readonly [syscall: string, args: Json];

/** Runs the program; the human chooses `choice`, and each child says its own name. */
async function play(choice: string): Promise<{ readonly calls: readonly Call[]; readonly result: Json }> {
  const calls: Call[] = [];
  const answers: Readonly<Record<string, (args: Readonly<Record<string, string>>) => Json>> = {
    "process.spawn": ({ agent }) => ({ pid: `p_${agent}` }),
    "process.wait": ({ pid }) => ({ exit: { how: "completed", result: { text: `said by ${pid}`, turns: 2 } } }),
    "human.ask": () => ({ answer: choice, by: "anna" }),
    "clock.now": () => ({ ms: Date.UTC(2026, 10, 22) }),
    "tool.call": () => ({ text: "Written." }),
  };
  const result = await research.program((_number, syscall, args) => {
    calls.push([syscall, args]);
    return Promise.resolve(answers[syscall]?.(args as Readonly<Record<string, string>>) ?? null);
  }, "Is it worth it?");
  return { calls, result };
}

it("has both sides heard at once, asks, and saves the report in the order that was chosen", async () => {
  const { calls, result } = await play("sceptic");
  expect(calls.map(([syscall]) => syscall)).toEqual([
    "process.spawn",
    "process.spawn",
    "process.wait",
    "process.wait",
    "human.ask",
    "clock.now",
    "tool.call",
  ]);
  const report =
    "# Is it worth it?\n\n## The sceptic\n\nsaid by p_sceptic\n\n## The advocate\n\nsaid by p_advocate\n\n" +
    "2026-11-22, order chosen by anna";
  expect(calls.at(-1)).toEqual([
    "tool.call",
    { tool: "library.save", args: { name: "report-2026-11-22", text: `${report}\n` } },
  ]);
  expect(result).toEqual({ text: `${report}\n\nWritten.` });
});

it("leads with the advocate unless the sceptic was chosen", async () => {
  const { result } = await play("advocate");
  expect(JSON.stringify(result)).toMatch(/The advocate.*The sceptic/);
});

it("may spawn the agents that it spawns, and no others", () => {
  expect(research.manifest).toMatchObject({ agents: ["advocate", "sceptic"], tools: ["library.save"] });
});

it("finds paragraphs of the library by a word, with their file", async () => {
  const { data } = await search.run({ word: "silt" }, { key: "k", signal: new AbortController().signal });
  expect(data).toEqual({
    found: [{ file: "rance.txt", paragraph: expect.stringContaining("Silt settled") as string }],
  });
});
