// Who may do what: life of the whole line, and each right.
import { describe, expect, it } from "vitest";
import type { ProcessId } from "../abi/ids.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { CallView, Life, ProcessView } from "../ports/process.ts";
import { createIdentity } from "./liveness.ts";

const identity = createIdentity();

const life = (pid: string, parent: Life | null = null): Life => ({
  pid: pid as ProcessId,
  parent,
  exited: false,
  budget: {},
});

const process = (own: Life, more: Partial<ProcessView> = {}): ProcessView => {
  let root = own;
  while (root.parent !== null) root = root.parent;
  const manifest = { name: "clerk", tools: [], agents: ["helper"] } as unknown as ProcessView["manifest"];
  return {
    pid: own.pid,
    root: root.pid,
    life: own,
    manifest,
    tools: new Map(),
    budget: {},
    spent: {} as ProcessView["spent"],
    standing: {} as ProcessView["standing"],
    deadlineMs: null,
    ...more,
  };
};

const call = (syscall: CallView["syscall"], args: object, more: Partial<CallView> = {}): CallView => ({
  number: 0,
  syscall,
  args: args as CallView["args"],
  effect: "none",
  ...more,
});

describe("life", () => {
  it("is that of the whole line: whoever of it has exited is named", () => {
    const top = life("p_top");
    const middle = life("p_middle", top);
    const low = process(life("p_low", middle));
    expect(() => identity.identify(low)).not.toThrow();
    top.exited = true;
    expect(() => identity.identify(low)).toThrow(
      expect.objectContaining({ code: "process_gone", data: { pid: "p_top" } }) as Error,
    );
    middle.exited = true;
    expect(() => identity.identify(low)).toThrow(expect.objectContaining({ data: { pid: "p_middle" } }) as Error);
    expect(() => identity.identify(process(life("p_other")))).not.toThrow();
  });
});

describe("rights", () => {
  const may = (who: ProcessView, what: CallView): string => {
    const decision = identity.authorise(who, what);
    return decision.kind === "deny" ? decision.rule : decision.kind;
  };

  it("own: every process has it", () => {
    for (const syscall of [
      "model.generate",
      "clock.now",
      "clock.sleep",
      "random.bytes",
      "human.ask",
      "message.receive",
    ] as const)
      expect(may(process(life("p_a")), call(syscall, {}))).toBe("allow");
  });

  it("tools: only those that it was given, told which", () => {
    const tool = { name: "shop.look" } as ToolDefinition;
    const who = process(life("p_a"), { tools: new Map([[tool.name, tool]]) });
    expect(may(who, call("tool.call", { tool: "shop.look", args: {} }, { tool }))).toBe("allow");
    const decision = identity.authorise(who, call("tool.call", { tool: "shop.pay", args: {} }));
    expect(decision).toMatchObject({
      kind: "deny",
      rule: "identity.tools",
      reason: expect.stringContaining("It has: shop.look"),
    });
  });

  it("agents: only those that its agent names", () => {
    expect(may(process(life("p_a")), call("process.spawn", { agent: "helper", task: null }))).toBe("allow");
    expect(may(process(life("p_a")), call("process.spawn", { agent: "clerk", task: null }))).toBe("identity.agents");
  });

  it("tree: messages within it; signals and waits only downwards, at any depth", () => {
    const top = life("p_top");
    const left = life("p_left", top);
    const right = life("p_right", top);
    const below = life("p_below", left);
    const stranger = life("p_stranger");
    const all = [top, left, right, below, stranger];
    const reach = (own: Life, syscall: "message.send" | "process.signal" | "process.wait"): string[] =>
      all
        .filter((target) => may(process(own), call(syscall, { pid: target.pid }, { target })) === "allow")
        .map(({ pid }) => pid);
    expect(reach(left, "message.send")).toEqual(["p_top", "p_left", "p_right", "p_below"]);
    expect(reach(stranger, "message.send")).toEqual(["p_stranger"]);
    for (const syscall of ["process.signal", "process.wait"] as const) {
      expect(reach(top, syscall)).toEqual(["p_left", "p_right", "p_below"]);
      expect(reach(left, syscall)).toEqual(["p_below"]);
      expect(reach(below, syscall)).toEqual([]);
      expect(may(process(top), call(syscall, { pid: "p_gone" }))).toBe("identity.tree");
    }
  });
});
