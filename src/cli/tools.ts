// `reeve tools`: where tools come from and how they stand; shows what changed, accepts it, logs in at a source and out.
import { SYSCALLS, type Output } from "../abi/syscalls.ts";
import { first, misuse, sentences, textOption, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { timeShort } from "./terminal/figures.ts";
import { table, type Cell, type Column } from "./terminal/table.ts";
import { oneLine, plain } from "./terminal/text.ts";

type Listed = Output<"tool.list">;

const COLUMNS: readonly Column[] = [
  { title: "TOOL", widthMin: 12 },
  { title: "EFFECT" },
  { title: "ISOLATION" },
  { title: "PIN" },
  { title: "DESCRIPTION", widthMin: 12 },
];

const diff: CliCommand = {
  name: "diff",
  define: (command) => {
    command
      .summary("show what changed in a tool")
      .description(SYSCALLS["tool.diff"].doc)
      .argument("<name>", "the tool, as SOURCE.TOOL");
  },
  act: (context, args) =>
    context.session(false, async ({ client }) => {
      const found = await client.tool.diff({ tool: first(args) });
      context.answer(found, () => diffLines(context, found));
      return STATUS.ok;
    }),
};

const accept: CliCommand = {
  name: "accept",
  define: (command) => {
    command
      .summary("take tools as they are now")
      .description(SYSCALLS["tool.accept"].doc)
      .argument("[name...]", "the tools, as SOURCE.TOOL")
      .option("--source <name>", "all of this source");
  },
  act: (context, names, options) =>
    context.session(false, async ({ client }) => {
      const source = textOption(options, "source");
      if ((source === undefined) === (names.length === 0))
        throw misuse("Name the tools to accept, or one source with --source, and not both.");
      const { held } = await client.tool.list({});
      const wanted = held.filter(({ name }) =>
        source === undefined ? names.includes(name) : name.startsWith(`${source}.`),
      );
      // What is named and not held goes as well: the system says why it cannot be accepted.
      const others = names.filter((name) => wanted.every((each) => each.name !== name)).map((tool) => ({ tool }));
      const tools = [...wanted.map(({ name: tool, hash }) => ({ tool, ...(hash !== null && { hash }) })), ...others];
      const { accepted } = tools.length === 0 ? { accepted: [] } : await client.tool.accept({ tools });
      context.answer({ accepted }, () =>
        accepted.length === 0
          ? ["Nothing to accept: all is as it was taken."]
          : accepted.map((name) => `${oneLine(name)} accepted`),
      );
      return STATUS.ok;
    }),
};

const login: CliCommand = {
  name: "login",
  define: (command) => {
    command
      .summary("log in at a source of tools")
      .description(
        "Prints an address to open in a browser, and waits until the browser comes back. Tokens are kept in the data folder.",
      )
      .argument("<source>", "the source");
  },
  act: (context, args) =>
    context.session(false, async ({ client }) => {
      const source = first(args);
      const browser = await context.host.waitForBrowser();
      const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<undefined>();
      const unlisten = context.interrupts.listen(() => interrupt(undefined));
      try {
        const { redirect } = browser;
        const { address } = await client.tool.login({ source, redirect });
        if (address !== null) {
          context.screen.message(`Open this address in a browser:\n\n  ${plain(address)}\n`);
          const answer = await Promise.race([browser.answer, interrupted]);
          if (answer === undefined) return STATUS.interrupted;
          await client.tool.login({ source, redirect, answer });
        }
        context.answer({ source, loggedIn: true }, () => [`Logged in at ${source}.`]);
        return STATUS.ok;
      } finally {
        unlisten();
        browser.close();
      }
    }),
};

const logout: CliCommand = {
  name: "logout",
  define: (command) => {
    command
      .summary("forget a login at a source of tools")
      .description(sentences(SYSCALLS["tool.logout"].doc, 0, 1))
      .argument("<source>", "the source");
  },
  act: (context, args) =>
    context.session(false, async ({ client }) => {
      const source = first(args);
      const { removed } = await client.tool.logout({ source });
      context.answer({ source, removed }, () => [
        removed ? `Logged out of ${source}.` : `There was no login at ${source}.`,
      ]);
      return STATUS.ok;
    }),
};

export const tools: CliCommand = {
  name: "tools",
  commands: [diff, accept, login, logout],
  define: (command) => {
    command
      .summary("list tools and how they stand, accept changes, log in at sources")
      .description(SYSCALLS["tool.list"].doc);
  },
  act: (context) =>
    context.session(false, async ({ client }) => {
      const listed = await client.tool.list({});
      context.answer(listed, () => listLines(context, listed));
      return listed.unavailable.length > 0 ? STATUS.error : STATUS.ok;
    }),
};

function listLines(context: Context, { tools: offered, held, sources, unavailable }: Listed): string[] {
  if (sources.length === 0) return ["No sources of tools. docs/guide/tools.md says how one is configured."];
  const { screen } = context;
  const { dim, red, yellow } = screen.paint;
  const rows = sources.flatMap(({ name, isolation }): (readonly Cell[])[] => [
    ...offered
      .filter((tool) => tool.name.startsWith(`${name}.`))
      .map((tool): readonly Cell[] => [
        oneLine(tool.name),
        tool.manifest.effect,
        isolation === "none" ? { text: "none", paint: yellow } : isolation,
        tool.pin,
        { text: oneLine(tool.description), paint: dim },
      ]),
    ...held
      .filter((tool) => tool.name.startsWith(`${name}.`))
      .map((tool): readonly Cell[] => [
        oneLine(tool.name),
        "",
        isolation,
        { text: tool.pin, paint: tool.pin === "gone" ? dim : red },
        tool.pin === "gone" ? "its source does not list it" : "held back",
      ]),
  ]);
  const waiting = held.filter(({ pin }) => pin !== "gone").length;
  return [
    ...(rows.length === 0 ? ["No tools."] : table(COLUMNS, rows, { columns: screen.columns, paintTitle: dim })),
    ...unavailable.map(({ message }) => red(plain(context.said(message)))),
    ...(waiting === 0
      ? []
      : [
          "",
          `${waiting === 1 ? "1 tool is" : `${waiting} tools are`} held back: ${context.typed("tools diff NAME")} shows the change, ${context.typed("tools accept NAME")} takes it.`,
        ]),
  ];
}

function diffLines({ screen, host }: Context, found: Output<"tool.diff">): string[] {
  const { dim, red, green } = screen.paint;
  const taken = found.by === null ? "taken at first sight" : `accepted by ${oneLine(found.by)}`;
  const head = found.atMs === null ? "never taken" : `${taken}, ${timeShort(found.atMs, host.nowMs())}`;
  const paint = (line: string): string =>
    line.startsWith("+") ? green(line) : line.startsWith("-") ? red(line) : line;
  return [
    `${oneLine(found.name)}: ${found.pin} ${dim(`(${head})`)}`,
    ...(found.diff === ""
      ? []
      : [
          "",
          ...found.diff
            .trimEnd()
            .split("\n")
            .map((line) => paint(plain(line))),
        ]),
  ];
}
