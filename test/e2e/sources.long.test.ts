// Goal: whatever servers of tools do, the agent goes on and its journal says what became of each call; what a server says of its
// tools otherwise than before is not offered until somebody accepts it.
// Method: the binary in a project with servers that bomb the machine, hang, flood, die and change their words.
import { cpSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { needs } from "../needs.ts";
import { Project } from "./fixtures/project.ts";

const BAD = join(import.meta.dirname, "..", "..", "src", "drivers", "tools-mcp", "fixtures", "bad-server.mjs");
const FAULTS = ["fork-bomb", "memory-bomb", "flood-answer", "half-answer", "hang-call"];

const AGENT = `
import { agent } from "reeve";
const tools = ${JSON.stringify([...FAULTS, "none"].map((name) => `${name}.act`))};
export default agent({
  name: "brave", description: "Calls them all.", tools,
  run: async (sys) => {
    const said = {};
    for (const tool of tools)
      said[tool] = await sys.tool.call({ tool, args: {} }).then(({ text }) => text, (error) => error.code + ": " + error.message);
    return said;
  },
});
`;

const source = (fault: string): object => ({
  type: "mcp-stdio",
  command: "node",
  args: ["bad-server.mjs", fault],
  sandbox: { limits: { memoryBytes: 128 * 2 ** 20, processes: 40 } },
  tools: { act: { effect: "read", timeoutMs: fault === "hang-call" ? 500 : 60_000 } },
});

const config = (servers: readonly string[], more: object = {}): string =>
  `export default ${JSON.stringify({
    sandbox: { posture: "reduced" },
    tools: { ...Object.fromEntries(servers.map((fault) => [fault, source(fault)])), ...more },
  })};`;

let project: Project;
beforeEach(() => {
  project = new Project({ PATH: `${join(process.execPath, "..")}:${process.env["PATH"]}` });
  cpSync(BAD, project.path("bad-server.mjs"));
});
afterEach(() => project.remove());

const hasBubblewrap = process.platform === "linux" && spawnSync("bwrap", ["--version"]).status === 0;

needs("bubblewrap", hasBubblewrap)("servers in sandboxes", () => {
  test("an agent goes on, whatever its servers do, and is told which limit each of them met", async () => {
    project.write("reeve.config.ts", config([...FAULTS, "none"]));
    project.write("agents/brave.ts", AGENT);
    const ended = await project.reeve("run", "brave", "Go.", "--json");
    expect(ended.error).not.toMatch(/internal/);
    const last = ended.out.trimEnd().split("\n").at(-1) ?? "";
    const { exit } = z
      .looseObject({ exit: z.looseObject({ how: z.string(), result: z.unknown() }) })
      .parse(JSON.parse(last));
    expect(exit).toMatchObject({
      how: "completed",
      result: {
        "fork-bomb.act": expect.stringMatching(/^tool_unavailable: .*it started more than 40 processes/s),
        "memory-bomb.act": expect.stringMatching(/^tool_unavailable: .*it needed more than 128 MB of memory/s),
        "flood-answer.act": expect.stringMatching(/^tool_unavailable: .*a line of more than \d+ bytes/s),
        "half-answer.act": expect.stringMatching(/^tool_unavailable: .*exited with code 0/s),
        "hang-call.act": expect.stringMatching(/^timeout: .*did not answer within 500 ms/s),
        "none.act": expect.stringMatching(/^pid \d+$/),
      },
    });
  });

  test("a tool that changed is held back, shown and accepted; the source was trusted at first sight", async () => {
    project.write("reeve.config.ts", config(["none"]));
    const listed = z.looseObject({
      tools: z.array(z.looseObject({ name: z.string(), pin: z.string(), isolation: z.string() })),
      held: z.array(z.looseObject({ name: z.string(), pin: z.string() })),
    });
    const ofSource = async (): Promise<z.output<typeof listed>> => {
      const { tools, held } = await project.json(listed, "tools");
      return { tools: tools.filter(({ name }) => name.startsWith("none.")), held };
    };
    const first = await ofSource();
    expect(first.tools).toMatchObject([{ name: "none.act", pin: "pinned", isolation: "process" }]);
    project.write("bad-server.mjs", project.read("bad-server.mjs").replace("Does.", "Does, and reads your mail."));
    const second = await ofSource();
    expect(second).toMatchObject({ tools: [], held: [{ name: "none.act", pin: "changed" }] });
    const shown = await project.reeve("tools", "diff", "none.act");
    expect(shown.error).not.toContain("error");
    expect(shown.out).toMatch(/-\s+Does\.\n\+\s+Does, and reads your mail\./);
    expect((await project.reeve("tools", "accept", "none.act")).out).toBe("none.act accepted\n");
    expect((await ofSource()).tools).toMatchObject([{ name: "none.act", pin: "pinned" }]);
  });
});
