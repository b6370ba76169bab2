// The guard rail inside the child: what a program would see differently on its next run is either made the same or refused.
//
// Made the same: Math.random and the global crypto's randomUUID and getRandomValues (from the pid, so not secret), Date, Temporal.Now,
// performance.now and process.hrtime (the time last answered by clock.now, before that the process's creation).
// Refused, with an error that names the system call to use: timers, the network, child processes and workers, signals,
// and the rest of node:crypto's randomness. Files and native code are refused by Node's permission model.
//
// It keeps honest programs deterministic. It is no wall: the sandbox for hostile code is another part. What it leaves
// alone (compression, hashing by crypto.subtle, the garbage collector's timing) can still make a program diverge if it lets such
// work race with calls under way; replay then stops it and names the difference.
import childProcess from "node:child_process";
import nodeCrypto from "node:crypto";
import dgram from "node:dgram";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import timers from "node:timers";
import timersPromises from "node:timers/promises";
import workers from "node:worker_threads";
import { OsError } from "../../abi/errors.ts";
import { createGenerator } from "./generator.ts";
import type { Generator } from "./generator.ts";

export type Guard = {
  /** What clock.now answered. */
  setTime(ms: number): void;
};

const TIMERS = "timers would fire at another moment on the next run; wait with `await sys.clock.sleep({ ms })`";
const NETWORK = "an agent reaches the network only through tools; call one with `sys.tool.call({ tool, args })`";
const PROCESSES =
  "an agent starts no programs of its own; call a tool with `sys.tool.call({ tool, args })` or start an agent with `sys.process.spawn({ agent, task })`";
const SIGNALS = "signal a process with `sys.process.signal({ pid, signal })`";
const RANDOMNESS =
  "it would differ on the next run; take random bytes from `sys.random.bytes({ size })`, or keep the secret behind a tool";

/** `seed`: the pid. `createdMs`: when the process was created; Date shows that until the first clock.now. Once per child. */
export function installGuard(seed: string, createdMs: number): Guard {
  const clock = createClock(createdMs);
  seedRandomness(createGenerator(seed));
  fixTime(clock);
  refuseAll();
  syncBuiltinESMExports();
  return { setTime: clock.set };
}

type JournaledClock = { nowMs(): number; elapsedMs(): number; set(ms: number): void };

function createClock(createdMs: number): JournaledClock {
  let ms = createdMs;
  return {
    nowMs: () => ms,
    elapsedMs: () => ms - createdMs,
    set: (now) => void (ms = now),
  };
}

type Target = Record<string, unknown>;

const define = (target: unknown, key: string, value: unknown): void => {
  Object.defineProperty(target, key, { value, writable: true, configurable: true, enumerable: true });
};

function seedRandomness(generator: Generator): void {
  define(Math, "random", generator.float);
  const getRandomValues = (view: ArrayBufferView): ArrayBufferView => {
    generator.fill(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    return view;
  };
  const randomUUID = (): string => {
    const bytes = Buffer.alloc(16);
    generator.fill(bytes);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };
  // The getRandomValues of node:crypto passes on to the global one.
  define(Object.getPrototypeOf(globalThis.crypto), "getRandomValues", getRandomValues);
  define(Object.getPrototypeOf(globalThis.crypto), "randomUUID", randomUUID);
  define(nodeCrypto, "randomUUID", randomUUID);
}

function fixTime(clock: JournaledClock): void {
  const RealDate = Date;
  define(RealDate, "now", clock.nowMs);
  const FixedDate = new Proxy(RealDate, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [clock.nowMs()] : args, newTarget) as object,
    apply: () => new RealDate(clock.nowMs()).toString(),
  });
  define(RealDate.prototype, "constructor", FixedDate);
  define(globalThis, "Date", FixedDate);
  fixFormats(clock);
  fixTemporal(clock);
  define(performance, "now", clock.elapsedMs);
  const hrtime = Object.assign(
    (since: [number, number] = [0, 0]): [number, number] => {
      const ns = BigInt(Math.round(clock.elapsedMs() * 1e6)) - (BigInt(since[0]) * 1_000_000_000n + BigInt(since[1]));
      return [Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n)];
    },
    { bigint: () => BigInt(Math.round(clock.elapsedMs() * 1e6)) },
  );
  define(process, "hrtime", hrtime);
  define(process, "uptime", () => clock.elapsedMs() / 1000);
}

