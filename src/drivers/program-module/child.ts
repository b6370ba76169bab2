// The child that runs one module agent: started by the host with the syscall socket as file descriptor 3 (see frames.ts).
//
// It reads the order, puts up the guard rail, imports the agent's module, gives up the right to read files, and runs the
// program, whose every call goes out by the socket.
//
// Invariants:
//   C1. Each outcome is handled in a turn of the event loop of its own, with all that the program does in answer to it done
//       before the next; so the order of outcomes alone decides what the program does.
//   C2. It ends when the socket does: nothing outlives the server.
//   C3. It calls itself idle only when Node would let it exit but for the socket: no callback is due, and no work is under way
//       on other threads either (hashing, compression, WebAssembly).
//   C4. Only the host ends it. Signals of the terminal or of a service manager are meant for the server, which decides.
import { Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { errorRecord, OsError } from "../../abi/errors.ts";
import type { Json } from "../../abi/json.ts";
// Nearly every agent needs the table and what it imports; a child that waits for its order has them read beforehand.
import "../../abi/syscalls.ts";
import { encode, FRAME_CHARACTERS_MAX, lineReader, PROTOCOL } from "./frames.ts";
import type { Order, Outcome, Question, Thrown } from "./frames.ts";
import { installGuard } from "./guard.ts";
import type { Guard } from "./guard.ts";

type Call = {
  readonly syscall: string;
  readonly resolve: (value: Json) => void;
  readonly reject: (error: OsError) => void;
};
/** What `agent({ … })` of the SDK makes; recognised by its brand, since it may come from another copy of the package. */
type AgentModule = { readonly manifest: Json; readonly program: (issue: Issue, task: Json) => Promise<Json> };
type Issue = (number: number, syscall: string, args: Json) => Promise<Json>;

// Taken before the guard rail replaces them for the program.
const nextTurn = setImmediate;
const { nextTick } = process;
const kill = process.kill.bind(process);

const socket = new Socket({ fd: 3, readable: true, writable: true });
const calls = new Map<number, Call>();
let guard: Guard | undefined;
let unsent = "";

// Frames of one turn leave in one write.
function send(frame: string): void {
  if (unsent === "") nextTick(flush);
  unsent += `${frame}\n`;
}

function flush(): void {
  const text = unsent;
  unsent = "";
  socket.write(text);
}

const issue: Issue = (number, syscall, args) => {
  const text = encode(args, "the argument");
  send(`{"n":${number},"syscall":${JSON.stringify(syscall)},"args":${text}}`);
  return new Promise((resolve, reject) => calls.set(number, { syscall, resolve, reject }));
};

function settle(outcome: Outcome): void {
  const call = calls.get(outcome.n);
  if (call === undefined) return;
  calls.delete(outcome.n);
  if ("error" in outcome) return call.reject(OsError.from(outcome.error));
  if (call.syscall === "clock.now") guard?.setTime((outcome.value as { ms: number }).ms);
  call.resolve(outcome.value);
}

/** Questions that are not answered. */
const asked: number[] = [];

/** The socket alone does not keep the child alive until this is answered, so that `beforeExit` tells when nothing is left to do. */
function ask(question: Question): void {
  asked.push(question.asked);
  socket.unref();
}

function answerIdle(): void {
  for (const question of asked.splice(0)) send(`{"type":"idle","asked":${question}}`);
  socket.ref();
}

async function load(file: string): Promise<AgentModule> {
  const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  // Nothing is read from here on, so that no file can decide what the program does. Older versions of Node cannot drop it.
  (process as { permission?: { drop?: (scope: string) => void } }).permission?.drop?.("fs.read");
  if (!isAgent(module.default)) {
    throw new OsError(
      "agent_invalid",
      "it has no default export made by agent({ … }). Write `export default agent({ name, description, run })`, with `agent` imported from reeve.",
    );
  }
  return module.default;
}

function isAgent(value: unknown): value is AgentModule {
  return (
    typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[Symbol.for("reeve.agent")] === 1
  );
}

async function obey(order: Order): Promise<void> {
  try {
    guard = order.type === "start" ? installGuard(order.pid, order.createdMs) : installGuard("describe", 0);
    const agent = await load(order.file);
    send(`{"type":"loaded","manifest":${encode(agent.manifest, "the manifest")}}`);
    if (order.type === "describe") return;
    const result = await agent.program(issue, order.task);
    send(`{"type":"result","value":${encode(result, "the result")}}`);
  } catch (error) {
    send(
      JSON.stringify({
        type: "failure",
        ...(OsError.is(error) ? { error: errorRecord(error) } : { thrown: thrownOf(error) }),
      }),
    );
  }
}

function thrownOf(error: unknown): Thrown {
  if (!(error instanceof Error)) return { text: String(error), at: "", denied: false };
  // The first line of the stack that names a file, and not a part of Node.
  const at = /(?:^|[\s(])(\/[^\s()]+:\d+(?::\d+)?)\)?$/m.exec((error.stack ?? "").replaceAll("file://", ""))?.[1] ?? "";
  return {
    text: `${error.name}: ${error.message}`,
    at,
    denied: (error as { code?: unknown }).code === "ERR_ACCESS_DENIED",
  };
}

// The first frame of a chunk is handled at once, which is a turn of its own already; those behind it wait for theirs.
const waiting: string[] = [];
let busy = false;

function handleNext(): void {
  const line = waiting.shift();
  busy = line !== undefined;
  if (line === undefined) return;
  nextTurn(handleNext);
  const frame = JSON.parse(line) as Order | Outcome | Question;
  if ("n" in frame) settle(frame);
  else if (frame.type === "idle") ask(frame);
  else void obey(frame);
}

const read = lineReader(FRAME_CHARACTERS_MAX, (line) => waiting.push(line));

/** At once, whatever the program has hung on to the end of the process. */
const end = (): void => void kill(process.pid, "SIGKILL");

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) process.on(signal, () => {});
process.on("beforeExit", answerIdle);
socket.setEncoding("utf8");
socket.on("data", (chunk: string) => {
  read(chunk);
  if (!busy) handleNext();
});
socket.on("end", end);
socket.on("error", end);
send(JSON.stringify({ type: "hello", protocol: PROTOCOL }));
