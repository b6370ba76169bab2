// Goal: in a real sandbox the door is the only way out, and it is one: for clients that know nothing of it, under the sandbox's own user.
// Method: bubblewrap, with curl, Python and Node inside, against servers on this machine's loopback.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { afterAll, afterEach, expect, it } from "vitest";
import { needs } from "../../../../test/needs.ts";
import { sandboxLimitsSchema } from "../../../abi/isolation.ts";
import type { Door } from "../../../ports/egress.ts";
import type { Sandbox, SandboxExit } from "../../../ports/sandbox.ts";
import { createBubblewrap } from "../../sandbox-bubblewrap/sandbox.ts";
import { Stage } from "../scene.fake.ts";

const folder = mkdtempSync(join(tmpdir(), "reeve-inside-"));
const sandbox: Sandbox = createBubblewrap({
  folder,
  uids: { from: 230_000, to: 230_100 },
  warm: { shell: 0, python: 0, node: 0 },
});
const state = await sandbox.state();
const stage = new Stage();
afterEach(() => stage.end());
afterAll(async () => {
  await sandbox.close();
  rmSync(folder, { recursive: true, force: true });
});

async function run(door: Door, command: readonly [string, ...string[]], env: Record<string, string> = {}) {
  const limits = sandboxLimitsSchema.parse({});
  const running = await sandbox.start({ owner: "test", level: "process", command, env, mounts: [], limits, door });
  const ends: readonly [string, string, SandboxExit] = await Promise.all([
    textOf(running.stdout),
    textOf(running.stderr),
    running.exit,
  ]);
  const [stdout, stderr, exit] = ends;
  return { stdout, stderr, exit };
}

needs("a sandbox of native code (bubblewrap)", state.posture !== "none")("a door in a sandbox", () => {
  it("lets clients out by its rules and nobody past it", async () => {
    const [plain, looked] = [await stage.far(), await stage.far({ tls: ["a.test"] })];
    const { door, notebook } = await stage.open([
      { scheme: "http", host: "a.test", port: plain.port, allowPrivate: true },
      { host: "a.test", port: looked.port, paths: ["/v1"], allowPrivate: true },
    ]);
    const urls = [`http://a.test:${plain.port}/p`, `https://a.test:${looked.port}/v1/l`];
    const script = "for (const url of process.argv.slice(1)) console.log(await (await fetch(url)).text());";
    const fetched = await run(door, ["/run/reeve-forward/node", "--input-type=module", "-e", script, ...urls]);
    expect(fetched.exit).toMatchObject({ kind: "exited", code: 0 });
    expect(fetched.stdout).toMatch(/"url":"\/p"[^]*"url":"\/v1\/l"/);
    const past = `import socket, sys
for host, port in (("127.0.0.1", ${plain.port}), ("10.0.0.1", 80), ("169.254.169.254", 80)):
    try:
        socket.create_connection((host, port), 2)
        print("through to", host)
    except OSError as error:
        print("no way:", error.errno)`;
    const direct = await run(door, ["python3", "-c", past]);
    expect(direct.stdout).not.toContain("through");
    expect(direct.stdout.match(/no way/g)).toHaveLength(3);
    expect(plain.seen.map(({ url }) => url)).toEqual(["/p"]);
    expect(notebook.events("requested")).toHaveLength(2);
  });

  it("ends as the program in it ends, and with the sandbox", async () => {
    const { door } = await stage.open([]);
    expect((await run(door, ["sh", "-c", "exit 7"])).exit).toMatchObject({ kind: "exited", code: 7 });
    const limits = sandboxLimitsSchema.parse({});
    const command = ["sh", "-c", "echo up; sleep 600"] as const;
    const running = await sandbox.start({
      owner: "test",
      level: "process",
      command,
      env: {},
      mounts: [],
      limits,
      door,
    });
    await new Promise((resolve) => running.stdout.once("data", resolve));
    await running.kill();
    expect((await running.exit).kind).toBe("killed");
  });
});
