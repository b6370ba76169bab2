// Goal: what agents run stays in its box, as a user meets it: programs, agents of each kind, their files, their way out, and
// what is taken back. Method: the real binary on a project of its own, with real sandboxes.
import { spawnSync } from "node:child_process";
import { hash, randomBytes, randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import type { ProcessId } from "../../src/abi/ids.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "../../src/abi/limits.ts";
import { needs } from "../needs.ts";
import { eventOf, exitOf, journalOf } from "./fixtures/events.ts";
import { Project, type Server } from "./fixtures/project.ts";

const CONFIG = `
import { defineConfig } from "reeve";

export default defineConfig({
  defaultModel: "rehearsal/builder",
  models: { rehearsal: { type: "rehearsal", script: "builder.yaml" } },
  tools: {
    box: { type: "builtin", use: ["shell", "files", "javascript"] },
    shop: { type: "module", file: "shop.ts" },
  },
  sandbox: { posture: "reduced" },
});
`;
const BUILDER = `---
name: builder
description: Builds something in its workspace.
tools: [box.shell, box.write, box.read, box.javascript]
workspace: { from: site }
---
Build it.
`;
const SCRIPT = `
turns:
  - call: [{ tool: box.shell, input: { command: "cat page.txt; echo changed > page.txt; cat /etc/shadow; curl -sS -m 3 http://127.0.0.1:1/ || true" } }]
  - call: [{ tool: box.write, input: { path: new.txt, content: "made by a tool" } }]
  - call: [{ tool: box.javascript, input: { code: "return input.a * 2", input: { a: 21 } } }]
  - say: Built.
`;
const SHOP = `
import { appendFileSync } from "node:fs";
import { tool } from "reeve";
import { z } from "zod";

export const reserve = tool({
  name: "reserve",
  description: "Reserves something.",
  input: z.object({ what: z.string() }),
  effect: "write",
  undo: "release",
  run: ({ what }) => (appendFileSync("shop.log", "reserve " + what + "\\n"), "reserved " + what),
});

export const release = tool({
  name: "release",
  description: "Takes a reservation back.",
  input: z.object({ key: z.string(), tool: z.string(), args: z.object({ what: z.string() }), result: z.json() }),
  effect: "write",
  run: ({ args }) => (appendFileSync("shop.log", "release " + args.what + "\\n"), "released " + args.what),
});
`;
const BUYER = `
import { agent } from "reeve";

export default agent({
  name: "buyer",
  description: "Reserves two things.",
  tools: ["shop.reserve"],
  run: async (sys) => {
    for (const what of ["a cup", "a kettle"]) await sys.tool.call({ tool: "shop.reserve", args: { what } });
    return "done";
  },
});
`;

const changesSchema = z.object({ changes: z.array(z.object({ path: z.string(), change: z.string() })) });
const workspacesSchema = z.object({
  workspaces: z.array(z.object({ pid: z.string(), from: z.string().nullable(), changed: z.number().nullable() })),
});
const hasBubblewrap = spawnSync("bwrap", ["--unshare-all", "--ro-bind", "/", "/", "true"]).status === 0;

needs("bubblewrap that may make namespaces", hasBubblewrap)("what runs for agents", () => {
  let project: Project;
  let server: Server;
  const run = async (agent: string): Promise<ProcessId> => {
    const { pid } = await server.client.process.spawn({ agent, task: "" });
    expect(await exitOf(server.client, pid)).toMatchObject({ how: "completed" });
    return pid;
  };
  const said = async (pid: ProcessId): Promise<string> => JSON.stringify(await journalOf(server.client, pid));

  beforeAll(async () => {
    project = new Project();
    mkdirSync(project.path("site"));
    project.write("site/page.txt", "the page\n");
    project.write("reeve.config.ts", CONFIG);
    project.write("builder.yaml", SCRIPT);
    project.write("agents/builder.md", BUILDER);
    project.write("agents/buyer.ts", BUYER);
    project.write("shop.ts", SHOP);
    project.write(".env", "TOKEN=planted-secret\n");
    server = await project.up();
  });
  afterAll(async () => {
    // What is mounted is unmounted at an orderly end; after a kill somebody else does it, a moment later.
    await server.end("SIGTERM");
    await project.remove();
  });

  it("runs any program in a sandbox and ends with its status; what it wrote is its own", async () => {
    const ended = await project.reeve(
      "exec",
      "--workspace",
      "site",
      "--",
      "sh",
      "-c",
      "cat page.txt; ls -a / ~; env; echo x > page.txt; exit 7",
    );
    expect(ended.status).toBe(7);
    expect(ended.out).toContain("the page\n");
    expect(ended.out).not.toContain("home\n");
    expect(ended.out).not.toContain(project.folder);
    expect(readFileSync(project.path("site/page.txt"), "utf8")).toBe("the page\n");
  });

  it("gives a program what comes in where that is asked for, byte for byte, and leaves it alone where it is not", async () => {
    const bytes = randomBytes(PROGRAM_INPUT_BYTES_MAX);
    const asked = project.start(["exec", "--stdin", "--", "sha256sum"], {}, "idle");
    asked.child.stdin?.end(bytes);
    expect(await asked.ended).toMatchObject({ status: 0, out: `${hash("sha256", bytes)}  -\n` });
    // Nobody ever ends this one.
    expect(await project.start(["exec", "--", "cat"], {}, "idle").ended).toMatchObject({ status: 0, out: "" });
  });

  it("ends with 127 for a program that is not in the sandbox, and 126 for one that cannot be executed, and says so", async () => {
    for (const way of [[], ["--allow", "example.com"]]) {
      const lost = await project.reeve("exec", ...way, "--", "no-such-program");
      expect({ ...lost, error: "" }).toEqual({ status: 127, signal: null, out: "", error: "" });
      expect(lost.error).toMatch(/^reeve: no-such-program: there is no such program in the sandbox.*--workspace/);
    }
    const locked = await project.reeve("exec", "--workspace", "site", "--", "./page.txt");
    expect(locked).toMatchObject({ status: 126, error: expect.stringContaining("chmod +x") as string });
  });

  it("keeps an agent's shell and files in its workspace until somebody commits them", async () => {
    const pid = await run("builder");
    const journal = await said(pid);
    expect(journal).toContain("the page");
    expect(journal).toMatch(/shadow: (No such file|Permission denied)/);
    expect(journal).toContain('"value":42');
    expect(readFileSync(project.path("site/page.txt"), "utf8")).toBe("the page\n");

    const { changes } = await project.json(changesSchema, "diff", pid);
    expect(changes.map(({ path, change }) => `${change} ${path}`).sort()).toEqual([
      "added new.txt",
      "changed page.txt",
    ]);
    await project.json(z.object({}).loose(), "rollback", pid, "--to", "3");
    expect((await project.json(changesSchema, "diff", pid)).changes.map(({ path }) => path)).toEqual(["page.txt"]);
    await project.json(z.object({}).loose(), "commit", pid);
    expect(readFileSync(project.path("site/page.txt"), "utf8")).toBe("changed\n");
    expect(existsSync(project.path("site/new.txt"))).toBe(false);
    const kinds = (await journalOf(server.client, pid)).flatMap(({ header }) =>
      header.kind === "workspace.changed" ? [header.what] : [],
    );
    expect(kinds).toEqual(["snapshot", "snapshot", "rollback", "commit"]);
  });

  it("lists what stands in workspaces, gives none up unasked, and hands over what began empty", async () => {
    const command = ["exec", "--json", "--", "sh", "-c", "echo made > made.txt"];
    expect((await project.reeve(...command)).status).toBe(0);
    const listed = async () => (await project.json(workspacesSchema, "workspace")).workspaces;
    const { pid = "" } = (await listed()).find(({ from, changed }) => from === null && changed === 1) ?? {};
    const kept = await project.reeve("workspace", "remove", pid);
    expect(kept.status).not.toBe(0);
    expect(kept.error).toMatch(/nowhere else: made\.txt.*commit.*--to FOLDER.*--discard/s);
    mkdirSync(project.path("out"));
    expect((await project.reeve("commit", pid)).error).toContain("--to FOLDER");
    await project.json(changesSchema, "commit", pid, "--to", "out");
    expect(readFileSync(project.path("out/made.txt"), "utf8")).toBe("made\n");
    expect((await project.reeve("workspace", "remove", pid)).status).toBe(0);
    expect((await listed()).map((one) => one.pid)).not.toContain(pid);
    const events = await journalOf(server.client, pid as ProcessId);
    const whats = events.flatMap(({ header }) => (header.kind === "workspace.changed" ? [header.what] : []));
    expect(whats.slice(-2)).toEqual(["commit", "remove"]);
  });

  it("runs module agents in sandboxes, and takes back what they did, once", async () => {
    const pid = await run("buyer");
    const ended = await project.reeve("undo", pid);
    expect(ended.out).toContain("shop.release");
    expect(ended.status).toBe(0);
    const log = (): string => readFileSync(project.path("shop.log"), "utf8");
    expect(log()).toBe("reserve a cup\nreserve a kettle\nrelease a kettle\nrelease a cup\n");
    expect((await project.reeve("undo", pid)).out).toContain("taken back already");
    expect(log().split("\n")).toHaveLength(5);
    const undone = (await journalOf(server.client, pid)).filter(({ header }) => header.kind === "call.undone");
    expect(undone).toHaveLength(2);
  });

  it("refuses what nobody granted, names it, and leaves nothing running behind a kill", async () => {
    const denied = await project.reeve(
      "exec",
      "--allow",
      "example.invalid",
      "--",
      "sh",
      "-c",
      "curl -sS -m 5 http://other.invalid/; echo; echo status $?",
    );
    expect(denied.out).toMatch(/no rule|not allowed|refused|denied/i);
    const { pid } = await server.client.process.exec({ command: ["sh", "-c", `${SLEEPER} & ${SLEEPER}`] });
    await eventOf(server.client, { pid, kind: "call.intended" });
    await expect.poll(() => sleepers()).toBeGreaterThan(0);
    await server.client.process.signal({ pid, signal: "kill" });
    await expect.poll(() => sleepers()).toBe(0);
  });
});

/** Of this run alone: another may be under way on this machine. */
const SLEEPER = `sleep ${randomInt(10_000_000, 100_000_000)}`;
const sleepers = (): number =>
  spawnSync("ps", ["-eo", "args"], { encoding: "utf8" })
    .stdout.split("\n")
    .filter((line) => line.startsWith(SLEEPER)).length;
