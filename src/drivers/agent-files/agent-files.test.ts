// Agent files in real folders: what is found, and how each fault is told.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { agentManifestSchema } from "../../abi/agents.ts";
import type { AgentManifest } from "../../abi/agents.ts";
import { OsError } from "../../abi/errors.ts";
import { AGENT_FILE_BYTES_MAX } from "../../abi/limits.ts";
import type { AgentSource } from "../../ports/program.ts";
import { createAgentFiles } from "./agent-files.ts";

const scratch = mkdtempSync(join(tmpdir(), "reeve-agents-"));
afterAll(() => rmSync(scratch, { recursive: true }));
let folders = 0;

/** A folder with these files, and the agents in it; a module is described as having its file's name. */
function agentsIn(files: Record<string, string | Uint8Array>) {
  const folder = join(scratch, String((folders += 1)));
  const put = (more: Record<string, string | Uint8Array>): void => {
    for (const [name, content] of Object.entries(more)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), content);
    }
  };
  mkdirSync(folder);
  put(files);
  const describeModule = vi.fn<(file: string) => Promise<AgentManifest>>(async (file) =>
    agentManifestSchema.parse({ name: file.replace(/^.*\/|\.\w+$/g, ""), description: "A module." }),
  );
  return { folder, put, describeModule, source: createAgentFiles({ folder, describeModule }) };
}

const names = async (source: AgentSource): Promise<string[]> =>
  (await source.list()).agents.map(({ manifest }) => manifest.name);
const text = (frontMatter: string, body = "Do it well."): string => `---\n${frontMatter}\n---\n\n${body}\n`;

/** The fault of the only agent, as `find` tells it. */
async function faultOf(content: string | Uint8Array, name = "a"): Promise<string> {
  const { source, folder } = agentsIn({ "a.md": content });
  const error = await source.find(name).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!OsError.is(error, "agent_invalid")) throw new Error(`expected agent_invalid, found ${String(error)}`);
  expect(error.data).toMatchObject({ file: join(folder, "a.md") });
  expect((await source.list()).invalid).toEqual([{ file: join(folder, "a.md"), message: error.message }]);
  return error.message.replace(join(folder, "a.md"), "FILE");
}

test("a Markdown agent: manifest, instructions and the hash of its bytes", async () => {
  const content = text(
    "name: refunds\ndescription: Settles refunds.\nmodel: openai/gpt\ntools:\n  - shop.*\n  - files.read\nbudget: { calls: 9 }\nconversation: messages",
  );
  const { source } = agentsIn({ "anything.md": content });
  expect(await source.find("refunds")).toEqual({
    manifest: {
      name: "refunds",
      description: "Settles refunds.",
      model: "openai/gpt",
      tools: ["shop.*", "files.read"],
      agents: [],
      class: "standard",
      weight: 1,
      budget: { calls: 9 },
      tree: {},
      workspace: {},
      egress: [],
      secrets: [],
      limits: {},
      turns: 100,
      conversation: "messages",
    },
    program: { kind: "markdown", instructions: "Do it well." },
    hash: createHash("sha256").update(content).digest("hex"),
  });
});

test("the habits of coding assistants: names with commas, no name, CRLF, a byte order mark", async () => {
  const { source } = agentsIn({
    "reader.md": `\uFEFF${text("description: Reads.\ntools: files.read, shop.find\nagents:").replaceAll("\n", "\r\n")}`,
  });
  expect(await source.find("reader")).toMatchObject({
    manifest: { name: "reader", tools: ["files.read", "shop.find"], agents: [] },
    program: { instructions: "Do it well." },
  });
});

test("which files are agents", async () => {
  const ok = text("description: Something.");
  const { source, folder } = agentsIn({
    "b.md": ok,
    "c.ts": "",
    "d.mjs": "",
    "e.js": "",
    "own/agent.md": ok,
    "own/notes.md": "no agent",
    "parts/helper.ts": "",
    "README.md": "no agent",
    ".hidden.md": ok,
    "_draft.md": ok,
    "c.test.ts": "",
    "c.d.ts": "",
    "data.json": "{}",
  });
  symlinkSync(join(folder, "gone.md"), join(folder, "dangling.md"));
  expect(await names(source)).toEqual(["b", "c", "d", "e", "own"]);
  expect((await source.list()).invalid).toEqual([]);
  expect(await source.find("c")).toMatchObject({ program: { kind: "module", file: join(folder, "c.ts") } });
});

test("a file that changed counts at once; one that did not is not read again", async () => {
  const { source, put, describeModule } = agentsIn({ "a.md": text("description: One."), "m.ts": "1" });
  await source.list();
  await source.find("m");
  expect(describeModule).toHaveBeenCalledTimes(1);
  put({ "a.md": text("description: Another."), "m.ts": "22", "new.md": text("description: New.") });
  expect((await source.find("a")).manifest.description).toBe("Another.");
  expect(await names(source)).toEqual(["a", "m", "new"]);
  expect(describeModule).toHaveBeenCalledTimes(2);
  rmSync(join(scratch, String(folders), "new.md"));
  expect(await names(source)).toEqual(["a", "m"]);
});

