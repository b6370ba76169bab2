// Goal: whatever is wrong with what Reeve is given, it says which thing and what to do about it, in words and without a
// trace of its stack; and what was there before is there afterwards and goes on. Method: the real command line, in projects
// that each hold a process which waits for a human's answer while things go wrong around it.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { ProcessId } from "../../src/abi/ids.ts";
import { exitOf, journalOf } from "./fixtures/events.ts";
import { fillWithFaults } from "./fixtures/faulty.ts";
import { type Ended, Project, type Server, STACK } from "./fixtures/project.ts";
import { needs } from "../needs.ts";

const summarySchema = z.object({
  pid: z.custom<ProcessId>((value) => typeof value === "string"),
  exit: z.object({ how: z.string(), result: z.json().optional() }).nullable(),
  requests: z.array(z.object({ request: z.string() })),
});
const inboxSchema = z.object({ requests: z.array(z.object({ request: z.string() })) });

type Expected = { readonly status: number; readonly says: readonly (string | RegExp)[] };

const fits = (text: string, part: string | RegExp): boolean =>
  typeof part === "string" ? text.includes(part) : part.test(text);

/** The command failed with this status, and its message names all of this. */
function expectFailure({ status, error, out }: Ended, expected: Expected): void {
  for (const part of expected.says) expect(fits(error, part), `${String(part)} in: ${error}`).toBe(true);
  expect(error + out).not.toMatch(STACK);
  expect(error).not.toContain("internal");
  expect(status).toBe(expected.status);
}

/** A process that asks a human and waits. */
async function earlier(project: Project): Promise<string> {
  const { status, out } = await project.reeve("run", "asker", "Rex", "--json");
  expect(status).toBe(6);
  return summarySchema.parse(JSON.parse(out.trimEnd().split("\n").at(-1) ?? "")).requests[0]?.request ?? "";
}

/** The process is there and still waits for the same answer. */
async function expectThere(project: Project, request: string): Promise<void> {
  expect(await project.json(inboxSchema, "inbox")).toMatchObject({ requests: [{ request }] });
}

/** It gets its answer and goes on to its end. */
async function expectGoesOn(project: Project, request: string): Promise<void> {
  const { exit } = await project.json(summarySchema, "approve", request, "--answer", "Rex");
  expect(exit).toEqual({ how: "completed", result: { answer: "Rex" } });
}

