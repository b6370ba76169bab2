// A program that stands for a Reeve with a sandbox running: it starts one with a driver, says so, and waits to be killed.
//
// Arguments: module, name of the function that creates the driver, its options and the spec as JSON.
import type { Sandbox, SandboxSpec } from "../../src/ports/sandbox.ts";

const [module = "", create = "", options = "", spec = ""] = process.argv.slice(2);
const made = (await import(module)) as Readonly<Record<string, (options: unknown) => Sandbox>>;
const sandbox = made[create]?.(JSON.parse(options));
const running = await sandbox?.start(JSON.parse(spec) as SandboxSpec);
running?.stdout.on("data", (chunk: Buffer) => process.stdout.write(chunk));
// Until it is killed.
setInterval(() => {}, 60_000);
