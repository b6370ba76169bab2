// Anthropic's sandbox-runtime, as its library is used: set up once, then each command wrapped and given to a shell.
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { SandboxManager } from "@anthropic-ai/sandbox-runtime";
import type { SandboxRuntime, Start } from "../sandbox-contenders.ts";
import { installedVersion } from "./installed.ts";

/** Or why it does not run here. */
export async function openSandboxRuntime(): Promise<SandboxRuntime | string> {
  try {
    await SandboxManager.initialize({
      network: { allowedDomains: [], deniedDomains: [] },
      filesystem: { denyRead: [], allowWrite: [tmpdir()], denyWrite: [] },
    });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const start: Start = async () => {
    const line = await SandboxManager.wrapWithSandbox("true");
    const child = spawn("/bin/sh", ["-c", line], { stdio: "pipe" });
    child.stdout.resume();
    child.stderr.resume();
    child.stdin.end();
    const code = await new Promise((resolve) => child.once("exit", resolve));
    if (code !== 0) throw new Error(`sandbox-runtime ended with ${String(code)}`);
  };
  return {
    version: installedVersion("@anthropic-ai/sandbox-runtime"),
    start,
    close: async () => {
      await SandboxManager.reset();
    },
  };
}
