// A system for tests: processes that do what a test's script says, kept in memory.
//
// It holds to the contract of `System` as far as a door can tell: arguments are checked by the table, errors are
// OsErrors, followers see what exists and what comes, and end with the process.
import { OsError, issueLines } from "../abi/errors.ts";
import type { Event, EventHeader } from "../abi/events.ts";
import { processIdOf, requestIdOf, type ProcessId, type RequestId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { Exit, ProcessRow, Wait } from "../abi/process.ts";
import type { Schedule } from "../abi/schedules.ts";
import { DEFAULT_TENANT } from "../abi/scheduling.ts";
import { rowOf, type Args, type Input, type OperatorCall, type Output } from "../abi/syscalls.ts";
import { type Check, type EndedCall, type VerifyReport, type WaitExplained } from "../abi/reports.ts";
import { type Decision, type InboxItem } from "../abi/requests.ts";
import type { StreamItem, System } from "../ports/system.ts";

type Operated = Exclude<OperatorCall, "journal.follow">;
type Handlers = { readonly [Name in Operated]: (args: Args<Name>, by: string) => Output<Name> | Promise<Output<Name>> };
export type Script = (process: FakeProcess, task: Json) => Promise<void>;
type Asked = Partial<Omit<InboxItem, "call">> & { readonly kind: InboxItem["kind"] };

export const FAKE_NOW_MS = Date.UTC(2026, 10, 22, 12, 0, 0);

const NOTHING = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };

/** What the n-th id of a kind is made of; the first few dozen ids all begin with 0. */
const bytesOf = (n: number): Uint8Array => new Uint8Array(8).fill(n);

export class FakeProcess {
  row: ProcessRow;
  readonly task: Json;
  readonly events: Event[] = [];
  /** Calls of models and tools that a kill ends. */
  underWay: EndedCall[] = [];
  readonly #system: FakeSystem;
  #calls = 0;
  #turn = Promise.withResolvers<void>();
  #deltas: { readonly afterSeq: number; readonly item: StreamItem }[] = [];

  constructor(system: FakeSystem, row: ProcessRow, task: Json) {
    this.#system = system;
    this.row = row;
    this.task = task;
    this.append(
      {
        kind: "process.created",
        agent: row.agent,
        agentHash: "0".repeat(64),
        parent: row.parent,
        root: row.root,
        depth: row.depth,
        budget: row.budget,
        class: row.class,
        tenant: row.tenant,
        weight: row.weight,
        by: "operator",
      },
      { task },
    );
  }

  get pid(): ProcessId {
    return this.row.pid;
  }

  nextCall(): number {
    return this.#calls++;
  }

  change(change: Partial<ProcessRow>): void {
    this.row = { ...this.row, ...change };
  }

  append(header: EventHeader, payloads: { readonly [name: string]: Json } = {}): void {
    const seq = this.events.length;
    this.events.push({ pid: this.pid, seq, atMs: FAKE_NOW_MS + seq, header, payloads, hash: "A".repeat(43) });
    this.change({ events: this.events.length });
    this.#wake();
  }

  delta(call: number, text: string): void {
    this.#deltas.push({ afterSeq: this.events.length - 1, item: { kind: "delta", pid: this.pid, call, text } });
    this.#wake();
  }

  /** A model's turn, streamed in the pieces given. */
  says(...pieces: readonly string[]): void {
    const call = this.nextCall();
    for (const piece of pieces) this.delta(call, piece);
    this.said(call, pieces.join(""));
  }

  /** The end of a model's turn whose words were streamed with `delta`, if at all. */
  said(call: number, text: string): void {
    const usage = { inputTokens: 1000, outputTokens: 20, costUsd: 0.0042 };
    const { spent } = this.row;
    this.change({
      spent: {
        calls: spent.calls + 1,
        inputTokens: spent.inputTokens + 1000,
        outputTokens: spent.outputTokens + 20,
        costUsd: spent.costUsd + 0.0042,
      },
    });
    this.append(
      { kind: "call.completed", call, syscall: "model.generate", effect: "read", usage },
      {
        args: { messages: [] },
        value: {
          content: [{ type: "text", text }],
          finishReason: "stop",
          usage,
          model: "rehearsal/plain",
          context: "c".repeat(43),
        },
      },
    );
  }

