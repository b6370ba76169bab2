// Workspaces: what an agent changes stays in its own copy until somebody commits it, can be looked at and put back before that, and
// leads nowhere else, whatever links the agent lays.
//
// Method: an agent works on a copy of a folder with the built-in tools, and lays links as a program in its sandbox could. The folder
// and a secret beside it are looked at from outside. Whole, both stay as they are until the commit, and then the folder alone has
// what `diff` said. Unplugged (the folder itself for a workspace; one that keeps nothing; paths that are followed wherever they
// lead; a commit that only copies), the folder is changed at once, nothing can be put back, the secret is read and overwritten, and
// what somebody else wrote meanwhile is gone.
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { z } from "zod";
import { sandboxLimitsSchema } from "../../src/abi/isolation.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { JsonObject } from "../../src/abi/json.ts";
import { systemClock } from "../../src/drivers/system/clock.ts";
import { createWorkspaces } from "../../src/drivers/workspace-files/workspaces.ts";
import type { Workspace, Workspaces } from "../../src/ports/workspace.ts";
import { filesTools } from "../../src/tools/builtin/files.ts";
import { inWorkspace } from "../../src/tools/builtin/call-workspace.ts";
import { createBuiltinSource } from "../../src/tools/builtin/source.ts";
import { builtinTool } from "../../src/tools/builtin/tool.ts";
import { createTools } from "../../src/tools/registry.ts";
import { needs } from "../needs.ts";
import { bootTest, replacing, type TestOptions, type TestSystem } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const SECRET = "what only the machine knows";

const mediums: Medium[] = [];
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  mediums.splice(0).forEach((medium) => medium.dispose());
});

type Step = readonly [tool: string, args: JsonObject];

const agents: TestOptions["agents"] = {
  fixer: {
    manifest: { tools: ["ws.*"], workspace: { from: "src" } },
    run: async (sys, steps) => {
      const heard: string[] = [];
      for (const [tool, args] of steps as unknown as Step[])
        heard.push(
          await sys.tool.call({ tool: `ws.${tool}`, args }).then(
            ({ text }) => text,
            (error: { code: string }) => error.code,
          ),
        );
      return heard;
    },
  },
};

type World = {
  readonly system: TestSystem;
  /** The folder that workspaces begin as copies of, and a file beside it. */
  readonly folder: string;
  readonly secret: string;
  readonly work: (...steps: Step[]) => Promise<{ pid: ProcessId; heard: string[] }>;
};

async function world(unplug: (whole: Workspaces, folder: string) => Workspaces = (whole) => whole): Promise<World> {
  const project = fs.mkdtempSync(join(tmpdir(), "reeve-claim-"));
  const folder = join(project, "src");
  fs.mkdirSync(folder);
  fs.writeFileSync(join(folder, "a.txt"), "one\n");
  fs.writeFileSync(join(folder, "b.txt"), "b\n");
  const secret = join(project, "secret");
  fs.writeFileSync(secret, SECRET);
  const whole = createWorkspaces({
    folder: join(project, ".reeve/workspaces"),
    projectFolder: project,
    uids: { from: 330_000, to: 330_999 },
  });
  const workspaces = unplug(whole, folder);
  const ports = { workspaces, limits: sandboxLimitsSchema.parse({ diskBytes: 8 * 1024 * 1024 }) };
  // As a program in the sandbox could: it has the folder, and may lay a link wherever it likes.
  const link = builtinTool({
    ...{ name: "link", description: "Lays a link.", declared: { effect: "write" } },
    input: z.strictObject({ path: z.string(), target: z.string() }),
    run: async ({ path, target }, options) => {
      await inWorkspace(ports, options, async (workspace) => {
        fs.symlinkSync(target, join(workspace.folder, path));
      });
      return { kind: "done", content: { text: "laid" } };
    },
  });
  const source = createBuiltinSource([...filesTools(ports), link], "process");
  const medium = temporaryMedium();
  mediums.push(medium);
  const store = await medium.open();
  const tools = createTools({
    ...{ sources: new Map([["ws", { source, overrides: {}, outside: false }]]), store },
    ...{ clock: systemClock, onNotice: () => {} },
  });
  const system = await bootTest({ store, agents, tools, parts: { workspaces } });
  closing.push(async () => {
    system.close();
    await whole.close();
    await store.close();
    fs.rmSync(project, { recursive: true, force: true });
  });
  const work: World["work"] = async (...steps) => {
    const { pid } = await system.operate("process.spawn", { agent: "fixer", task: steps }, "test");
    const { exit } = await system.operate("process.wait", { pid }, "test");
    if (exit?.how !== "completed") throw new Error(JSON.stringify(exit));
    return { pid, heard: exit.result as string[] };
  };
  return { system, folder, secret, work };
}

