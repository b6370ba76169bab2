// Goal: the connector becomes another program that has the channel. Method: it runs here, without a container.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { needs } from "../../../../test/needs.ts";
import { FAILED } from "../../../lib/native-program.ts";
import { connectorFor } from "./connector.ts";

const held = {} as { folder: string };
beforeAll(() => void (held.folder = mkdtempSync(join(tmpdir(), "reeve-connector-"))));
afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

needs("a machine of x86-64", process.arch === "x64" && process.platform === "linux")("the connector", () => {
  const start = (name: string) => {
    const program = join(held.folder, `${name}-connect`);
    writeFileSync(program, connectorFor("x64", join(held.folder, name)), { mode: 0o755 });
    return spawn(program, ["/bin/sh", "-c", 'cat <&3; echo "$0 $1 $A" >&3', "zero", "o n e"], {
      env: { A: "named" },
      stdio: ["ignore", "pipe", "ignore"],
    });
  };

  it("is another program, with a connection at 3", async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      server.close();
      socket.end("said outside\n");
      void text(socket).then((said) => server.emit("said", said));
    });
    await new Promise<void>((resolve) => server.listen(join(held.folder, "there"), resolve));
    const answer = new Promise((resolve) => server.once("said", resolve));
    const child = start("there");
    expect(await text(child.stdout)).toBe("said outside\n");
    expect(await answer).toBe("zero o n e named\n");
  });

  it("is none where nobody listens", async () => {
    const child = start("nowhere");
    const code = await new Promise((resolve) => child.once("exit", resolve));
    expect([code, await text(child.stdout)]).toEqual([FAILED, ""]);
  });
});