  /** A tool call that answers with the text. */
  calls(tool: string, args: Json, text: string): void {
    const call = this.nextCall();
    this.change({ spent: { ...this.row.spent, calls: this.row.spent.calls + 1 } });
    this.append(
      { kind: "call.completed", call, syscall: "tool.call", effect: "read" },
      { args: { tool, args }, value: { text } },
    );
  }

  fails(tool: string, args: Json, error: OsError): void {
    const call = this.nextCall();
    this.append(
      { kind: "call.completed", call, syscall: "tool.call", effect: "write", error: error.code },
      { args: { tool, args }, error: error.toJSON() as unknown as Json },
    );
  }

  /** Asks a human and gives the decision when there is one. */
  async asks(asked: Asked): Promise<Decision> {
    const call = this.nextCall();
    const item = this.#system.open(this, asked, call);
    const syscall = asked.kind === "question" ? "human.ask" : "tool.call";
    const args: Json =
      asked.kind === "question" ? { question: item.question } : { tool: item.tool ?? "", args: item.args ?? {} };
    this.waits({ on: "human", call, request: item.request }, { syscall, args });
    this.append(
      {
        kind: "request.opened",
        request: item.request,
        call,
        requestKind: item.kind,
        digest: item.digest,
        rule: item.rule,
      },
      { request: item as unknown as Json },
    );
    const { decision, by } = await this.#system.decision(item.request);
    this.append(
      { kind: "request.decided", request: item.request, call, verdict: decision.verdict, by },
      { decision: decision as unknown as Json },
    );
    this.change({ state: "running", waits: [] });
    return decision;
  }

  waits(
    wait: Wait,
    {
      syscall,
      args,
    }: {
      readonly syscall: "human.ask" | "tool.call" | "message.receive" | "clock.sleep" | "process.wait";
      readonly args: Json;
    },
  ): void {
    this.change({ state: "waiting", waits: [...this.row.waits, wait] });
    this.append({ kind: "call.waiting", call: wait.call, syscall, wait }, { args });
  }

  exits(exit: Exit): void {
    if (this.row.state === "exited") return;
    this.change({ state: "exited", exit, waits: [] });
    const error = exit.how === "failed" ? { error: exit.error.code } : {};
    this.append(
      {
        kind: "process.exited",
        how: exit.how,
        by: exit.how === "killed" ? exit.by : this.pid,
        open: [],
        ...error,
      },
      { exit: exit as unknown as Json },
    );
  }