describe("agents, tools and models", () => {
  let project: Project;
  let server: Server;
  let request: string;
  beforeAll(async () => {
    project = new Project();
    request = await earlier(project);
    fillWithFaults(project);
    server = await project.up();
  });
  afterAll(() => project.remove());

  const begun: readonly (Expected & { readonly agent: string })[] = [
    {
      agent: "nosuch",
      status: 4,
      says: ['no agent "nosuch"', /agents; there are .*asker/, "`npx reeve doctor` says why"],
    },
    {
      agent: "no-front-matter",
      status: 2,
      says: ["agents/no-front-matter.md", "line 1: there is no front matter. Begin"],
    },
    {
      agent: "unknown-key",
      status: 2,
      says: ["agents/unknown-key.md", 'line 3: unknown key "colour"; the keys are name,'],
    },
    { agent: "no-description", status: 2, says: ["agents/no-description.md", "description:"] },
    { agent: "broken-yaml", status: 2, says: ["agents/broken-yaml.md", /line \d/] },
    {
      agent: "throws",
      status: 2,
      says: ["agents/throws.ts", "threw Error: no luck today (agents/throws.ts:1:7). Correct"],
    },
    { agent: "no-agent", status: 2, says: ["agents/no-agent.ts", "Write `export default agent({"] },
    { agent: "half", status: 2, says: ["agents/half.ts", "SyntaxError"] },
    { agent: "unknown-tool", status: 4, says: ['"fun" has no tool "nosuch"', "2 tools"] },
    { agent: "unknown-source", status: 4, says: ['"funn.*" is no tool', "Did you mean fun.*?", "The sources are"] },
    {
      agent: "use-absent",
      status: 1,
      says: ['MCP server "absent" could not be started', '"no-such-program"', "tools.absent"],
    },
    {
      agent: "use-exits",
      status: 1,
      says: ['"exits" could not be started', "code 7", "no licence found", "tools.exits"],
    },
    { agent: "use-hangs", status: 1, says: ['"hangs" did not answer within 300 ms', "tools.hangs"] },
    { agent: "use-floods", status: 1, says: ['"floods" could not be started', "a line of more than", "tools.floods"] },
  ];
  it.each(begun)("$agent: nothing is started, and it is said why", async ({ agent, ...expected }) => {
    const known = (await server.client.process.list({})).processes.length;
    expectFailure(await project.reeve("run", agent, "hello"), expected);
    expect((await server.client.process.list({})).processes).toHaveLength(known);
  });

  it.each([
    {
      agent: "unknown-model",
      says: ['no model provider "nosuch"', "Providers here:", "`models` in the configuration"],
    },
    { agent: "no-key", says: ["provider keyless", "MISSING_KEY is not set", "Set MISSING_KEY to a key"] },
  ])("$agent: the process fails, and says why", async ({ agent, says }) => {
    const { status, out, error } = await project.reeve("run", agent, "hello");
    expectFailure({ status, error: out, out: error, signal: null }, { status: 1, says });
  });

  it.each([
    {
      agent: "use-dies",
      error: "tool_unavailable",
      says: /"dies" got the call.*ended without an answer.*may be called again/,
    },
    { agent: "use-babbles", error: "tool_failed", says: /"babbles" answered the call, .* its answer is no result/ },
    { agent: "use-throws", error: "tool_failed", says: /out of paper/ },
    { agent: "use-odd", error: "tool_failed", says: /The tool "odd" ran, but its answer is not JSON/ },
  ])("$agent: the agent is told, and goes on", async ({ agent, error, says }) => {
    const { pid } = await server.client.process.spawn({ agent, task: "hello" });
    expect(await exitOf(server.client, pid)).toMatchObject({ how: "completed", result: { text: "It failed." } });
    const [failed] = (await journalOf(server.client, pid)).filter(
      ({ header }) => header.kind === "call.completed" && header.syscall === "tool.call",
    );
    expect(failed).toMatchObject({ header: { error } });
    expect(failed?.payloads["error"]).toMatchObject({ message: expect.stringMatching(says) as unknown });
  });

  it("use-vanishes: a human is asked what became of an effect whose server died", async () => {
    const { status, out } = await project.reeve("run", "use-vanishes", "hello");
    expect(status).toBe(6);
    expect(out).toMatch(/Did this happen\? vanishes\.act/);
    expect(out).toContain('the MCP server "vanishes" got the call, and then ended without an answer');
    const settle = /approve (r_\w+) --outcome not_done/.exec(out)?.[1] ?? "";
    await project.json(z.object({ verdict: z.string() }), "approve", settle, "--outcome", "failed");
    const pid = /journal (p_\w+)/.exec(out)?.[1] as ProcessId;
    expect(await exitOf(server.client, pid)).toMatchObject({ how: "failed", error: { code: "outcome_unknown" } });
  });

  it("a task that cannot be read starts nothing", async () => {
    project.write("task.json", "{ half");
    mkdirSync(project.path("tasks"));
    const [absent, folder, half] = await Promise.all(
      ["absent.txt", "tasks", "task.json"].map((file) => project.reeve("run", "asker", "--task-file", file)),
    );
    const instead = "Name another, or give the task on the command line.";
    expectFailure(absent as Ended, { status: 4, says: ["The task file absent.txt", "it is not there", instead] });
    expectFailure(folder as Ended, { status: 4, says: ["The task file tasks", "it is a folder", instead] });
    expectFailure(half as Ended, { status: 2, says: ["The task file task.json is not JSON", "Correct it"] });
  });

  it("the earlier process was not harmed by any of it", async () => {
    expect((await server.client.human.list({})).requests).toMatchObject([{ request }]);
    const { pid } = await server.client.human.decide({
      request: request as never,
      decision: { verdict: "answered", answer: "Rex" },
    });
    expect(await exitOf(server.client, pid)).toEqual({ how: "completed", result: { answer: "Rex" } });
  });
});

