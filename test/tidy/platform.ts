// Where the outside world may be touched. The kernel and the primitives see time, chance, disk and network only
// through ports, which is what lets a simulation replay every decision of theirs.
import { isBuiltin } from "node:module";
import type { Node } from "oxc-parser";
import { zoneOf } from "./direction.ts";
import { globalUses } from "./globals.ts";
import type { GlobalUse } from "./globals.ts";
import { importsOf, reach } from "./imports.ts";
import type { Import } from "./imports.ts";
import { fault, nameOf, parse, shippedCode, walk } from "./source.ts";
import type { Fault, Rule, SourceFile } from "./source.ts";

/** Builtins that only compute. */
const PURE_BUILTINS = [
  "assert",
  "assert/strict",
  "buffer",
  "events",
  "path",
  "path/posix",
  "string_decoder",
  "url",
  "util",
];
/** What may be taken from `node:crypto` where data are hashed; the rest of it draws randomness or handles keys. */
const HASHING = ["createHash", "createHmac", "hash", "timingSafeEqual", "Hash", "Hmac"];
/** Packages that only compute, and run in a browser. */
const PURE_PACKAGES = ["zod", "canonicalize", "@standard-schema/spec", "yaml"];

type Access = {
  readonly builtins: readonly string[] | "all";
  readonly packages: readonly string[] | "all";
  /** Globals and members of globals that may not be touched. */
  readonly banned: readonly string[];
};

/** `setImmediate` is not among them: it waits for a turn of the event loop and not for time. */
const TIMERS = ["setTimeout", "setInterval"];
const CHANCE_AND_CLOCK = [
  "Date()",
  "Date.now",
  "Math.random",
  "AbortSignal.timeout",
  "performance",
  "Temporal",
  "crypto",
];
const OUTSIDE = [
  "process",
  "fetch",
  "WebSocket",
  "EventSource",
  "XMLHttpRequest",
  "navigator",
  "localStorage",
  "require",
];
const ESCAPES = ["globalThis", "global", "eval", "Function"];
const EVERYTHING = [...TIMERS, ...CHANCE_AND_CLOCK, ...OUTSIDE, ...ESCAPES];

const INNER: Access = { builtins: PURE_BUILTINS, packages: PURE_PACKAGES, banned: EVERYTHING };
const FREE: Access = { builtins: "all", packages: "all", banned: [] };
/** Runs in a browser as well. */
const CLIENT: Access = {
  builtins: [],
  packages: PURE_PACKAGES,
  banned: ["process", "Buffer", "require", "global", "eval"],
};

/** By zone or single file; the longest key that fits counts. What is not named here is an inner part. */
const ACCESS: Readonly<Record<string, Access>> = {
  "src/boot.ts": FREE,
  "src/boot-isolation.ts": FREE,
  "src/boot-tools.ts": FREE,
  "src/command-line.ts": FREE,
  "src/main.ts": FREE,
  "src/drivers": FREE,
  // A part of drivers, and of nothing else.
  "src/linux": FREE,
  "src/gateway": { ...INNER, packages: [...PURE_PACKAGES, "hono", "@hono/zod-openapi"] },
  "src/gateway/listen.ts": {
    builtins: [...PURE_BUILTINS, "http", "https", "net"],
    packages: [...PURE_PACKAGES, "hono", "@hono/zod-openapi", "@hono/node-server"],
    banned: EVERYTHING,
  },
  "src/tools": { ...INNER, packages: [...PURE_PACKAGES, "re2js", "diff"] },
  "src/sdk": CLIENT,
  console: { ...CLIENT, packages: "all" },
  "src/cli": {
    builtins: [
      ...PURE_BUILTINS,
      "fs",
      "fs/promises",
      "os",
      "process",
      "readline",
      "readline/promises",
      "stream",
      "stream/consumers",
      "tty",
      "timers/promises",
    ],
    packages: [...PURE_PACKAGES, "commander", "@clack/prompts", "picocolors", "string-width"],
    banned: ["process.env", "require", "eval"],
  },
};