  async *follow(from: number, signal: AbortSignal): AsyncGenerator<StreamItem> {
    let seq = from;
    // The model's words are not recorded: who comes later does not hear them.
    let deltas = from > 0 ? this.#deltas.length : 0;
    while (!signal.aborted) {
      const delta = this.#deltas[deltas];
      const event = this.events[seq];
      if (delta !== undefined && (event === undefined || event.seq > delta.afterSeq)) {
        deltas += 1;
        yield delta.item;
      } else if (event !== undefined) {
        seq += 1;
        yield { kind: "event", event };
      } else if (this.row.state === "exited") return;
      else await Promise.race([this.#turn.promise, aborted(signal)]);
    }
  }

  #wake(): void {
    this.#turn.resolve();
    this.#turn = Promise.withResolvers<void>();
  }
}

const explained = (wait: Wait): WaitExplained => ({
  call: wait.call,
  on: wait.on,
  what: wait.on === "human" ? wait.request : wait.on,
  reason: wait.on === "human" ? `A human is asked: ${wait.request}.` : `It waits for a ${wait.on}.`,
  position: null,
  ahead: [],
  estimateMs: null,
  sinceMs: FAKE_NOW_MS,
});

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

export class FakeSystem implements System {
  readonly operated: { readonly name: string; readonly args: unknown; readonly by: string }[] = [];
  readonly processes = new Map<ProcessId, FakeProcess>();
  readonly scripts = new Map<string, Script>();
  /** Followers that are reading now. */
  following = 0;
  checks: Check[] = [{ name: "store", state: "ok", detail: "sound" }];
  verified: Partial<VerifyReport> = {};
  readonly schedules = new Map<string, Schedule>();
  listedTools: Output<"tool.list"> = { tools: [], held: [], sources: [], unavailable: [] };
  readonly diffs = new Map<string, Output<"tool.diff">>();
  /** What was accepted, and by whom. */
  readonly accepted: (Input<"tool.accept"> & { readonly by: string })[] = [];
  login: (args: Args<"tool.login">) => Output<"tool.login"> = () => ({ address: null });
  resources: Output<"system.inspect">["resources"] = [];
  /** What `process.show` says of a process, in place of what follows from its row. */
  readonly explained = new Map<ProcessId, Partial<Pick<Output<"process.show">, "waiting" | "left" | "tree">>>();
  #requests = new Map<
    RequestId,
    {
      readonly item: InboxItem;
      readonly decided: PromiseWithResolvers<{ decision: Decision; by: string }>;
      verdict: string | null;
    }
  >();
  readonly #keys = new Map<string, ProcessId>();

  async operate<Name extends Operated>(name: Name, args: Input<Name>, by: string): Promise<Output<Name>> {
    this.operated.push({ name, args, by });
    const parsed = rowOf(name).input.safeParse(args);
    if (!parsed.success) {
      const issues = issueLines(parsed.error.issues);
      throw new OsError("invalid_argument", `${name}: ${issues.join("; ")}`, { data: { issues } });
    }
    return await this.#handlers[name](parsed.data as Args<Name>, by);
  }

  async *follow(pid: ProcessId, from: number, signal: AbortSignal): AsyncGenerator<StreamItem> {
    this.following += 1;
    try {
      yield* this.process(pid).follow(from, signal);
    } finally {
      this.following -= 1;
    }
  }

  process(pid: ProcessId): FakeProcess {
    const found = this.processes.get(pid);
    if (found === undefined)
      throw new OsError("not_found", `There is no process ${pid}.`, { data: { what: "process", id: pid } });
    return found;
  }

  /** A process that does nothing until the test has it do something. */
  create(
    agent: string,
    {
      task = "do it",
      parent = null,
      createdMs = FAKE_NOW_MS,
    }: { task?: Json; parent?: FakeProcess | null; createdMs?: number } = {},
  ): FakeProcess {
    const pid = processIdOf(bytesOf(this.processes.size + 1));
    const row: ProcessRow = {
      pid,
      parent: parent?.pid ?? null,
      root: parent?.row.root ?? pid,
      depth: (parent?.row.depth ?? -1) + 1,
      agent,
      state: "running",
      waits: [],
      exit: null,
      class: parent?.row.class ?? "standard",
      tenant: parent?.row.tenant ?? DEFAULT_TENANT,
      weight: 1,
      tree: {},
      budget: {},
      spent: NOTHING,
      reserved: NOTHING,
      deadlineMs: null,
      events: 0,
      createdMs,
      updatedMs: createdMs,
    };
    const process = new FakeProcess(this, row, task);
    this.processes.set(pid, process);
    return process;
  }

