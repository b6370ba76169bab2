// Goal: the front does all that it is there for, and nothing is started where it cannot. Method: it is started with a shell in the place
// of bubblewrap that tells what it finds.
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { emulationOf } from "../../../../test/emulator.ts";
import { needs } from "../../../../test/needs.ts";
import { Fronts } from "./fronts.ts";
import { Meeting } from "./meeting.ts";
import type { Front } from "./program.ts";

const O_PATH = 0o10000000;
const UID = 345_678;

for (const target of ["x64", "arm64"] as const) {
  const { name: emulator, before, isHere } = emulationOf(target);
  needs(emulator, isHere)(`the front of bubblewrap on ${target}`, () => {
    const held = {} as { folder: string; found: string; fronts: Fronts };
    beforeAll(() => {
      const folder = mkdtempSync(join(tmpdir(), "reeve-fronts-"));
      chmodSync(folder, 0o711);
      const found = join(folder, "found");
      mkdirSync(join(folder, "fronts"));
      writeFileSync(
        found,
        '#!/bin/sh\necho "$@"; ulimit -c; ulimit -n; ulimit -f; ulimit -t; ls /proc/self/fd | tr "\\n" " "\n',
      );
      chmodSync(found, 0o755);
      Object.assign(held, { folder, found, fronts: new Fronts(join(folder, "fronts"), target) });
    });
    afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

    const work = (part: Partial<Front> = {}): Front => ({
      ...{ bwrap: held.found, doors: [4, 5], strays: [7, 11], fileBytesMax: 512 * 100, cpuSecondsMax: 9 },
      ...part,
    });

    function run(front: Front, args: readonly string[], given: readonly number[] = []) {
      const open = ["a", "b"].map((door) => openSync(join(held.folder, `door-${door}`), "w"));
      const stray = openSync("/dev/null", "r");
      const { status, stdout, stderr } = held.fronts.with(front, (file) => {
        const [program = file, ...rest] = [...before, file, ...args];
        return spawnSync(program, rest, {
          env: { PATH: "/usr/bin:/bin" },
          stdio: ["ignore", "pipe", "pipe", "ignore", ...open, stray, stray, ...given],
          encoding: "utf8",
        });
      });
      for (const descriptor of [...open, stray]) closeSync(descriptor);
      const entered = ["a", "b"].map((door) => readFileSync(join(held.folder, `door-${door}`), "utf8"));
      return { status, stdout, stderr, entered };
    }

    /** Of the descriptors that are given here, those that the program has found; the lowest that is free is the list's own. */
    const openIn = (stdout: string): number[] =>
      (stdout.trim().split("\n").at(-1) ?? "")
        .split(" ")
        .map(Number)
        .filter((number) => number > 3 && number < 12)
        .toSorted((one, other) => one - other);

    test("enters the groups, lowers the limits, closes what is not the sandbox's, and becomes bubblewrap", () => {
      const stray = openSync("/dev/null", "r");
      const told = run(work(), ["--an", "argument with spaces"], [stray, stray, stray, stray]);
      closeSync(stray);
      expect(told).toMatchObject({ status: 0, stderr: "", entered: ["0", "0"] });
      expect(told.stdout).toMatch(/^--an argument with spaces\n0\n1024\n100\n9\n/);
      expect(openIn(told.stdout)).toEqual([6, 8, 9, 10]);
    });

    test("is made once for the same work, and never too many are kept", () => {
      const fileOf = (front: Front): string => held.fronts.with(front, (program) => program);
      expect(fileOf(work())).toBe(fileOf(work()));
      for (let count = 0; count < 100; count += 1) fileOf(work({ cpuSecondsMax: 10 + count }));
      expect(readdirSync(join(held.folder, "fronts")).length).toBe(64);
      expect(run(work(), ["again"]).stdout).toMatch(/^again\n/);
    });

    test("says so where a group cannot be entered or bubblewrap is not there, and starts nothing", () => {
      expect(run(work({ doors: [4, 55] }), [])).toMatchObject({
        status: 125,
        stdout: "",
        stderr: "A control group could not be entered.\n",
      });
      expect(run(work({ bwrap: "/nowhere" }), [])).toMatchObject({
        status: 125,
        stderr: "/nowhere could not be started.\n",
      });
    });

    // An emulator does not know these calls; what it runs of them is what native-program.test.ts shows.
    if (before.length > 0) return;
    needs("root", process.geteuid?.() === 0)("where only root finds the sources", () => {
      /** A closed folder with a file and a folder, open, and the places where they are to be found. */
      function lay(name: string) {
        const closed = join(held.folder, name);
        mkdirSync(join(closed, "folder"), { recursive: true });
        chmodSync(closed, 0o700);
        writeFileSync(join(closed, "folder", "within"), "in the folder");
        writeFileSync(join(closed, "file"), "in the file");
        const meeting = new Meeting(join(held.folder, `${name}-meeting`));
        const sources = ["folder", "file"].map((source, number) => ({
          descriptor: openSync(join(closed, source), O_PATH | constants.O_NOFOLLOW),
          place: meeting.placeFor(number, statSync(join(closed, source))),
        }));
        return { closed, sources, close: () => sources.forEach(({ descriptor }) => closeSync(descriptor)) };
      }
      const shown = (sources: readonly { descriptor: number; place: string }[]): Partial<Front> => ({
        bwrap: "/bin/sh",
        hidden: { uid: UID, sources: sources.map(({ place }, at) => ({ descriptor: 8 + at, place })) },
      });
      const script = (sources: readonly { place: string }[]): readonly string[] => [
        ...["-c", 'id -u; id -G; cat "$1/within"; cat "$2"; echo; ls /proc/self/fd | tr "\\n" " "', "sh"],
        ...sources.map(({ place }) => place),
      ];

      test("they are found by the sandbox's user, in a namespace of its own, and bubblewrap is not root", () => {
        const { sources, close } = lay("plain");
        const groups = process.getgroups?.() ?? [];
        // Of Reeve's own none are the sandbox's.
        process.setgroups?.([...groups, UID + 1]);
        const told = run(
          work(shown(sources)),
          script(sources),
          sources.map(({ descriptor }) => descriptor),
        );
        process.setgroups?.(groups);
        close();
        expect(told).toMatchObject({ status: 0, stderr: "", entered: ["0", "0"] });
        expect(told.stdout).toMatch(new RegExp(`^${UID}\n${UID}\nin the folderin the file\n`));
        expect(openIn(told.stdout)).toEqual([6]);
        // Outside nothing has changed.
        expect(readdirSync(sources[0]?.place ?? "")).toEqual([]);
        expect(readFileSync(sources[1]?.place ?? "", "utf8")).toBe("");
        expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("plain-meeting");
      });

      test("the machine sees none of it, though it shares its mounts with whoever is started", () => {
        const { sources, close } = lay("shared");
        const place = join(held.folder, "shared-meeting");
        const mount = (...args: readonly string[]): void => void execFileSync("mount", args);
        mount("--bind", place, place);
        try {
          mount("--make-shared", place);
          const told = run(
            work(shown(sources)),
            script(sources),
            sources.map(({ descriptor }) => descriptor),
          );
          expect(told.stdout).toContain("in the folder");
          const below = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
          expect(below.filter((line) => line.includes("shared-meeting/"))).toEqual([]);
        } finally {
          close();
          execFileSync("umount", ["--recursive", place]);
        }
      });

      test("what was opened is shown, though its path leads elsewhere by now", () => {
        const { closed, sources, close } = lay("replaced");
        renameSync(join(closed, "folder"), join(closed, "moved"));
        symlinkSync("/etc", join(closed, "folder"));
        const told = run(
          work(shown(sources)),
          script(sources),
          sources.map(({ descriptor }) => descriptor),
        );
        close();
        expect(told).toMatchObject({ status: 0, stdout: expect.stringContaining("in the folder") });
      });

      test("places that something has tidied away are made again", () => {
        const meeting = new Meeting(join(held.folder, "tidied"));
        const placesOf = (): string[] =>
          ["fronts", "found"].map((name, number) => meeting.placeFor(number, statSync(join(held.folder, name))));
        for (const place of placesOf()) rmSync(place, { recursive: true });
        expect(placesOf().map((place) => statSync(place).isDirectory())).toEqual([true, false]);
      });

      test("what cannot be shown is told, and nothing is started", () => {
        const told = run(work(shown([{ descriptor: 0, place: join(held.folder, "nowhere") }])), script([]));
        expect(told).toMatchObject({ status: 125, stdout: "", stderr: expect.stringContaining("could not be shown") });
      });
    });
  });
}
