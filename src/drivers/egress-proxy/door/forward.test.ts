// Goal: programs that know nothing of Reeve get out through the forwarder and the door by what stands in their environment, and the
// forwarder itself cannot be told from the program that it runs.
// Method: curl, Python and Node as they are, outside a sandbox, with the door's own command and environment.
import { execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { needs } from "../../../../test/needs.ts";
import { forwardFile } from "./door.ts";
import { runBehind, Stage } from "../scene.fake.ts";

const stage = new Stage();
afterEach(() => stage.end());

function has(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** One that nobody has: outside a sandbox all that runs on the machine shares a loopback. Below those that connections get. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 30_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    await new Promise((resolve) => server.close(resolve));
    if (isFree) return port;
  }
}

/** A plain and a TLS server; the first two are let out, one looked into and one not. */
async function world() {
  const [plain, looked, sealed] = [
    await stage.far(),
    await stage.far({ tls: ["a.test"] }),
    await stage.far({ tls: ["b.test"] }),
  ];
  const opened = await stage.open(
    [
      { scheme: "http", host: "a.test", port: plain.port, allowPrivate: true },
      { host: "a.test", port: looked.port, paths: ["/v1"], allowPrivate: true },
      { host: "b.test", port: sealed.port, allowPrivate: true },
    ],
    { forwardPort: await freePort() },
  );
  const urls = {
    plain: `http://a.test:${plain.port}/p`,
    looked: `https://a.test:${looked.port}/v1/l`,
    sealed: `https://b.test:${sealed.port}/s`,
    refused: `https://c.test:${sealed.port}/`,
  };
  return { ...opened, urls, plain, looked, sealed };
}

needs("curl", has("curl"))("curl behind a door", () => {
  it("reaches plain and TLS servers, and is told why it does not reach others", async () => {
    const { door, urls } = await world();
    // In a sandbox the bundle holds all that is trusted; here the far side's own authority is not one of the machine's.
    const ok = await runBehind(door, ["curl", "-sS", "--fail", urls.plain, urls.looked]);
    expect(ok).toMatchObject({ code: 0, stderr: "" });
    expect(ok.stdout).toContain('"url":"/p"');
    expect(ok.stdout).toContain('"url":"/v1/l"');
    const sealed = await runBehind(door, ["curl", "-sS", "-k", urls.sealed]);
    expect(sealed.stdout).toContain('"url":"/s"');
    const refused = await runBehind(door, ["curl", "-sS", "-i", urls.looked.replace("v1", "v2")]);
    expect(refused.stdout).toMatch(/403[^]*egress_denied[^]*allow paths that begin with \/v1 only/);
    const connect = await runBehind(door, ["curl", "-sS", urls.refused]);
    expect(connect.code).not.toBe(0);
    expect(connect.stderr).toContain("403");
  });

  it("sends a large body after asking whether it may", async () => {
    const { door, urls, looked } = await world();
    const body = "x".repeat(300_000);
    const sent = await runBehind(door, [
      "curl",
      "-sS",
      "-H",
      "Expect: 100-continue",
      "-d",
      body.slice(0, 100_000),
      urls.looked,
    ]);
    expect(sent.code).toBe(0);
    expect(looked.seen[0]?.body).toHaveLength(100_000);
    expect(looked.seen[0]?.headers.map((text) => text.toLowerCase())).not.toContain("expect");
  });
});

needs("Python 3", has("python3"))("Python behind a door", () => {
  it("reaches plain and TLS servers by its own library", async () => {
    const { door, urls } = await world();
    const script = `import sys, urllib.request
for url in sys.argv[1:]:
    print(urllib.request.urlopen(url).read().decode())`;
    const run = await runBehind(door, ["python3", "-c", script, urls.plain, urls.looked]);
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toContain('"url":"/v1/l"');
  });
});

describe("Node behind a door", () => {
  it("reaches plain and TLS servers by fetch", async () => {
    const { door, urls } = await world();
    const script = "for (const url of process.argv.slice(1)) console.log(await (await fetch(url)).text());";
    const run = await runBehind(door, [process.execPath, "--input-type=module", "-e", script, urls.plain, urls.looked]);
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toContain('"url":"/p"');
    expect(run.stdout).toContain('"url":"/v1/l"');
  });
});

describe("the forwarder", () => {
  const forward = (port: number, ...command: string[]): string[] => [
    forwardFile,
    String(port),
    "/nowhere.sock",
    "--",
    ...command,
  ];

  it("ends as the program ended, by status and by signal", async () => {
    const { door } = await stage.open([], { forwardPort: await freePort() });
    expect(await runBehind(door, ["sh", "-c", "echo out; echo err >&2; exit 7"])).toEqual({
      code: 7,
      signal: null,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await runBehind(door, ["sh", "-c", "kill -KILL $$"])).toMatchObject({ code: null, signal: "SIGKILL" });
    expect(await runBehind(door, ["/no/such/program"])).toMatchObject({
      code: 127,
      stderr: expect.stringContaining("ENOENT"),
    });
  });

  it("passes signals on, and leaves the ending to the program", async () => {
    const script = 'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 0.05; done';
    const child = spawn(process.execPath, forward(await freePort(), "sh", "-c", script), {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let stdout = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString("utf8");
      if (stdout === "ready\n") child.kill("SIGTERM");
    });
    expect(await once(child, "close")).toEqual([3, null]);
    expect(stdout).toBe("ready\ncaught\n");
  });

  it("hands on a channel at descriptor 3, and nothing else in its place", async () => {
    const list = 'readlink /proc/self/fd/3 || echo "none"';
    const open = async (stdio: ("ignore" | "pipe")[]) =>
      spawn(process.execPath, forward(await freePort(), "sh", "-c", list), { stdio });
    const read = async (child: Awaited<ReturnType<typeof open>>): Promise<string> => {
      let stdout = "";
      child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
      await once(child, "close");
      return stdout;
    };
    expect(await read(await open(["ignore", "pipe", "ignore"]))).toBe("none\n");
    const child = await open(["ignore", "pipe", "ignore", "pipe"]);
    child.stdio[3]?.on("data", () => {});
    expect(await read(child)).toMatch(/^socket:/);
  });

  it("says what is wrong when its port is taken", async () => {
    const port = await freePort();
    const taker = await stage.far({ port });
    const child = spawn(process.execPath, forward(taker.port, "true"), { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
    expect(await once(child, "close")).toEqual([126, null]);
    expect(stderr).toContain(`port ${port}`);
  });
});