function accessOf(path: string): Access {
  const keys = Object.keys(ACCESS).filter((key) => path === key || path.startsWith(`${key}/`));
  const key = keys.sort((a, b) => b.length - a.length)[0];
  return (key === undefined ? undefined : ACCESS[key]) ?? INNER;
}

const PORT_REMEDY = "ask a port for it (clock, random, store, …) and let boot.ts hand over the driver";

function checkBuiltins(files: readonly SourceFile[]): readonly Fault[] {
  return shippedCode(files).flatMap((file) =>
    importsOf(file).flatMap((edge) => {
      const allowed = accessOf(file.path).builtins;
      if (allowed === "all" || !isBuiltin(edge.specifier)) return [];
      const name = edge.specifier.replace(/^node:/, "");
      if (allowed.includes(name) || (name === "crypto" && onlyHashes(edge) && allowed.length > 0)) return [];
      return [fault(file, edge.offset, `${placeOf(file)} imports "${edge.specifier}"`, PORT_REMEDY)];
    }),
  );
}

const placeOf = (file: SourceFile): string => zoneOf(file.path)?.folder ?? file.path;
const onlyHashes = ({ names }: Import): boolean => names?.every((name) => HASHING.includes(name)) ?? false;

function checkPackages(files: readonly SourceFile[]): readonly Fault[] {
  return shippedCode(files).flatMap((file) =>
    importsOf(file).flatMap(({ specifier, target, offset }) => {
      const allowed = accessOf(file.path).packages;
      if (target !== undefined || isBuiltin(specifier) || allowed === "all") return [];
      if (allowed.includes(packageOf(specifier))) return [];
      const remedy = `wrap it in a driver, or name it for ${placeOf(file)} in ACCESS in test/tidy/platform.ts if it only computes`;
      return [fault(file, offset, `${placeOf(file)} imports the package "${specifier}"`, remedy)];
    }),
  );
}

const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

function checkGlobals(files: readonly SourceFile[]): readonly Fault[] {
  return shippedCode(files).flatMap((file) => {
    const { banned } = accessOf(file.path);
    return globalUses(file)
      .filter((use) => namesOf(use).some((name) => banned.includes(name)))
      .map(({ node, name }) => fault(file, node.start, `${placeOf(file)} touches the global ${name}`, PORT_REMEDY));
  });
}

/** The names under which a use may be banned: the global itself, its member, or a call that reads the clock. */
function namesOf({ name, node, parent }: GlobalUse): readonly string[] {
  const member = parent.type === "MemberExpression" && parent.object === node ? nameOf(parent.property) : undefined;
  const readsClock = name === "Date" && isCallWithoutArguments(parent, node);
  return [name, ...(member === undefined ? [] : [`${name}.${member}`]), ...(readsClock ? ["Date()"] : [])];
}

const isCallWithoutArguments = (parent: Node, callee: Node): boolean =>
  (parent.type === "CallExpression" && parent.callee === callee) ||
  (parent.type === "NewExpression" && parent.callee === callee && parent.arguments.length === 0);

/** Everything that the contract and the SDK reach has to run in a browser. */
function checkBrowserSafe(files: readonly SourceFile[]): readonly Fault[] {
  const shipped = shippedCode(files);
  const starts = shipped.filter(({ path }) => path.startsWith("src/abi/") || path.startsWith("src/sdk/"));
  return [...reach(shipped, starts)].flatMap(([file, via]) => {
    const by = via === null ? "" : ` (reached from ${via.from.path})`;
    const remedy = "keep it out of what src/abi and src/sdk import: split the file, or do without Node";
    const imports = importsOf(file).filter(({ specifier }) => isBuiltin(specifier));
    const uses = globalUses(file).filter(({ name }) => ["Buffer", "process", "require", "setImmediate"].includes(name));
    return [
      ...imports.map(({ offset, specifier }) => fault(file, offset, `imports "${specifier}"${by}`, remedy)),
      ...uses.map(({ node, name }) => fault(file, node.start, `uses ${name}, which no browser has${by}`, remedy)),
    ];
  });
}

