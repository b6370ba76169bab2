// Errors of the operating system. One class, a closed set of codes, typed facts in `data`.
//
// A programmer's error is an assertion that ends the program; these are the errors of operation: each code
// says when it arises and whether trying again can help. `exit` is the exit status of the command line,
// `status` the HTTP status.

import type { JsonObject } from "./json.ts";

type Row = {
  readonly retryable: boolean;
  readonly status: number;
  readonly exit: number;
  readonly doc: string;
};

export const ERRORS = {
  invalid_argument: {
    retryable: false,
    status: 400,
    exit: 2,
    doc: "An argument does not have the form the call asks for. data: issues, each with its path.",
  },
  config_invalid: {
    retryable: false,
    status: 400,
    exit: 2,
    doc: "The configuration does not hold. data: file, issues.",
  },
  agent_invalid: { retryable: false, status: 400, exit: 2, doc: "An agent file cannot be used. data: file, issues." },
  unauthenticated: { retryable: false, status: 401, exit: 3, doc: "The token is missing or wrong." },
  denied: { retryable: false, status: 403, exit: 3, doc: "A rule or a human said no. data: rule, reason." },
  not_found: { retryable: false, status: 404, exit: 4, doc: "There is no such thing. data: what, id." },
  conflict: {
    retryable: false,
    status: 409,
    exit: 1,
    doc: "Somebody was first, or the thing is not in a state that allows this. data: what, id.",
  },
  process_gone: {
    retryable: false,
    status: 410,
    exit: 4,
    doc: "The process, or an ancestor of it, has exited. data: pid.",
  },
  limit_exceeded: {
    retryable: false,
    status: 429,
    exit: 1,
    doc: "A declared limit would be passed. data: limit, max.",
  },
  budget_exhausted: {
    retryable: false,
    status: 402,
    exit: 1,
    doc: "The call would cross the budget of the process or of an ancestor; it was not made. data: budget, pid, max, spent, reserved, asked.",
  },
  deadline_exceeded: {
    retryable: false,
    status: 504,
    exit: 1,
    doc: "The process cannot end by its deadline, or the call not in the time that is left. data: deadlineMs, neededMs.",
  },
  deadlock: {
    retryable: true,
    status: 409,
    exit: 1,
    doc: "Processes waited for one another's locks in a circle, and this call was chosen to give way. data: key, cycle.",
  },
  tool_failed: {
    retryable: false,
    status: 502,
    exit: 1,
    doc: "The tool did its work and answered with an error. data: tool, content.",
  },
  tool_unavailable: {
    retryable: true,
    status: 503,
    exit: 1,
    doc: "The tool or its server could not be reached; nothing was performed. data: tool.",
  },
  tool_changed: {
    retryable: false,
    status: 409,
    exit: 1,
    doc: "The tool's definition is not the one that the process started with, or that was taken from its source. data: tool, pinned, found.",
  },
  isolation_unavailable: {
    retryable: false,
    status: 501,
    exit: 1,
    doc: "No sandbox of the level that is asked for has passed its self-test here; nothing was run. data: level, drivers.",
  },
  egress_denied: {
    retryable: false,
    status: 403,
    exit: 3,
    doc: "No rule allows this way out, or the address that a host stands for. data: host, port, rule.",
  },
  model_failed: {
    retryable: false,
    status: 502,
    exit: 1,
    doc: "The model's provider refused or failed; whether a retry helps is said in the error itself. data: model, status, retryAfterMs.",
  },
  timeout: { retryable: true, status: 504, exit: 1, doc: "It took longer than allowed. data: afterMs." },
  cancelled: {
    retryable: false,
    status: 499,
    exit: 130,
    doc: "The call was given up because its process ended or its caller left.",
  },
  outcome_unknown: {
    retryable: false,
    status: 409,
    exit: 6,
    doc: "An effect was dispatched and its outcome never came back; a human settles it. data: request.",
  },
  replay_divergence: {
    retryable: false,
    status: 409,
    exit: 5,
    doc: "The program did not issue the call that its journal holds. data: call, field, recorded, issued.",
  },
  program_failed: {
    retryable: false,
    status: 500,
    exit: 1,
    doc: "The agent's program threw, or its process died. data: agent.",
  },
  store_busy: {
    retryable: true,
    status: 503,
    exit: 1,
    doc: "Another process owns the data folder. data: folder, owner.",
  },
  store_failed: {
    retryable: true,
    status: 503,
    exit: 1,
    doc: "The store could not write or read. data: reason (full, read_only, corrupt, io, version), folder.",
  },
  address_in_use: { retryable: false, status: 503, exit: 1, doc: "The port is taken. data: port." },
  unreachable: { retryable: true, status: 503, exit: 1, doc: "The server does not answer. data: url." },
  unsupported: { retryable: false, status: 501, exit: 1, doc: "This system cannot do that here." },
  internal: { retryable: false, status: 500, exit: 70, doc: "A fault of Reeve itself; please report it." },
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as readonly ErrorCode[];

/** An error as it is recorded in the journal and sent over the wire. */
export type ErrorRecord = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly data: JsonObject;
};

const BRAND: unique symbol = Symbol.for("reeve.error") as never;

export class OsError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly data: JsonObject;
  readonly [BRAND] = true;

  /** `message` says what happened, why, and what to do about it. */
  constructor(
    code: ErrorCode,
    message: string,
    options: { data?: JsonObject; retryable?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "OsError";
    this.code = code;
    this.retryable = options.retryable ?? ERRORS[code].retryable;
    this.data = options.data ?? {};
  }

  /** By brand, since errors cross package copies and realms. */
  static is(error: unknown, code?: ErrorCode): error is OsError {
    if (typeof error !== "object" || error === null || !(BRAND in error)) return false;
    return code === undefined || (error as OsError).code === code;
  }

  static from(record: ErrorRecord): OsError {
    return new OsError(record.code, record.message, { data: record.data, retryable: record.retryable });
  }

  toJSON(): ErrorRecord {
    return { code: this.code, message: this.message, retryable: this.retryable, data: this.data };
  }
}

/** Any thrown value as a record; what is not an OsError becomes one with the code given. */
export function errorRecord(error: unknown, code: ErrorCode = "internal", data: JsonObject = {}): ErrorRecord {
  if (OsError.is(error))
    return { code: error.code, message: error.message, retryable: error.retryable, data: error.data };
  const message = error instanceof Error ? error.message : String(error);
  return { code, message, retryable: ERRORS[code].retryable, data };
}

/** The issues of a failed schema check, each as `path: what is wrong`. */
export function issueLines(issues: readonly { path: readonly PropertyKey[]; message: string }[]): string[] {
  return issues.map(({ path, message }) => `${path.length === 0 ? "(whole)" : path.map(String).join(".")}: ${message}`);
}
