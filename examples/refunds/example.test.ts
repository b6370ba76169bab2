// The example's parts fit one another: configuration, agent, script, shop. Nothing is run here; test/e2e/refunds.test.ts does that.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { agentManifestSchema } from "../../src/abi/agents.ts";
import { configSchema } from "../../src/abi/config.ts";
import { chooseModel, REHEARSAL } from "./model.ts";
import config from "./reeve.config.ts";
import { currentRun, newRun } from "./run-folder.ts";

const read = (name: string): string => readFileSync(join(import.meta.dirname, name), "utf8");
const frontMatter = /^---\n([^]*?)\n---\n/.exec(read("agents/refunds.md"))?.[1] ?? "";
const manifest = agentManifestSchema.parse(parse(frontMatter));
const turnSchema = z.object({
  say: z.string().optional(),
  call: z.array(z.strictObject({ tool: z.string(), input: z.record(z.string(), z.unknown()) })).optional(),
});
const script = z
  .strictObject({ turns: z.array(turnSchema.extend({ when_denied: turnSchema.strict().optional() }).strict()) })
  .parse(parse(read("refunds.yaml")));

describe("the example", () => {
  it("has a valid configuration that declares every tool of the agent", () => {
    const { tools } = configSchema.parse(config);
    const declared = Object.keys(tools["shop"]?.tools ?? {}).map((name) => `shop.${name}`);
    expect(declared).toEqual(expect.arrayContaining(manifest.tools));
    expect(tools["shop"]?.tools["run_sql"]?.effect).toBe("destroy");
    expect(tools["shop"]?.tools["refund_large"]?.effect).toBe("destroy");
  });

  it("has a script that calls only what the agent may call, and ends with words on every branch", () => {
    const spoken = script.turns.flatMap((turn) => (turn.when_denied === undefined ? [turn] : [turn, turn.when_denied]));
    for (const call of spoken.flatMap((turn) => turn.call ?? [])) expect(manifest.tools).toContain(call.tool);
    const last = script.turns.at(-1);
    expect([last?.call, last?.when_denied?.call]).toEqual([undefined, undefined]);
    for (const turn of script.turns.slice(0, -1)) expect(turn.call).not.toBe(undefined);
  });
});

describe("the model", () => {
  it("is the rehearsal without a key, a real one with a key, and what REFUNDS_MODEL says in any case", () => {
    expect(chooseModel({})).toBe(REHEARSAL);
    expect(chooseModel({ OPENAI_API_KEY: "" })).toBe(REHEARSAL);
    expect(chooseModel({ OPENAI_API_KEY: "x" })).toMatch(/^openai\//);
    expect(chooseModel({ ANTHROPIC_API_KEY: "x" })).toMatch(/^anthropic\//);
    expect(chooseModel({ GOOGLE_GENERATIVE_AI_API_KEY: "x" })).toMatch(/^google\//);
    expect(chooseModel({ OPENAI_API_KEY: "x", REFUNDS_MODEL: REHEARSAL })).toBe(REHEARSAL);
  });
});

describe("the folder of a run", () => {
  let folder = "";
  const before = process.env["REFUNDS_RUN"];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "reeve-refunds-"));
  });

  afterEach(() => {
    if (before === undefined) delete process.env["REFUNDS_RUN"];
    else process.env["REFUNDS_RUN"] = before;
    rmSync(folder, { recursive: true });
  });

  it("is the next free number and the newest one is looked at", () => {
    delete process.env["REFUNDS_RUN"];
    const runs = join(folder, "runs");
    expect(currentRun(runs)).toBe(join(runs, "run-1"));
    expect([newRun(runs), newRun(runs)]).toEqual([join(runs, "run-1"), join(runs, "run-2")]);
    mkdirSync(join(runs, "run-10"));
    expect(currentRun(runs)).toBe(join(runs, "run-10"));
    expect(newRun(runs)).toBe(join(runs, "run-11"));
  });

  it("is the one that REFUNDS_RUN names, as long as nothing is in it", () => {
    const named = join(folder, "mine");
    process.env["REFUNDS_RUN"] = named;
    expect([newRun(), currentRun()]).toEqual([named, named]);
    writeFileSync(join(named, "something"), "");
    expect(() => newRun()).toThrow(/is not empty; name a new folder/);
    expect(existsSync(join(named, "something"))).toBe(true);
  });
});
