#!/usr/bin/env node
// The program: turns on Node's compile cache, then runs the command line.
//
// The cache has to be on before the parts are loaded, so they are imported after that. It keeps what Node makes of their source
// (types stripped, compiled), which is half of the time that a command takes to start. It lies in the user's own cache folder, since
// in one where others may write it could be replaced; NODE_COMPILE_CACHE names another, NODE_DISABLE_COMPILE_CACHE=1 turns it off.
import { enableCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where the operating system wants what can be made again. */
function cacheFolder(): string {
  const { env, platform } = process;
  if (platform === "win32") return env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local");
  if (platform === "darwin") return join(homedir(), "Library", "Caches");
  return env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
}

try {
  enableCompileCache(join(cacheFolder(), "reeve", "compiled"));
} catch {
  // A user without a home, for one. Without the cache all is as it is with it, only later.
}

const { commandLine } = await import("./command-line.ts");
// Ended outright: after a second Ctrl-C there may be work under way that would keep the program alive.
process.exit(await commandLine(process.argv.slice(2)));