/** Files of a folder with what they hold; links with where they lead. */
function picture(folder: string): Record<string, string> {
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  return Object.fromEntries(
    entries.map((entry) => {
      const path = join(folder, entry.name);
      return [entry.name, entry.isSymbolicLink() ? `→ ${fs.readlinkSync(path)}` : fs.readFileSync(path, "utf8")];
    }),
  );
}

/** A workspace on `folder` whose paths are taken as they are. */
const onFolder = (folder: string): Workspace => ({
  ...{
    folder,
    uid: null,
    quota: "none",
    putBack: async () => false,
    snapshot: async () => true,
    close: async () => {},
  },
  read: async (path) => fs.readFileSync(join(folder, path)),
  write: async (path, bytes) => {
    fs.mkdirSync(dirname(join(folder, path)), { recursive: true });
    fs.writeFileSync(join(folder, path), bytes);
  },
  remove: async (path) => fs.rmSync(join(folder, path), { recursive: true }),
  list: async () => [],
});

/** No copy: the folder itself. */
const withoutCopy = (whole: Workspaces, folder: string): Workspaces =>
  replacing(whole, { open: async () => onFolder(folder) });
/** A copy, whose paths lead wherever they lead. */
const credulous = (whole: Workspaces): Workspaces =>
  replacing(whole, {
    open: async (pid, spec) => {
      const real = await whole.open(pid, spec);
      return { ...onFolder(real.folder), snapshot: (call) => real.snapshot(call), close: () => real.close() };
    },
  });
/** Keeps nothing before a call. */
const keepingNothing = (whole: Workspaces): Workspaces =>
  replacing(whole, { open: async (pid, spec) => ({ ...(await whole.open(pid, spec)), snapshot: async () => true }) });
/** Compares nothing, and copies. */
const copying = (whole: Workspaces, folder: string): Workspaces =>
  replacing(whole, {
    commit: async (pid) => {
      const workspace = await whole.open(pid, { from: folder, diskBytes: 8 * 1024 * 1024 });
      fs.cpSync(workspace.folder, folder, { recursive: true, verbatimSymlinks: true });
      await workspace.close();
      return { changes: [], more: 0, leftOut: [] };
    },
  });

const EDITS: readonly Step[] = [
  ["write", { path: "a.txt", content: "two\n" }],
  ["write", { path: "new.txt", content: "new\n" }],
];
const BEFORE = { "a.txt": "one\n", "b.txt": "b\n" };
const AFTER = { "a.txt": "two\n", "b.txt": "b\n", "new.txt": "new\n" };