  open(process: FakeProcess, asked: Asked, call = 0): InboxItem {
    const request = requestIdOf(bytesOf(this.#requests.size + 1));
    const item: InboxItem = {
      request,
      pid: process.pid,
      agent: process.row.agent,
      call,
      question: "May it?",
      rule: "destroy-asks",
      reason: "the effect is destroy",
      digest: "d".repeat(64),
      openedMs: FAKE_NOW_MS,
      ...asked,
    };
    this.#requests.set(request, { item, decided: Promise.withResolvers(), verdict: null });
    return item;
  }

  decision(request: RequestId): Promise<{ decision: Decision; by: string }> {
    const found = this.#requests.get(request);
    if (found === undefined) throw new OsError("not_found", `There is no request ${request}.`);
    return found.decided.promise;
  }

  readonly #commands = new Set<ProcessId>();
  undoPlan: Output<"process.undo">["plan"] = [];
  /** The same as a patch. */
  patch = "";
  /** What every workspace differs in. */
  differences: Output<"workspace.commit"> = { changes: [], more: 0, leftOut: [] };
  snapshots: number[] = [];
  /** In the order of pids. */
  workspaces: Output<"workspace.list">["workspaces"] = [];
  /** What was asked of workspaces. */
  readonly workspaceCalls: string[] = [];

  readonly #handlers: Handlers = {
    "process.spawn": (args) => this.#spawn(args),
    "process.exec": ({ command, input, class: name }) => {
      const spawned = this.#spawn({
        agent: this.scripts.has(command[0] ?? "") ? (command[0] ?? "") : ([...this.scripts.keys()][0] ?? ""),
        task: { command, ...(input === undefined ? {} : { input }) },
        ...(name === undefined ? {} : { class: name }),
      });
      this.#commands.add(spawned.pid);
      return spawned;
    },
    "process.undo": ({ pid, dryRun }) => ({
      plan: this.undoPlan,
      pid: dryRun || this.undoPlan.length === 0 ? null : this.#spawn({ agent: "undo", task: { of: pid } }).pid,
    }),
    "process.wait": ({ pid }) => ({ exit: this.process(pid).row.exit }),
    "process.signal": ({ pid, signal, reason }, by) => this.#signal(this.process(pid), signal, { reason, by }),
    "process.nice": ({ pid, class: name, weight }, by) => this.#nice(this.process(pid), { name, weight, by }),
    "process.limit": ({ pid, budget }, by) => {
      const process = this.process(pid);
      process.change({ budget: { ...process.row.budget, ...budget } });
      process.append({ kind: "process.limited", budget: process.row.budget, by });
      return { budget: process.row.budget };
    },
    "process.list": ({ state, root, prefix, before, limit }) => {
      const rows = [...this.processes.values()].map(({ row }) => row).reverse();
      const start = before === undefined ? 0 : rows.findIndex(({ pid }) => pid === before) + 1;
      const fits = (row: ProcessRow): boolean =>
        (state === undefined || (state === "alive" ? row.state !== "exited" : row.state === state)) &&
        (root === undefined || row.root === root) &&
        row.pid.startsWith(prefix ?? "");
      return { processes: rows.slice(start).filter(fits).slice(0, limit) };
    },
    "process.show": ({ pid }) => this.#show(this.process(pid)),
    "message.send": ({ pid, topic, body }, by) => {
      const message = requestIdOf(bytesOf(99)).replace("r_", "m_") as never;
      this.process(pid).append({ kind: "message.delivered", message, from: by, topic }, { body });
      return { message };
    },
    "workspace.list": ({ after, limit }) => ({
      workspaces: this.workspaces.filter(({ pid }) => after === undefined || pid > after).slice(0, limit),
    }),
    "workspace.remove": ({ pid, discard }) => {
      const row = this.workspaces.find((each) => each.pid === pid);
      if (!discard && (row?.changed ?? 0) !== 0)
        throw new OsError("conflict", "It holds what is nowhere else.", { data: { paths: ["a.txt"] } });
      this.workspaces = this.workspaces.filter((each) => each !== row);
      this.workspaceCalls.push(`remove ${pid}`);
      return this.differences;
    },
    "workspace.patch": ({ pid, from }) => {
      this.workspaceCalls.push(`patch ${pid} ${from ?? "all"}`);
      return { patch: this.patch, leftOut: this.differences.leftOut };
    },
    "workspace.diff": ({ pid, from }) => {
      this.workspaceCalls.push(`diff ${this.process(pid).row.pid} ${from ?? "all"}`);
      return { ...this.differences, snapshots: this.snapshots };
    },
    "workspace.commit": ({ pid, except }) => {
      this.workspaceCalls.push(`commit ${[this.process(pid).row.pid, ...except].join(" ")}`);
      return this.differences;
    },
    "workspace.rollback": ({ pid, to }) => {
      this.workspaceCalls.push(`rollback ${this.process(pid).row.pid} ${to ?? "all"}`);
      return this.differences;
    },
    "human.list": ({ pid, limit }) => ({ requests: this.#open(pid).slice(0, limit) }),
    "human.decide": ({ request, decision }, by) => this.#decide(request, decision, by),
    "journal.read": ({ pid, from, limit }) => ({
      events: this.process(pid).events.slice(from, from + limit) as unknown as Output<"journal.read">["events"],
    }),
    "journal.verify": ({ pid }) => ({
      pid: this.process(pid).pid,
      identical: true,
      events: 12,
      calls: 4,
      difference: null,
      chain: { intact: true, brokenAt: null },
      elapsedMs: 3.2,
      ...this.verified,
    }),
    "agent.list": () => ({ agents: [], invalid: [] }),
    "schedule.create": (args, by) => ({ schedule: this.#schedule(args, by) }),
    "schedule.list": () => ({ schedules: [...this.schedules.values()] }),
    "schedule.change": ({ name, paused }) => {
      const schedule = { ...this.#scheduled(name), paused };
      this.schedules.set(name, schedule);
      return { schedule };
    },
    "schedule.remove": ({ name }) => {
      const schedule = this.#scheduled(name);
      this.schedules.delete(name);
      return { schedule };
    },
    "tool.list": () => this.listedTools,
    "tool.diff": ({ tool }) => {
      const diff = this.diffs.get(tool);
      if (diff === undefined) throw new OsError("not_found", `There is no tool ${tool}.`);
      return diff;
    },
    "tool.accept": ({ tools, source }, by) => {
      this.accepted.push({ tools, ...(source && { source }), by });
      return { accepted: tools.map(({ tool }) => tool) };
    },
    "tool.login": (args) => this.login(args),
    "tool.logout": () => ({ removed: true }),
    "system.inspect": () => ({
      version: "0.1.0",
      node: "v26.10.0",
      folder: "/tmp/project/.reeve",
      checks: this.checks,
      memory: { processes: 3, max: 1000, queued: 12 },
      resources: this.resources,
    }),
  };

  #open(pid?: ProcessId): InboxItem[] {
    return [...this.#requests.values()]
      .filter(({ item, verdict }) => verdict === null && (pid === undefined || item.pid === pid))
      .map(({ item }) => item);
  }

  #spawn({ agent, task, key, ...given }: Args<"process.spawn">): { pid: ProcessId } {
    const known = key === undefined ? undefined : this.#keys.get(key);
    if (known !== undefined) return { pid: known };
    const script = this.scripts.get(agent);
    if (script === undefined)
      throw new OsError(
        "not_found",
        `There is no agent "${agent}". There are: ${[...this.scripts.keys()].join(", ")}.`,
        { data: { what: "agent", id: agent } },
      );
    const process = this.create(agent, { task });
    process.change({
      budget: given.budget ?? {},
      class: given.class ?? "standard",
      tenant: given.tenant ?? DEFAULT_TENANT,
      weight: given.weight ?? 1,
      deadlineMs: given.deadlineMs ?? null,
    });
    if (key !== undefined) this.#keys.set(key, process.pid);
    queueMicrotask(() => void script(process, task));
    return { pid: process.pid };
  }

  #signal(
    process: FakeProcess,
    signal: "stop" | "cont" | "kill",
    { reason, by }: { reason: string; by: string },
  ): Output<"process.signal"> {
    if (process.row.state === "exited")
      throw new OsError("process_gone", `${process.pid} has exited.`, { data: { pid: process.pid } });
    if (signal === "kill") {
      const tree = [...this.processes.values()].filter(
        ({ row }) => row.pid === process.pid || row.parent === process.pid,
      );
      for (const each of tree) each.exits({ how: "killed", by, reason });
      return { pids: tree.map(({ pid }) => pid), calls: tree.flatMap(({ underWay }) => underWay) };
    }
    process.append(signal === "stop" ? { kind: "process.stopped", by } : { kind: "process.continued", by });
    process.change({ state: signal === "stop" ? "stopped" : "running" });
    return { pids: [process.pid], calls: [] };
  }

  #schedule({ cron, atMs, ...given }: Args<"schedule.create">, by: string): Schedule {
    if (this.schedules.has(given.name))
      throw new OsError("conflict", `There is a schedule ${given.name} already.`, {
        data: { what: "schedule", id: given.name },
      });
    const schedule: Schedule = {
      ...given,
      cron: cron ?? null,
      atMs: atMs ?? null,
      createdBy: by,
      createdMs: FAKE_NOW_MS,
      nextMs: atMs ?? FAKE_NOW_MS + 3_600_000,
      lastMs: null,
      lastPid: null,
      runs: 0,
      lastSkippedMs: null,
      lastSkippedWhy: null,
      lastError: null,
    };
    this.schedules.set(schedule.name, schedule);
    return schedule;
  }

  #scheduled(name: string): Schedule {
    const found = this.schedules.get(name);
    if (found !== undefined) return found;
    throw new OsError("not_found", `There is no schedule ${name}.`, { data: { what: "schedule", id: name } });
  }

