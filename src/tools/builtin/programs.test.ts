// Goal: what runs for a process runs in its workspace, with its own way out and no secret but as a placeholder; a repeated
// dispatch begins where the first one did; a limit that ended it is named.
// Method: ports that do as the test says and keep what they were asked.
import { expect, test } from "vitest";
import { caller } from "../../../test/caller.ts";
import type { AgentManifest } from "../../abi/agents.ts";
import { OsError } from "../../abi/errors.ts";
import { TOOL_RESULT_BYTES_MAX } from "../../abi/limits.ts";
import { egressRuleSchema, sandboxLimitsSchema } from "../../abi/isolation.ts";
import type { Door, DoorSpec } from "../../ports/egress.ts";
import type { Finished, SandboxSpec } from "../../ports/sandbox.ts";
import type { CallOptions, NoteHeader, ToolOutcome } from "../../ports/tools.ts";
import type { Workspace } from "../../ports/workspace.ts";
import { execTool } from "./exec.ts";
import type { JobPorts } from "./job.ts";
import { pythonTool, shellTool } from "./programs.ts";

const limits = sandboxLimitsSchema.parse({});
const usage = { cpuMs: 1, memoryPeakBytes: 1 };
const finished = (exit: Partial<Finished["exit"]>, more: Partial<Finished> = {}): Finished =>
  ({ exit: { kind: "exited", code: 0, ...usage, ...exit }, stdout: "", stderr: "", ...more }) as Finished;

type Asked = {
  readonly specs: SandboxSpec[];
  readonly doors: DoorSpec[];
  readonly log: string[];
  readonly inputs: (string | Uint8Array | undefined)[];
};

function ports(
  result: Finished | Error,
  { kept = false, others = false } = {},
): { readonly ports: JobPorts; readonly asked: Asked } {
  const asked: Asked = { specs: [], doors: [], log: [], inputs: [] };
  const door: Door = {
    folder: "/door",
    env: {},
    mounts: [],
    wrap: (command) => command,
    close: async () => void asked.log.push("door closed"),
  };
  const workspace = {
    folder: "/workspace",
    snapshot: async (call: number) => (asked.log.push(`snapshot ${call}`), !kept),
    putBack: async (call: number) => (asked.log.push(`put back ${call}`), !others),
    close: async () => void asked.log.push("let go"),
  } as unknown as Workspace;
  return {
    asked,
    ports: {
      limits,
      sandboxes: {
        ready: async () => {},
        run: async (spec: SandboxSpec, { input }: { readonly input?: string | Uint8Array }) => {
          asked.specs.push(spec);
          asked.inputs.push(input);
          asked.log.push("run");
          if (result instanceof Error) throw result;
          return result;
        },
      } as unknown as JobPorts["sandboxes"],
      workspaces: {
        open: async () => workspace,
      } as unknown as JobPorts["workspaces"],
      egress: {
        open: async (spec: DoorSpec) => (asked.doors.push(spec), door),
      } as unknown as JobPorts["egress"],
    },
  };
}

const options = (manifest: Partial<AgentManifest> = {}, noted: NoteHeader[] = []): CallOptions => ({
  ...caller(manifest, noted),
  call: 7,
  key: "p.7",
  signal: new AbortController().signal,
});
const rule = egressRuleSchema.parse({ host: "api.example.com" });

test("a shell command runs in the workspace, which is kept before it, under the lower of each limit", async () => {
  const { ports: given, asked } = ports(finished({ code: 3 }, { stdout: "out\n", stderr: "err\n" }));
  const noted: NoteHeader[] = [];
  const manifest = { limits: { memoryBytes: 32 * 2 ** 20, cpus: 99 }, secrets: ["GITHUB"] };
  const outcome = await shellTool(given).run({ command: "ls", input: "in" }, options(manifest, noted));
  expect(outcome).toEqual({
    kind: "done",
    content: {
      text: "out\n[standard error]\nerr\n[exit status 3]",
      data: { exitCode: 3, stdout: "out\n", stderr: "err\n", ...usage },
    },
  });
  expect(asked.log).toEqual(["snapshot 7", "run", "let go"]);
  expect(noted).toEqual([expect.objectContaining({ kind: "workspace.changed", what: "snapshot", before: 7 })]);
  expect(asked.specs[0]).toMatchObject({
    level: "process",
    command: ["sh", "-c", "ls"],
    env: { GITHUB: "reeve-secret:GITHUB" },
    limits: { ...limits, memoryBytes: 32 * 2 ** 20 },
    door: undefined,
  });
  expect(asked.inputs).toEqual(["in"]);
});

test("a way out is opened for the call alone, by the agent's rules, and closed after it", async () => {
  const { ports: given, asked } = ports(finished({}));
  await pythonTool(given).run({ code: "print(1)" }, options({ egress: [rule], secrets: ["KEY"] }));
  expect(asked.doors).toMatchObject([{ rules: [rule], secrets: ["KEY"] }]);
  expect(asked.log).toEqual(["snapshot 7", "run", "door closed", "let go"]);
});

test("dispatched again, it begins where the first one did; where that may have sent something, it is not run again", async () => {
  const again = ports(finished({}), { kept: true });
  await shellTool(again.ports).run({ command: "x" }, options());
  expect(again.asked.log).toEqual(["snapshot 7", "put back 7", "run", "let go"]);

  // What these did would be lost.
  const amid = ports(finished({}), { kept: true, others: true });
  expect(await shellTool(amid.ports).run({ command: "x" }, options())).toMatchObject({
    kind: "unknown",
    reason: expect.stringContaining("other calls have worked") as string,
  });
  expect(amid.asked.log).not.toContain("run");

  const sent = ports(finished({}), { kept: true });
  expect(await shellTool(sent.ports).run({ command: "x" }, options({ egress: [rule] }))).toMatchObject({
    kind: "unknown",
  });
  expect(sent.asked.log).toEqual(["snapshot 7", "let go"]);
});