needs("Linux", process.platform === "linux")("a workspace keeps what is changed in it", () => {
  it("holds: the folder has it when it is committed, and not before; what it was is told by diff", async () => {
    const { system, folder, work } = await world();
    const { pid } = await work(...EDITS);
    expect(picture(folder)).toEqual(BEFORE);
    const { changes, snapshots } = await system.operate("workspace.diff", { pid }, "ann");
    expect(changes.map(({ change, path }) => `${change} ${path}`)).toEqual(["changed a.txt", "added new.txt"]);
    expect(changes[0]?.diff).toContain("-one\n+two");
    expect(snapshots).toEqual([0, 1]);
    await system.operate("workspace.commit", { pid }, "ann");
    expect(picture(folder)).toEqual(AFTER);
    const { events } = await system.operate("journal.read", { pid }, "ann");
    const told = events.flatMap(({ header }) =>
      header["kind"] === "workspace.changed" ? [[header["what"], header["by"]]] : [],
    );
    expect(told).toEqual([
      ["snapshot", pid],
      ["snapshot", pid],
      ["commit", "ann"],
    ]);
  });

  it("breaks when the copy is unplugged: the folder is changed before anybody has committed anything", async () => {
    const { folder, work } = await world(withoutCopy);
    await work(...EDITS);
    expect(picture(folder)).toEqual(AFTER);
  });

  it("holds: it is put back to how it stood before a call, and to how it began", async () => {
    const { system, folder, work } = await world();
    const { pid } = await work(...EDITS);
    const back = await system.operate("workspace.rollback", { pid, to: 1 }, "ann");
    expect(back.changes.map(({ change, path }) => `${change} ${path}`)).toEqual(["removed new.txt"]);
    const left = await system.operate("workspace.diff", { pid }, "ann");
    expect(left.changes.map(({ path }) => path)).toEqual(["a.txt"]);
    await system.operate("workspace.rollback", { pid }, "ann");
    expect((await system.operate("workspace.diff", { pid }, "ann")).changes).toEqual([]);
    expect(picture(folder)).toEqual(BEFORE);
  });

  it("breaks when nothing is kept before a call: there is nothing to go back to", async () => {
    const { system, work } = await world(keepingNothing);
    const { pid } = await work(...EDITS);
    await expect(system.operate("workspace.rollback", { pid, to: 1 }, "ann")).rejects.toMatchObject({
      code: "not_found",
    });
  });
});

const outOf = (secret: string): readonly Step[] => [
  ["link", { path: "way", target: dirname(secret) }],
  ["link", { path: "note", target: secret }],
  ["read", { path: "note" }],
  ["read", { path: "../secret" }],
  ["write", { path: "way/secret", content: "overwritten" }],
];

needs("Linux", process.platform === "linux")("a workspace leads nowhere else", () => {
  it("holds: no link that an agent lays is followed, nor written back", async () => {
    const { system, folder, secret, work } = await world();
    const { pid, heard } = await work(...outOf(secret));
    expect(heard.join("\n")).not.toContain(SECRET);
    expect(heard.slice(2)).toEqual(["tool_failed", "tool_failed", "tool_failed"]);
    const refusal = { code: "invalid_argument", message: expect.stringContaining("note, way") as string };
    await expect(system.operate("workspace.commit", { pid }, "ann")).rejects.toMatchObject(refusal);
    expect(picture(folder)).toEqual(BEFORE);
    expect(fs.readFileSync(secret, "utf8")).toBe(SECRET);
  });

  it("breaks when paths are followed: the secret is read and overwritten", async () => {
    const { secret, work } = await world(credulous);
    const { heard } = await work(...outOf(secret));
    expect(heard[2]).toContain(SECRET);
    expect(fs.readFileSync(secret, "utf8")).toBe("overwritten");
  });

  it("breaks when a commit only copies: the links lead out of the folder itself", async () => {
    const { system, folder, secret, work } = await world(copying);
    const { pid } = await work(...outOf(secret));
    await system.operate("workspace.commit", { pid }, "ann");
    expect(picture(folder)).toMatchObject({ note: `→ ${secret}` });
  });

  it("holds: what somebody else has written meanwhile is named and stays, and is lost when a commit only copies", async () => {
    const meanwhile = async ({ system, folder, work }: World): Promise<unknown> => {
      const { pid } = await work(...EDITS);
      fs.writeFileSync(join(folder, "a.txt"), "three\n");
      return system.operate("workspace.commit", { pid }, "ann").catch((error: unknown) => error);
    };
    const whole = await world();
    expect(await meanwhile(whole)).toMatchObject({ code: "conflict", data: { paths: ["a.txt"] } });
    expect(picture(whole.folder)).toEqual({ ...BEFORE, "a.txt": "three\n" });
    const broken = await world(copying);
    await meanwhile(broken);
    expect(picture(broken.folder)).toEqual(AFTER);
  });
});
