// The self-test of snippets: code that tries to get out, or to use up what it was not given.
import { sandboxLimitsSchema, type SandboxLimits } from "../../abi/isolation.ts";
import type { SelfTestReport, SnippetResult, Snippets, Verdict } from "../../ports/sandbox.ts";

type Interpret = (code: string, options: Parameters<Snippets["run"]>[1]) => Promise<SnippetResult>;

/** `contained` says whether the result is what an interpreter that holds would give. */
type Payload = {
  readonly name: string;
  readonly tries: string;
  readonly code: string;
  /** For what must be ended by time. */
  readonly wallMs?: number;
  readonly contained: (result: SnippetResult) => boolean;
};

/** Time enough on a busy machine: what ends sooner ends for another reason. */
const SMALL: SandboxLimits = sandboxLimitsSchema.parse({
  wallMs: 10_000,
  cpuMs: 10_000,
  memoryBytes: 32 * 1024 * 1024,
  outputBytes: 64 * 1024,
});
const SHORT_MS = 500;
/** How much more time a payload has that came to no verdict at first. */
const PATIENCE = 4;
const PLANTED = "planted-and-not-to-be-found";

const refused = (result: SnippetResult): boolean => result.kind === "thrown" || result.kind === "limit";
const answers = (json: string) => (result: SnippetResult) => result.kind === "value" && result.json === json;
const met = (limit: string) => (result: SnippetResult) => result.kind === "limit" && result.limit === limit;

const PAYLOADS: readonly Payload[] = [
  {
    name: "globals",
    tries: "find the process, modules, the network, timers or WebAssembly among the globals",
    code: `return ["process","require","module","fetch","XMLHttpRequest","WebSocket","setTimeout","setInterval","setImmediate","Deno","Bun","WebAssembly","Worker","std","os","Buffer","importScripts","SharedArrayBuffer","Atomics"].filter((name) => typeof globalThis[name] !== "undefined")`,
    contained: answers("[]"),
  },
  { name: "eval", tries: "make code of text by eval", code: `return (0, eval)("1 + 1")`, contained: refused },
  {
    name: "function",
    tries: "make code of text by the Function constructors",
    code: `const made = []; for (const f of [() => {}, async () => {}, function* () {}, async function* () {}]) { try { f.constructor("return 1"); made.push(1) } catch {} } return made`,
    contained: answers("[]"),
  },
  {
    name: "constructor",
    tries: "climb to the host through constructors, as out of node:vm",
    code: `return input.constructor.constructor("return process")().env`,
    contained: refused,
  },
  {
    name: "import",
    tries: "import a module of Node",
    code: `return Object.keys(await import("node:fs"))`,
    contained: refused,
  },
  {
    name: "forge",
    tries: "print what looks like a reply of the interpreter",
    code: `console.log(JSON.stringify({ kind: "value", json: "\\"forged\\"" })); return "true"`,
    contained: answers('"true"'),
  },
  {
    name: "spin",
    tries: "never end",
    code: `for (;;) {}`,
    wallMs: SHORT_MS,
    contained: (result) => met("steps")(result) || met("wall")(result),
  },
  {
    name: "hang",
    tries: "wait for ever",
    code: `await new Promise(() => {})`,
    wallMs: SHORT_MS,
    contained: met("wall"),
  },
  {
    name: "memory",
    tries: "hold more memory than allowed",
    code: `const held = []; for (;;) held.push(new Array(1_000).fill(1))`,
    contained: met("memory"),
  },
  {
    name: "buffer",
    tries: "hold more memory than allowed in one buffer",
    code: `return new Uint8Array(1024 * 1024 * 1024).length`,
    contained: refused,
  },
  { name: "stack", tries: "use up the stack", code: `const f = () => f() + 1; return f()`, contained: refused },
  {
    name: "result",
    tries: "answer with more than allowed",
    code: `return "x".repeat(1_000_000)`,
    contained: met("result"),
  },
  {
    name: "print",
    tries: "print without end",
    code: `for (;;) console.log("x".repeat(1_000))`,
    // What is above the bound is dropped, so that only time ends it.
    wallMs: SHORT_MS,
    contained: (result) => result.kind !== "value" && result.console.length <= SMALL.outputBytes,
  },
  {
    name: "regexp",
    tries: "spin inside a regular expression",
    code: `return /^(a+)+$/.test("a".repeat(40) + "!")`,
    wallMs: SHORT_MS,
    contained: (result) => result.kind === "limit",
  },
];

