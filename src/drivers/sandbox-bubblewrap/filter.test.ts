// Goal: the filter lets through what programs need and nothing else, on both architectures. Method: an interpreter of the filter's
// language runs the very bytes that the kernel gets, on every number and on the arguments that are looked at.
import { describe, expect, test } from "vitest";
import { judge } from "./bpf.fake.ts";
import { ALLOW, answer, assemble, failWith, goto, KILL_PROCESS, label, load, when } from "./bpf.ts";
import { filterFor } from "./filter.ts";
import { EAFNOSUPPORT, UNKNOWN, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from "../../lib/system-call-policy.ts";
import {
  checkedCalls,
  deniedCalls,
  freeCalls,
  NUMBER_REVIEWED_MAX,
  type Architecture,
} from "../../lib/system-calls.ts";

const AUDIT: Readonly<Record<Architecture, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 };
const REFUSED = failWith(EPERM);

for (const architecture of ["x64", "arm64"] as const)
  describe(architecture, () => {
    const program = filterFor(architecture);
    const arch = AUDIT[architecture];
    const numbers = new Map([...freeCalls(architecture), ...checkedCalls(architecture), ...deniedCalls(architecture)]);
    const ask = (name: string, ...args: number[]): number => judge(program, { nr: numbers.get(name)!, arch, args });

    test("every number: allowed ones pass, and all others fail, those to come too", () => {
      const free = new Set(freeCalls(architecture).values());
      const checked = new Set(checkedCalls(architecture).values());
      const denied = new Set(deniedCalls(architecture).values());
      const expected = (nr: number): number => {
        if (free.has(nr)) return ALLOW;
        return denied.has(nr) && nr < 424 ? REFUSED : failWith(UNKNOWN);
      };
      const numbersAsked = Array.from({ length: 0x4000 }, (_, nr) => nr).filter((nr) => !checked.has(nr));
      expect(numbersAsked.filter((nr) => judge(program, { nr, arch }) !== expected(nr))).toEqual([]);
    });

    test("no call stands in two tables, and none above the highest that was reviewed", () => {
      const all = [freeCalls, checkedCalls, deniedCalls].flatMap((calls) => [...calls(architecture)]);
      expect(new Set(all.map(([name]) => name)).size).toBe(all.length);
      expect(new Set(all.map(([, number]) => number)).size).toBe(all.length);
      expect(Math.max(...all.map(([, number]) => number))).toBe(NUMBER_REVIEWED_MAX);
    });

    test("from 424 on no number is unknown: each was looked at", () => {
      const known = new Set(numbers.values());
      for (let nr = 424; nr <= NUMBER_REVIEWED_MAX; nr += 1) expect(known.has(nr), `number ${nr}`).toBe(true);
    });

    test("another architecture is killed, whatever it calls", () => {
      for (const other of [0x40000003, 0x40000028, 0, ...Object.values(AUDIT).filter((own) => own !== arch)])
        for (const nr of [0, 1, 59, 400]) expect(judge(program, { nr, arch: other })).toBe(KILL_PROCESS);
    });

    test("families that reach out of a sandbox are refused by name", () => {
      const names = [
        "ptrace",
        "bpf",
        "mount",
        "umount2",
        "setns",
        "unshare",
        "keyctl",
        "userfaultfd",
        "perf_event_open",
      ];
      for (const name of [...names, "init_module", "kexec_load", "reboot", "open_by_handle_at", "process_vm_readv"])
        expect(ask(name), name).toBe(REFUSED);
      for (const name of [
        "io_uring_setup",
        "clone3",
        "open_tree",
        "fsopen",
        "statmount",
        "open_tree_attr",
        "pidfd_getfd",
      ])
        expect(ask(name), name).toBe(failWith(UNKNOWN));
    });

    test("clone makes threads and processes, and no namespaces", () => {
      expect(ask("clone", 0x3d0f00)).toBe(ALLOW);
      expect(ask("clone", 0x1200011)).toBe(ALLOW);
      for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80])
        expect(ask("clone", 0x11 | flag), flag.toString(16)).toBe(REFUSED);
    });

    test("ioctl does not type into terminals, also with bits above those that the kernel reads", () => {
      expect(ask("ioctl", 0, 0x5413)).toBe(ALLOW);
      for (const request of [0x5412, 0x541c, 0x541d, 0x5423, 0x1_0000_5412])
        expect(ask("ioctl", 0, request)).toBe(REFUSED);
    });

    test("sockets: local ones, TCP, UDP and the list of interfaces", () => {
      for (const type of [1, 2, 5, 1 | 0x80800]) expect(ask("socket", 1, type, 0)).toBe(ALLOW);
      for (const family of [2, 10]) {
        for (const [type, protocol] of [
          [1, 0],
          [1, 6],
          [2, 0],
          [2, 17],
          [1 | 0x80000, 6],
        ] as const)
          expect(ask("socket", family, type, protocol)).toBe(ALLOW);
        expect(ask("socket", family, 3, 0)).toBe(REFUSED);
        for (const [type, protocol] of [
          [1, 132],
          [1, 262],
          [2, 1],
        ] as const)
          expect(ask("socket", family, type, protocol)).toBe(failWith(EPROTONOSUPPORT));
      }
      expect(ask("socket", 1, 3, 0)).toBe(failWith(ESOCKTNOSUPPORT));
      expect(ask("socket", 16, 3, 0)).toBe(ALLOW);
      for (const protocol of [4, 9, 12, 15, 16]) expect(ask("socket", 16, 3, protocol)).toBe(failWith(EPROTONOSUPPORT));
      for (const family of [3, 17, 29, 31, 38, 40, 44])
        expect(ask("socket", family, 1, 0)).toBe(failWith(EAFNOSUPPORT));
      expect(ask("socketpair", 1, 1, 0)).toBe(ALLOW);
      expect(ask("socketpair", 2, 1, 0)).toBe(REFUSED);
    });

    test("no device files, no huge pages, no other personality, no listener for the calls of others", () => {
      expect(ask("mknodat", 0, 0, 0o010644)).toBe(ALLOW);
      expect(ask("mknodat", 0, 0, 0o020644)).toBe(REFUSED);
      expect(ask("mknodat", 0, 0, 0o060644)).toBe(REFUSED);
      expect(ask("mmap", 0, 4096, 3, 0x22)).toBe(ALLOW);
      expect(ask("mmap", 0, 4096, 3, 0x40022)).toBe(REFUSED);
      expect(ask("memfd_create", 0, 3)).toBe(ALLOW);
      expect(ask("memfd_create", 0, 4)).toBe(REFUSED);
      expect(ask("shmget", 0, 1, 0o600)).toBe(ALLOW);
      expect(ask("shmget", 0, 1, 0x800)).toBe(REFUSED);
      expect(ask("personality", 0xffffffff)).toBe(ALLOW);
      expect(ask("personality", 8)).toBe(REFUSED);
      expect(ask("seccomp", 0)).toBe(ALLOW);
      expect(ask("seccomp", 1, 1)).toBe(ALLOW);
      expect(ask("seccomp", 1, 8)).toBe(REFUSED);
      expect(ask("seccomp", 3)).toBe(REFUSED);
      expect(ask("prctl", 15)).toBe(ALLOW);
      for (const option of [35, 59, 62, 67]) expect(ask("prctl", option)).toBe(REFUSED);
    });
  });

test("calls of x32 are killed on x86-64", () => {
  const program = filterFor("x64");
  for (const nr of [0x40000000, 0x40000001, 0x40000200, 0x7fffffff, 0xffffffff])
    expect(judge(program, { nr, arch: AUDIT.x64 })).toBe(KILL_PROCESS);
});

test("the assembler refuses what would be another program than the one written", () => {
  const far = [when("ifEqual", 1, "end"), ...Array.from({ length: 256 }, () => load(0)), label("end"), answer(0)];
  expect(() => assemble(far)).toThrow(/no jump/);
  expect(() => assemble([goto("nowhere"), answer(0)])).toThrow(/no jump/);
  expect(() => assemble([label("back"), load(0), goto("back")])).toThrow(/no jump/);
  expect(() => assemble([label("a"), label("a"), answer(0)])).toThrow(/twice/);
});