describe("the configuration and the data folder", () => {
  let project: Project;
  let request: string;
  beforeAll(async () => {
    project = new Project();
    request = await earlier(project);
  });
  afterAll(() => project.remove());

  it("a configuration that does not fit is refused with each of its faults", async () => {
    const faults: readonly (readonly [text: string, says: readonly (string | RegExp)[]])[] = [
      [
        'export default { dataFoldr: "x", limits: { parkAfterMs: "soon", parked: 1 }, tools: { "a.b": { type: "module", file: "x" } } };',
        [
          "dataFoldr: is not a key of it; the keys are dataFolder, agentsFolder,",
          "limits.parkAfterMs: Invalid input: expected number, received string",
          "limits.parked: is not a key of it",
          "tools.a.b: is not a name",
        ],
      ],
      ["export default {\n  tools: {\n", ["cannot be loaded: SyntaxError", /\(line \d\)\. Correct the file\./]],
      ['\nthrow new Error("no luck");', ["cannot be loaded: Error: no luck (line 2). Correct the file."]],
      ["export const config = {};", ["has no default export. Write `export default defineConfig({"]],
      [
        'export default { models: { play: { type: "rehearsal", script: "absent.yaml" } } };',
        ["The script of the model provider play", "absent.yaml", "it is not there", "models.play.script"],
      ],
    ];
    const ended = await Promise.all(
      faults.map(async ([text], at) => {
        project.write(`faulty-${at}.config.ts`, text);
        // A data folder of its own would be made beside it only if it were believed.
        return project.reeve("--config", `faulty-${at}.config.ts`, "ps");
      }),
    );
    for (const [at, [, says]] of faults.entries()) expectFailure(ended[at] as Ended, { status: 2, says });
    expect(ended[0]?.error).toContain(`The configuration ${project.path("faulty-0.config.ts")} cannot be used`);
    // As `npm init` makes it.
    project.write("common/package.json", '{ "type": "commonjs" }');
    for (const text of [
      'import { defineConfig } from "reeve";\nexport default defineConfig({});',
      "export default {};",
    ]) {
      project.write("common/reeve.config.ts", text);
      expectFailure(await project.reeve("--config", "common/reeve.config.ts", "ps"), {
        status: 2,
        says: ['put `"type": "module"` into it (`npm pkg set type=module`)'],
      });
    }
    expectFailure(await project.reeve("--config", "absent.ts", "ps"), {
      status: 4,
      says: ["no configuration file", "absent.ts", "leave out --config"],
    });
    await expectThere(project, request);
  });

  it("a data folder that is a file is left as it is", async () => {
    renameSync(project.path(".reeve"), project.path("kept"));
    project.write(".reeve", "mine");
    expectFailure(await project.reeve("up", "--port", "0"), {
      status: 2,
      says: [`The data folder ${project.path(".reeve")} is not a folder`, "Move that away", "dataFolder"],
    });
    expect(readFileSync(project.path(".reeve"), "utf8")).toBe("mine");
    unlinkSync(project.path(".reeve"));
    renameSync(project.path("kept"), project.path(".reeve"));
    await expectThere(project, request);
  });

  it("a token that cannot be read or written starts nothing", async () => {
    renameSync(project.path(".reeve", "token"), project.path("token"));
    mkdirSync(project.path(".reeve", "token"));
    expectFailure(await project.reeve("up", "--port", "0"), {
      status: 1,
      says: [project.path(".reeve", "token"), "Move away what stands there", "nothing is lost"],
    });
    rmSync(project.path(".reeve", "token"), { recursive: true });
    renameSync(project.path("token"), project.path(".reeve", "token"));
    await expectThere(project, request);
  });

  it("a database that is damaged, or of a later version, is not touched", async () => {
    const file = project.path(".reeve", "journal.db");
    cpSync(file, project.path("kept.db"));
    const sound = readFileSync(file);
    const torn = Buffer.concat([sound.subarray(0, 4096), Buffer.alloc(sound.length - 4096, 0x5a)]);
    writeFileSync(file, torn);
    expectFailure(await project.reeve("up", "--port", "0"), {
      status: 1,
      says: [project.path(".reeve"), "its database is damaged", "Nothing was deleted or repaired", "from a backup"],
    });
    expect(readFileSync(file).equals(torn)).toBe(true);

    cpSync(project.path("kept.db"), file);
    const later = new DatabaseSync(file);
    later.exec("PRAGMA user_version = 99");
    later.close();
    expectFailure(await project.reeve("up", "--port", "0"), {
      status: 1,
      says: [file, "schema version 99, and this Reeve knows versions up to", "Run the version of Reeve that wrote it"],
    });
    cpSync(project.path("kept.db"), file);
    await expectThere(project, request);
  });

  it("the earlier process was not harmed by any of it", () => expectGoesOn(project, request));
});