/** `import(expression)` cannot be followed, so it may stand only where everything is allowed. */
function checkComputedImports(files: readonly SourceFile[]): readonly Fault[] {
  return shippedCode(files).flatMap((file) => {
    if (accessOf(file.path) === FREE) return [];
    const faults: Fault[] = [];
    walk(parse(file).program, (node) => {
      if (node.type === "ImportExpression" && nameOf(node.source) === undefined)
        faults.push(
          fault(
            file,
            node.start,
            "imports a path that is computed",
            "import a literal path, or load modules in a driver",
          ),
        );
    });
    return faults;
  });
}

export const platformRules: readonly Rule[] = [
  {
    name: "platform: node builtins only where the outside may be touched",
    check: checkBuiltins,
    planted: [
      {
        what: "disk, network, processes, randomness and timers inside",
        files: {
          "src/kernel/k.ts": 'import { readFileSync } from "node:fs";\nimport type { Socket } from "net";\n',
          "src/tools/t.ts": 'import { spawn } from "node:child_process";\n',
          "src/identity/i.ts":
            'import { createHash, randomBytes } from "node:crypto";\nimport * as c from "node:crypto";\n',
          "src/gateway/route.ts": 'import { setTimeout } from "node:timers/promises";\n',
          "src/cli/ps.ts": 'import { createServer } from "node:net";\n',
          "src/sdk/s.ts": 'import { createHash } from "node:crypto";\n',
        },
        faults: [
          "src/kernel/k.ts:1",
          "src/kernel/k.ts:2",
          "src/tools/t.ts:1",
          "src/identity/i.ts:1",
          "src/identity/i.ts:2",
          "src/gateway/route.ts:1",
          "src/cli/ps.ts:1",
          "src/sdk/s.ts:1",
        ],
      },
      {
        what: "the same where it belongs",
        files: {
          "src/drivers/store-sqlite/s.ts": 'import "node:fs";\nimport "node:sqlite";\n',
          "src/main.ts": 'import "node:child_process";\n',
          "src/kernel/k.ts": 'import { createHash } from "node:crypto";\nimport { inspect } from "node:util";\n',
          "src/gateway/listen.ts": 'import { createServer } from "node:http";\n',
          "src/cli/ps.ts": 'import { readFile } from "node:fs/promises";\n',
          "src/kernel/k.test.ts": 'import "node:fs";\n',
        },
        faults: [],
      },
    ],
  },
  {
    name: "platform: packages that reach outside only in drivers",
    check: checkPackages,
    planted: [
      {
        what: "a provider in the kernel, a web framework in a primitive, a terminal in the SDK",
        files: {
          "src/kernel/k.ts": 'import { createOpenAI } from "@ai-sdk/openai";\n',
          "src/tools/t.ts": 'import type { Context } from "hono/tiny";\n',
          "src/sdk/s.ts": 'import colors from "picocolors";\n',
          "src/gateway/route.ts": 'import { serve } from "@hono/node-server";\n',
        },
        faults: ["src/kernel/k.ts:1", "src/tools/t.ts:1", "src/sdk/s.ts:1", "src/gateway/route.ts:1"],
      },
      {
        what: "the same where they belong",
        files: {
          "src/drivers/models/m.ts": 'import { createOpenAI } from "@ai-sdk/openai";\n',
          "src/abi/a.ts": 'import { z } from "zod";\n',
          "src/gateway/route.ts": 'import { streamSSE } from "hono/streaming";\n',
          "src/gateway/listen.ts": 'import { serve } from "@hono/node-server";\n',
          "src/cli/ps.ts": 'import { Command } from "commander";\n',
        },
        faults: [],
      },
    ],
  },
  {
    name: "platform: clock, chance, environment and network only by a port",
    check: checkGlobals,
    planted: [
      {
        what: "each banned global in an inner part",
        files: {
          "src/kernel/k.ts":
            "export const a = Date.now();\nexport const b = new Date();\nexport const c = Math.random();\nexport const d = process.env.HOME;\n",
          "src/scheduler/s.ts": "setTimeout(() => {}, 1);\nsetInterval(() => {}, 1);\nperformance.now();\n",
          "src/tools/t.ts":
            'await fetch("x");\nAbortSignal.timeout(1);\nglobalThis.fetch("x");\nconst later = setTimeout;\nlater(() => {});\n',
          "src/models/m.ts": "export function m() {\n  return { fetch, at: Date() };\n}\n",
          "src/gateway/route.ts": "export const id = crypto.randomUUID();\n",
          "src/cli/ps.ts": "export const token = process.env.TOKEN;\n",
          "src/sdk/s.ts": "export const s = process.argv;\n",
        },
        faults: [
          "src/kernel/k.ts:1",
          "src/kernel/k.ts:2",
          "src/kernel/k.ts:3",
          "src/kernel/k.ts:4",
          "src/scheduler/s.ts:1",
          "src/scheduler/s.ts:2",
          "src/scheduler/s.ts:3",
          "src/tools/t.ts:1",
          "src/tools/t.ts:2",
          "src/tools/t.ts:3",
          "src/tools/t.ts:4",
          "src/models/m.ts:2",
          "src/models/m.ts:2",
          "src/gateway/route.ts:1",
          "src/cli/ps.ts:1",
          "src/sdk/s.ts:1",
        ],
      },
      {
        what: "members, parameters, types and words of the same name; and the places that may",
        files: {
          "src/kernel/k.ts":
            'export function k(process: { env: string }, clock: { now(): number; fetch: () => void }, { fetch }: { fetch: () => void }) {\n  clock.fetch();\n  fetch();\n  return [process.env, clock.now(), new Date(5), "Math.random", { setTimeout: 1 }];\n}\nexport type F = typeof fetch;\n',
          "src/drivers/clock/c.ts": "export const c = () => [Date.now(), process.env.X, setTimeout(() => {}, 1)];\n",
          "src/cli/ps.ts": "process.stdout.write(String(Date.now()));\n",
          "src/sdk/s.ts": 'export const s = () => fetch("x");\n',
          "src/kernel/k.test.ts": "Date.now();\n",
        },
        faults: [],
      },
    ],
  },
  {
    name: "platform: what the contract and the SDK reach runs in a browser",
    check: checkBrowserSafe,
    planted: [
      {
        what: "a builtin behind a helper that the contract imports",
        files: {
          "src/abi/a.ts": 'import { h } from "../lib/h.ts";\nexport const a = h;\n',
          "src/lib/h.ts":
            'import { createHash } from "node:crypto";\nexport const h = createHash;\nexport const b = Buffer.from("");\n',
        },
        faults: ["src/lib/h.ts:1", "src/lib/h.ts:3"],
      },
      {
        what: "a builtin in a helper that only the kernel imports",
        files: {
          "src/abi/a.ts": "export const a = 1;\n",
          "src/lib/h.ts": 'import { createHash } from "node:crypto";\nexport const h = createHash;\n',
          "src/kernel/k.ts": 'import { h } from "../lib/h.ts";\nexport const k = h;\n',
        },
        faults: [],
      },
    ],
  },
  {
    name: "platform: no computed imports outside drivers and the composition root",
    check: checkComputedImports,
    planted: [
      {
        what: "a path that no check can follow",
        files: { "src/kernel/k.ts": 'const name = "fs";\nexport const k = await import(`node:${name}`);\n' },
        faults: ["src/kernel/k.ts:2"],
      },
      {
        what: "a literal path, and a driver that loads agents",
        files: {
          "src/cli/c.ts": 'export const c = () => import("./ps.ts");\n',
          "src/drivers/modules/m.ts": "export const m = (file: string) => import(file);\n",
        },
        faults: [],
      },
    ],
  },
];
