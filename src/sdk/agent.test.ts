// What `agent({ … })` accepts, and what it hands to whoever runs it.
import { expect, test } from "vitest";
import { agent } from "./agent.ts";

const declared = { name: "adder", description: "Adds." };

test("fills in defaults and carries the brand", () => {
  const made = agent({ ...declared, run: async () => undefined });
  expect(made.manifest).toMatchObject({ name: "adder", tools: [], turns: 100, conversation: "none" });
  expect(Object.getOwnPropertySymbols(made)).toEqual([Symbol.for("reeve.agent")]);
});

test("the program gets a sys over the given issue, and the task", async () => {
  const made = agent({
    ...declared,
    run: async (sys, task) => {
      const { ms } = await sys.clock.now();
      return { ms, task };
    },
  });
  const issued: string[] = [];
  const result = await made.program(async (number, syscall) => {
    issued.push(`${number} ${syscall}`);
    return { ms: 12 };
  }, "go");
  expect(result).toEqual({ ms: 12, task: "go" });
  expect(issued).toEqual(["0 clock.now"]);
});

test("a program that returns nothing has the result null", async () => {
  const made = agent({ ...declared, run: async () => {} });
  expect(await made.program(async () => null, null)).toBeNull();
});

test("faults are named, each with its key", () => {
  const wrong = { name: "no spaces please", description: "", toolz: [], run: "soon" };
  expect(() => agent(wrong as never)).toThrow(/name: is not a name.*description: .*toolz.*run: is not a function/s);
  expect(() => agent(wrong as never)).toThrow(expect.objectContaining({ code: "agent_invalid" }));
});