test("an agent that can be used does not wait for a module that failed", async () => {
  const { source, describeModule } = agentsIn({ "a.md": text("description: One."), "m.ts": "" });
  describeModule.mockRejectedValue(new OsError("agent_invalid", "The agent file m.ts cannot be used: no package."));
  await source.find("a");
  await source.find("a");
  expect(describeModule).toHaveBeenCalledTimes(1);
  await expect(source.find("m")).rejects.toMatchObject({ code: "agent_invalid" });
  expect((await source.list()).invalid).toHaveLength(1);
  expect(describeModule).toHaveBeenCalledTimes(3);
});

test("a module that failed is tried again, since the fault may lie in what it imports", async () => {
  const { source, describeModule } = agentsIn({ "m.ts": "" });
  describeModule.mockRejectedValueOnce(new OsError("agent_invalid", "The agent file m.ts cannot be used: no package."));
  await expect(source.find("m")).rejects.toMatchObject({
    code: "agent_invalid",
    message: "The agent file m.ts cannot be used: no package.",
  });
  expect((await source.find("m")).manifest.name).toBe("m");
});

test("a name that is not there: what there is", async () => {
  const { source } = agentsIn({ "a.md": text("description: A."), "b.md": text("description: B."), "broken.md": "" });
  await expect(source.find("c")).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringMatching(/no agent "c" in .*; there are a, b \(and 1 that cannot be used/),
    data: { what: "agent", id: "c" },
  });
});

test("a name used twice: both files are named, and neither runs", async () => {
  const { source, folder } = agentsIn({
    "one.md": text("name: twin\ndescription: One."),
    "two.md": text("name: twin\ndescription: Two."),
  });
  await expect(source.find("twin")).rejects.toMatchObject({
    code: "agent_invalid",
    message: expect.stringMatching(/one\.md.*two\.md/),
  });
  expect((await source.list()).invalid.map(({ file }) => file)).toEqual([
    join(folder, "one.md"),
    join(folder, "two.md"),
  ]);
});

test("a missing folder names itself and the remedy", async () => {
  const folder = join(scratch, "nowhere");
  const source = createAgentFiles({ folder, describeModule: async () => Promise.reject(new Error("not asked")) });
  await expect(source.find("a")).rejects.toMatchObject({
    code: "agent_invalid",
    message: expect.stringMatching(/nowhere, is not there\. Make it, or name another as `agentsFolder`/),
  });
  expect(await source.list()).toEqual({
    agents: [],
    invalid: [{ file: folder, message: expect.stringContaining("is not there") }],
  });
});

test.each<[string, string | Uint8Array, RegExp]>([
  [
    "no front matter",
    "Do it.",
    /^The agent file FILE cannot be used: line 1: there is no front matter\. Begin the file/,
  ],
  ["no end", "---\ndescription: A.\nDo it.", /has no end\. Close it with a line `---`/],
  ["bad YAML", text("description: A.\ntools: [a, b"), /line 3, column \d+: /],
  ["a key twice", text("description: A.\ndescription: B."), /line 3, column 1: Map keys must be unique/],
  ["not a mapping", text("- a\n- b"), /not a list of `key: value`/],
  [
    "aliases that grow",
    text(
      `a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]`,
    ),
    /alias/,
  ],
  [
    "an unknown key",
    text("description: A.\nmodle: x/y"),
    /line 3: unknown key "modle"; the keys are name, description, model, tools/,
  ],
  [
    "an unknown key further in",
    text("description: A.\nbudget:\n  dollars: 3"),
    /line 4: unknown key "dollars" of budget/,
  ],
  ["a wrong value", text("description: A.\nturns: many"), /line 3: turns: .*expected/],
  ["a missing description", text("model: x/y"), /description: /],
  ["no instructions", text("description: A.", "  "), /there are no instructions/],
  [
    "too large",
    text("description: A.", "x".repeat(AGENT_FILE_BYTES_MAX)),
    /it has \d+ bytes, and at most 262144 are read/,
  ],
  ["not UTF-8", new Uint8Array([0x2d, 0x2d, 0x2d, 0x0a, 0xff, 0xfe]), /it is not UTF-8 text/],
])("a fault: %s", async (_, content, expected) => {
  expect(await faultOf(content)).toMatch(expected);
});

test("a faulty file is found by the name that it gives itself", async () => {
  expect(await faultOf(text("name: refunds\ndescription: A.\nturns: 0"), "refunds")).toMatch(/turns/);
});
