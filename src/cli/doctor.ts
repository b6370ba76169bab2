// `reeve doctor`: what is in force here, each thing checked now.
import { OsError } from "../abi/errors.ts";
import { SYSCALLS, type Output } from "../abi/syscalls.ts";
import { type Check } from "../abi/reports.ts";
import { flag, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { memoryText, resourceLines } from "./process/resources.ts";
import { GAP, pairs, table, type Column } from "./terminal/table.ts";
import { oneLine } from "./terminal/text.ts";

type Inspected = Output<"system.inspect">;

export const doctor: CliCommand = {
  name: "doctor",
  define: (command) => {
    command
      .summary("check what is in force here")
      .description(`${SYSCALLS["system.inspect"].doc} Ends with status ${STATUS.error} if a check failed.`)
      .option("--full", "try every escape from each sandbox anew, which takes a while");
  },
  act: async (context, _args, options) => {
    const { found, server } = await inspect(context, flag(options, "full"));
    context.answer(found, () => linesOf(context, found, server));
    return found.checks.some(({ state }) => state === "failed") ? STATUS.error : STATUS.ok;
  },
};

/** A system that does not even start is a finding as well. */
async function inspect(
  context: Context,
  full: boolean,
): Promise<{ readonly found: Inspected; readonly server: string | null }> {
  try {
    return await context.session(false, async ({ client, server }) => {
      context.screen.progress("trying to get out of each sandbox");
      return { found: await client.system.inspect({ full }), server };
    });
  } catch (error) {
    if (!OsError.is(error) || error.code === "internal") throw error;
    return {
      found: {
        version: context.host.version,
        node: "",
        folder: "",
        checks: [{ name: "start", state: "failed", detail: `${error.code}: ${error.message}` }],
        memory: { processes: 0, max: 0, queued: 0 },
        resources: [],
      },
      server: null,
    };
  }
}

function linesOf(context: Context, found: Inspected, server: string | null): string[] {
  const { screen } = context;
  const { version, node, folder, checks, memory } = found;
  const { paint } = screen;
  const colours: { readonly [S in Check["state"]]: (text: string) => string } = {
    ok: paint.green,
    warning: paint.yellow,
    failed: paint.red,
    off: paint.dim,
  };
  const facts: [string, string][] = [
    ["version", version],
    ["node", node],
    ["data", folder],
    ["server", server ?? "not running"],
    ["memory", memory.max === 0 ? "" : memoryText(memory)],
  ];
  const columns: readonly Column[] = [{ title: "STATE" }, { title: "CHECK" }, { title: "FOUND" }];
  const taken = "warning".length + Math.max("CHECK".length, ...checks.map(({ name }) => name.length)) + 2 * GAP.length;
  // What to do about a finding stands at its end, so nothing of it is cut: it goes on in the next line.
  const rows = checks.flatMap(({ name, state, detail }) => {
    const [head = "", ...more] = screen.fitted(oneLine(context.said(detail)), taken).split("\n");
    return [[{ text: state, paint: colours[state] }, oneLine(name), head], ...more.map((line) => ["", "", line])];
  });
  const lines = table(columns, rows, { columns: undefined, paintTitle: paint.dim });
  const resources = resourceLines(screen, found.resources);
  return [
    ...pairs(
      facts.filter(([, value]) => value !== ""),
      paint.dim,
    ),
    "",
    ...lines,
    ...(resources.length === 0 ? [] : ["", ...resources]),
  ];
}