  #nice(
    process: FakeProcess,
    { name, weight, by }: { name: ProcessRow["class"] | undefined; weight: number | undefined; by: string },
  ): { pids: ProcessId[] } {
    const { row } = process;
    const next = { class: name ?? row.class, weight: weight ?? row.weight };
    if (next.class === row.class && next.weight === row.weight) return { pids: [] };
    process.change(next);
    process.append({ kind: "process.reclassed", ...next, by });
    return { pids: [process.pid] };
  }

  #show(process: FakeProcess): Output<"process.show"> {
    const { row, task } = process;
    return {
      process: row,
      manifest: {
        name: row.agent,
        description: "Does what the test says.",
        tools: ["shop.*"],
        agents: [],
        class: "standard",
        weight: 1,
        budget: {},
        tree: {},
        workspace: {},
        egress: [],
        secrets: [],
        limits: {},
        turns: 100,
        conversation: "none",
      },
      // As `process.exec` makes them.
      program: this.#commands.has(process.pid) ? "command" : "markdown",
      task,
      tools: [{ name: "shop.refund", effect: "destroy", hash: "e".repeat(64) }],
      inbox: this.#open(process.pid),
      children: [...this.processes.values()].filter((each) => each.row.parent === process.pid).map((each) => each.row),
      waiting: row.waits.map(explained),
      left: {},
      tree: { spent: row.spent, reserved: row.reserved, locks: [] },
      ...this.explained.get(process.pid),
    };
  }

  #decide(request: RequestId, decision: Decision, by: string): Output<"human.decide"> {
    const found = this.#requests.get(request);
    if (found === undefined)
      throw new OsError("not_found", `There is no request ${request}.`, { data: { what: "request", id: request } });
    if (found.verdict !== null)
      throw new OsError("conflict", `${request} was decided before: ${found.verdict}.`, {
        data: { what: "request", id: request },
      });
    found.verdict = decision.verdict;
    found.decided.resolve({ decision, by });
    this.process(found.item.pid).change({ state: "running", waits: [] });
    return { request, pid: found.item.pid, verdict: decision.verdict };
  }
}