/** Intl formats the present moment when it is given none. */
function fixFormats(clock: JournaledClock): void {
  const prototype = Intl.DateTimeFormat.prototype;
  const format = Object.getOwnPropertyDescriptor(prototype, "format")?.get;
  const { formatToParts } = prototype;
  if (format === undefined) return;
  Object.defineProperty(prototype, "format", {
    configurable: true,
    get(this: Intl.DateTimeFormat) {
      const bound = format.call(this) as (date: unknown) => string;
      return (date?: unknown) => bound(date ?? clock.nowMs());
    },
  });
  define(prototype, "formatToParts", function (this: Intl.DateTimeFormat, date?: Date | number) {
    return formatToParts.call(this, date ?? clock.nowMs());
  });
}

type ZonedTime = { toPlainDateTime(): unknown; toPlainDate(): unknown; toPlainTime(): unknown };
type TemporalNow = {
  Instant: { fromEpochMilliseconds(ms: number): { toZonedDateTimeISO(zone: string): ZonedTime } };
  Now: { timeZoneId(): string };
};

/** Temporal is there in newer versions of Node only. */
function fixTemporal(clock: JournaledClock): void {
  const temporal = (globalThis as { Temporal?: TemporalNow }).Temporal;
  if (temporal === undefined) return;
  const { Instant, Now } = temporal;
  const instant = () => Instant.fromEpochMilliseconds(clock.nowMs());
  const zoned = (zone: string = Now.timeZoneId()) => instant().toZonedDateTimeISO(zone);
  define(Now, "instant", instant);
  define(Now, "zonedDateTimeISO", zoned);
  define(Now, "plainDateTimeISO", (zone?: string) => zoned(zone).toPlainDateTime());
  define(Now, "plainDateISO", (zone?: string) => zoned(zone).toPlainDate());
  define(Now, "plainTimeISO", (zone?: string) => zoned(zone).toPlainTime());
}

function refuseAll(): void {
  const rows: [target: unknown, keys: string[], remedy: string][] = [
    [globalThis, ["setTimeout", "setInterval", "setImmediate"], TIMERS],
    [timers, ["setTimeout", "setInterval", "setImmediate"], TIMERS],
    [timersPromises, ["setTimeout", "setInterval", "setImmediate"], TIMERS],
    [timersPromises.scheduler, ["wait", "yield"], TIMERS],
    [AbortSignal, ["timeout"], TIMERS],
    [globalThis, ["fetch", "WebSocket", "EventSource"], NETWORK],
    [net.Socket.prototype, ["connect"], NETWORK],
    [net.Server.prototype, ["listen"], NETWORK],
    [dgram.Socket.prototype, ["bind", "connect", "send"], NETWORK],
    [childProcess, ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"], PROCESSES],
    [workers, ["Worker"], PROCESSES],
    [process, ["kill", "abort"], SIGNALS],
    [
      nodeCrypto,
      [
        "randomBytes",
        "randomFill",
        "randomFillSync",
        "randomInt",
        "generateKey",
        "generateKeySync",
        "generateKeyPair",
        "generateKeyPairSync",
        "generatePrime",
        "generatePrimeSync",
      ],
      RANDOMNESS,
    ],
    [Object.getPrototypeOf(globalThis.crypto.subtle), ["generateKey"], RANDOMNESS],
  ];
  for (const [target, keys, remedy] of rows) for (const key of keys) refuse(target as Target, key, remedy);
}

function refuse(target: Target, key: string, remedy: string): void {
  if (!(key in target)) return;
  // Not an arrow function, so that `new` meets the same words.
  define(target, key, function () {
    throw new OsError("unsupported", `${key} is not to be had in a module agent: ${remedy}.`);
  });
}
