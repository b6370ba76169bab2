// Goal: what a server has written it can read and change at its next start, and no other server can.
// Method: real sandboxes, a server that writes into a file which is closed to others, and starts one after the other.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { configSchema } from "../../abi/config.ts";
import { caller } from "../../../test/caller.ts";
import { needs } from "../../../test/needs.ts";
import type { McpConfig } from "./connection.ts";
import { HAS_BUBBLEWRAP, openScene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";

const NOTES = fileURLToPath(new URL("./fixtures/notes-stdio.ts", import.meta.url));

needs("bubblewrap", HAS_BUBBLEWRAP)("what a server keeps", () => {
  const folder = mkdtempSync(join(tmpdir(), "reeve-kept-"));
  const shared = join(folder, "shared");
  mkdirSync(shared);
  chmodSync(folder, 0o755);
  chmodSync(shared, 0o777);
  const scene = openScene(import.meta.dirname);
  afterAll(async () => {
    await scene.close();
    rmSync(folder, { recursive: true, force: true });
  });

  type At = { readonly file: string; readonly [grant: string]: unknown };

  /** One start of the server `name`, and one call: what it said, or what else became of it. */
  async function say(name: string, [tool, args]: readonly [string, object], { file, ...sandbox }: At): Promise<string> {
    const config = configSchema.parse({
      tools: { [name]: { type: "mcp-stdio", command: process.execPath, args: [NOTES, file], sandbox } },
    }).tools[name] as McpConfig;
    const source = createMcpSource(name, config, scene.deps);
    try {
      const options = { ...caller(), key: "k", signal: AbortSignal.timeout(60_000) };
      const outcome = await source.call(tool, { ...args }, options);
      return outcome.kind === "done" ? outcome.content.text : JSON.stringify(outcome);
    } finally {
      await source.close();
    }
  }
  const note = (name: string, text: string, at: At): Promise<string> => say(name, ["note", { text }], at);

  test("in a folder of the machine is its own", async () => {
    const at = { file: join(shared, "notes"), write: [shared] };
    expect(await note("notes", "one ", at)).toBe("one ");
    expect(await note("notes", "two", at)).toBe("one two");
    const isRoot = process.getuid?.() === 0;
    expect(await note("other", "three", at)).toMatch(isRoot ? /EACCES/ : /^one twothree$/);
  });

  test("at /ws is there again, where the configuration says so, for it alone and for nobody outside", async () => {
    const at = { file: "/ws/notes", keep: true };
    expect(await note("notes", "one ", at)).toBe("one ");
    expect(await note("notes", "two", at)).toBe("one two");
    expect(await note("other", "three", at)).toBe("three");
    const own = join(scene.deps.sandboxing.keptFolder, "notes");
    expect(existsSync(join(own, "notes"))).toBe(true);
    expect(statSync(own).mode & 0o777).toBe(0o700);
  });

  test("at /ws is bounded by its limit, which is named", async () => {
    const at = { file: "/ws/notes", keep: true, limits: { diskBytes: 2 ** 20 } };
    expect(await say("full", ["fill", {}], at)).toMatch(/unknown.*was ended.*tools\.full\.sandbox\.limits\.diskBytes/);
  });
});