/** Whether this machine lets us mount a file system of our own. */
function canMount(): boolean {
  const project = new Project();
  try {
    mkdirSync(project.path("disk"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", project.path("disk")], { stdio: "ignore" });
    execFileSync("umount", [project.path("disk")], { stdio: "ignore" });
    return true;
  } catch {
    // No such right, or no such program: whoever needs it says so.
    return false;
  } finally {
    rmSync(project.folder, { recursive: true });
  }
}

needs("the right to mount a file system", canMount())("a disk", () => {
  const SIZE = "size=4m";
  let project: Project;
  let request: string;
  const disk = (): string => project.path("disk");
  const remount = (how: string): Buffer => execFileSync("mount", ["-o", `remount,${how},${SIZE}`, disk()]);
  beforeAll(async () => {
    project = new Project();
    mkdirSync(disk());
    execFileSync("mount", ["-t", "tmpfs", "-o", SIZE, "tmpfs", disk()]);
    const config = readFileSync(project.path("reeve.config.ts"), "utf8");
    project.write("reeve.config.ts", config.replace("limits:", 'dataFolder: "disk/data",\n  limits:'));
    request = await earlier(project);
  });
  afterAll(async () => {
    execFileSync("umount", ["--lazy", disk()]);
    await project.remove();
  });

  it("that is read-only starts nothing", async () => {
    remount("ro");
    expectFailure(await project.reeve("up", "--port", "0"), {
      status: 1,
      says: [project.path("disk", "data"), "cannot be written to", "name another data folder"],
    });
    remount("rw");
    await expectThere(project, request);
  });

  it("that is full refuses what is new, and the same server works on when there is room", async () => {
    const server = await project.up();
    const { bavail, bsize } = statfsSync(disk());
    writeFileSync(project.path("disk", "filler"), Buffer.alloc(bavail * bsize));
    const refused = await project.reeve("run", "asker", "x".repeat(100_000));
    expectFailure(refused, {
      status: 1,
      says: [project.path("disk", "data"), "the disk is full", "Nothing that was acknowledged is lost. Make room"],
    });
    unlinkSync(project.path("disk", "filler"));
    const { pid } = await server.client.human.decide({
      request: request as never,
      decision: { verdict: "answered", answer: "Rex" },
    });
    expect(await exitOf(server.client, pid)).toEqual({ how: "completed", result: { answer: "Rex" } });
    expect((await server.client.process.list({})).processes).toHaveLength(1);
  });
});