test("a limit, a crash and an end by the caller are told apart", async () => {
  const outcomeOf = async (exit: object): Promise<ToolOutcome> =>
    shellTool(ports(finished(exit)).ports).run({ command: "x" }, options());
  expect(await outcomeOf({ kind: "limit", limit: "memory", max: 2 ** 28 })).toMatchObject({
    kind: "failed",
    content: { text: expect.stringContaining("more than 256 MB of memory"), data: { limit: "memory" } },
  });
  expect(await outcomeOf({ kind: "crashed", signal: "SIGSEGV" })).toMatchObject({
    kind: "failed",
    content: { text: "[ended by SIGSEGV]" },
  });
  expect(await outcomeOf({ kind: "killed" })).toMatchObject({ kind: "unknown" });
});

test("of long output the beginning and the end are told, with how it ended, in no more than a tool may answer", async () => {
  const long = `first\n${"\u4e2d\u0001".repeat(500_000)}\nlast`;
  const exit = { kind: "limit", limit: "output", max: 2 ** 20 } as object;
  const outcome = await shellTool(ports(finished(exit, { stdout: long, stderr: long })).ports).run(
    { command: "x" },
    options(),
  );
  const { content } = outcome as Extract<ToolOutcome, { kind: "failed" }>;
  expect(content.text).toMatch(/^first\n/);
  expect(content.text).toMatch(/characters are left out here.*\n[^]*\nlast\n\[ended: it /);
  const { size } = new Blob([content.text, JSON.stringify(content.data)]);
  expect(size).toBeLessThan(TOOL_RESULT_BYTES_MAX);
});

test("the limit of a program ends it before its call is given up", () => {
  const given = { ...ports(finished({})).ports, limits: { ...limits, wallMs: 300_000 } };
  for (const { declared } of [shellTool(given), pythonTool(given)])
    expect(declared.timeoutMs).toBeGreaterThan(given.limits.wallMs);
});

test("without a sandbox nothing is run, and that is certain; what broke later is not", async () => {
  const none = new OsError("isolation_unavailable", "No sandbox here.");
  expect(await shellTool(ports(none).ports).run({ command: "x" }, options())).toMatchObject({
    kind: "not_performed",
    error: { code: "isolation_unavailable" },
  });
  expect(await shellTool(ports(new Error("broken pipe")).ports).run({ command: "x" }, options())).toEqual({
    kind: "unknown",
    reason: "broken pipe",
  });
  expect(await shellTool(ports(none).ports).run({ command: 1 }, options())).toMatchObject({
    kind: "failed",
    content: { text: expect.stringContaining("command") },
  });
});

async function answered(said: { readonly stdout?: string; readonly stderr?: string }) {
  const { ports: given } = ports(finished({ code: 3 }, said));
  const outcome = await execTool(given).run({ command: ["x"] }, options());
  if (outcome.kind !== "done") throw new Error(`It is ${outcome.kind}.`);
  return { ...outcome.content, size: Buffer.byteLength(JSON.stringify(outcome.content)) };
}

test("of a program that was executed the text says how it ended, the data what it said", async () => {
  expect(await answered({ stdout: "out\n", stderr: "err\n" })).toMatchObject({
    text: "[exit status 3]",
    data: { exitCode: 3, stdout: "out\n", stderr: "err\n" },
  });
});

test("a program gets its standard input byte for byte, as text or as bytes", async () => {
  const { ports: given, asked } = ports(finished({}));
  const { run } = execTool(given);
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  await run({ command: ["x"], input: "\ufeff\u0000 text\n" }, options());
  await run({ command: ["x"], input: { base64: Buffer.from(bytes).toString("base64") } }, options());
  await run({ command: ["x"] }, options());
  const got = asked.inputs.map((input) => (input === undefined ? undefined : [...Buffer.from(input)]));
  expect(got).toEqual([[...Buffer.from("\ufeff\u0000 text\n")], [...bytes], undefined]);
  expect(await run({ command: ["x"], input: { base64: "no base64!" } }, options())).toMatchObject({ kind: "failed" });
});

test.each([
  ["all of it, near the bound", "x".repeat(TOOL_RESULT_BYTES_MAX - 5000), "", 0],
  ["the end of lines", "y\n".repeat(TOOL_RESULT_BYTES_MAX / 2), "err", 300_000],
  ["the end of both", "\u0001".repeat(TOOL_RESULT_BYTES_MAX), "😀".repeat(TOOL_RESULT_BYTES_MAX / 4), 900_000],
])("of what it said is kept %s, and it fits", async (_, stdout, stderr, leftOutMin) => {
  const { data, size } = await answered({ stdout, stderr });
  expect(size).toBeLessThanOrEqual(TOOL_RESULT_BYTES_MAX);
  const { leftOutCharacters = 0, stdout: out, stderr: err } = data as Record<string, string | number>;
  expect(leftOutCharacters).toBeGreaterThanOrEqual(leftOutMin);
  expect(Number(leftOutCharacters)).toBe(stdout.length + stderr.length - `${out}${err}`.length);
  expect(stdout.endsWith(String(out)) && stderr.endsWith(String(err))).toBe(true);
  expect(String(err).isWellFormed()).toBe(true);
});