const LEFT_AND_SOUGHT: readonly Payload[] = [
  {
    name: "prototype",
    tries: "leave something behind in the prototype of objects for the next snippet",
    code: `try { Object.prototype.planted = 1 } catch {} try { Object.defineProperty(Array.prototype, "planted", { value: 1 }) } catch {} globalThis.planted = "${PLANTED}"; return ({}).planted === undefined`,
    contained: answers("true"),
  },
  {
    name: "residue",
    tries: "find what the snippet before has left behind",
    code: `return [typeof globalThis.planted, typeof ({}).planted, typeof [].planted]`,
    contained: answers('["undefined","undefined","undefined"]'),
  },
];

/** Tries each payload; the positive control, a snippet that must work, comes first. */
export async function runPayloads(interpret: Interpret, version: string): Promise<SelfTestReport> {
  const startMs = performance.now();
  const verdicts = [await attempt(interpret, CONTROL)];
  // One after the other where the second looks for what the first has left; the others beside one another.
  for (const payload of LEFT_AND_SOUGHT) verdicts.push(await attempt(interpret, payload));
  verdicts.push(...(await Promise.all(PAYLOADS.map((payload) => attempt(interpret, payload)))));
  return {
    driver: "quickjs",
    level: "snippet",
    state: { posture: "strong", layers: LAYERS, reason: "", fingerprint: `${version}, node ${process.version}` },
    passed: verdicts.every(({ expected }) => expected),
    set: "full",
    verdicts,
    tookMs: performance.now() - startMs,
    atMs: Date.now(),
  };
}

const LAYERS = [
  { name: "interpreter", inForce: true, detail: "QuickJS in WebAssembly, a fresh context for each snippet" },
  {
    name: "process",
    inForce: true,
    detail: "a child process under Node's permission model, with an empty environment",
  },
];

/** A probe that cannot succeed proves nothing by failing. */
const CONTROL: Payload = {
  name: "control",
  tries: "nothing: it must work",
  code: `console.log("here"); return input.a + 1`,
  contained: (result) => answers("2")(result) && result.console === "here\n",
};

/** What came to no verdict, as on a machine that is too busy, is tried once more with more time; what got out is not. */
async function attempt(interpret: Interpret, payload: Payload): Promise<Verdict> {
  const first = await attemptOnce(interpret, payload, SMALL);
  if (first.verdict !== "no_verdict") return first;
  return attemptOnce(interpret, payload, {
    ...SMALL,
    wallMs: SMALL.wallMs * PATIENCE,
    cpuMs: SMALL.cpuMs * PATIENCE,
  });
}

async function attemptOnce(
  interpret: Interpret,
  { name, tries, code, wallMs, contained }: Payload,
  bounds: SandboxLimits,
): Promise<Verdict> {
  const limits = { ...bounds, wallMs: wallMs ?? bounds.wallMs };
  const options = { inputJson: '{"a":1}', limits, signal: new AbortController().signal };
  const result = await interpret(code, options).catch((error: unknown) => ({ kind: "failed" as const, error }));
  if (result.kind === "failed")
    return { payload: name, tries, verdict: "no_verdict", expected: false, detail: String(result.error) };
  const held = contained(result);
  // Its time was over: that tells nothing of what else would have ended it.
  const isLate = !held && met("wall")(result);
  return {
    payload: name,
    tries,
    verdict: held ? "contained" : isLate ? "no_verdict" : "escaped",
    expected: held,
    detail: detailOf(result).slice(0, 200),
  };
}

function detailOf(result: SnippetResult): string {
  if (result.kind === "value") return `answered ${result.json}`;
  if (result.kind === "thrown") return `threw ${result.message}`;
  if (result.kind === "limit") return `met the limit of ${result.limit}`;
  return "was ended";
}
