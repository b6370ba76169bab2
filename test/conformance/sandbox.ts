// The port of sandboxes as tests, for every driver: streams, world, channel, ends, and that nothing is left. What must not get out is the
// self-test's matter (src/drivers/selftest), which runs here once against each driver as well.
//
// Method: programs of the system run inside and say what they see. A driver is named by its module and function, so that another
// process can make one and be killed.
import { spawn } from "node:child_process";
import { hash, randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sandboxLimitsSchema, type SandboxLimitsPart } from "../../src/abi/isolation.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "../../src/abi/limits.ts";
import { createEgress } from "../../src/drivers/egress-proxy/egress.ts";
import { createSelfTest } from "../../src/drivers/selftest/selftest.ts";
import type { UidRange } from "../../src/linux/uids.ts";
import type { Sandbox, SandboxExit, SandboxProcess, SandboxSpec } from "../../src/ports/sandbox.ts";
import { begun } from "../../src/tools/builtin/beginning.ts";
import { needs } from "../needs.ts";

export type SandboxDriver = {
  readonly name: string;
  readonly create: (options: never) => Sandbox;
  /** Where `create` is found. */
  readonly module: URL;
  readonly options: Readonly<Record<string, unknown>> & { readonly uids: UidRange };
};

type Ended = { readonly exit: SandboxExit; readonly stdout: string; readonly stderr: string };
type Part = Partial<Omit<SandboxSpec, "limits">> & { readonly limits?: SandboxLimitsPart };

/** Processes of the machine whose command line holds this. */
const processesWith = (mark: string): readonly string[] =>
  readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(mark);
    } catch {
      // It went meanwhile.
      return false;
    }
  });

async function gather(running: SandboxProcess): Promise<Ended> {
  const [exit, stdout, stderr] = await Promise.all([running.exit, text(running.stdout), text(running.stderr)]);
  return { exit, stdout, stderr };
}

/** The first word that it says. */
const firstWord = (running: { readonly stdout: NodeJS.ReadableStream | null }): Promise<string> =>
  new Promise((resolve) => running.stdout?.once("data", (chunk: Buffer) => resolve(chunk.toString().trim())));

export async function sandboxConformance(driver: SandboxDriver): Promise<void> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "reeve-sandbox-")));
  let made = 0;
  /** Each driver has a folder of its own, as in different data folders. */
  const options = (): Readonly<Record<string, unknown>> => {
    made += 1;
    const lasting = { file: join(folder, "users.json"), range: { from: 310_000, to: 310_099 } };
    return { folder: join(folder, `driver-${made}`), lasting, ...driver.options };
  };
  const make = (): Sandbox => driver.create(options() as never);
  const trial = make();
  const state = await trial.state();
  await trial.close();
  needs(`a machine that gives the sandbox ${driver.name}`, state.posture !== "none")(
    `${driver.name} keeps the sandbox's contract`,
    () => {
      const held = {} as { sandbox: Sandbox };
      beforeAll(() => {
        chmodSync(folder, 0o755);
        held.sandbox = make();
      });
      afterAll(async () => {
        await held.sandbox.close();
        rmSync(folder, { recursive: true, force: true });
      });
      const spec = (script: string, { limits, ...part }: Part = {}): SandboxSpec => ({
        ...{ owner: "test", level: held.sandbox.level, command: ["sh", "-c", script], env: {}, mounts: [] },
        limits: sandboxLimitsSchema.parse(limits ?? {}),
        ...part,
      });
      const scene: Scene = {
        folder,
        make,
        sandbox: () => held.sandbox,
        spec,
        run: async (script, part) => {
          const running = await held.sandbox.start(spec(script, part));
          running.stdin.end();
          return gather(running);
        },
      };
      streams(scene);
      world(scene);
      const hasUsers = state.layers.some(({ name, inForce }) => name === "unique user ids" && inForce);
      needs("a Reeve that may give sandboxes users of their own", hasUsers)("users that last", () => users(scene));
      ends(scene, driver);
      const isCounted = state.layers.every(
        ({ name, inForce }) => inForce || !/^(memory|process|computing time) limit$/.test(name),
      );
      needs("control groups that Reeve may use", isCounted)("limits that are counted", () =>
        namesLimits(COUNTED, scene.run),
      );
      deaths(scene, driver, options());
      selfTest(scene);
    },
  );
}

type Scene = {
  readonly folder: string;
  readonly make: () => Sandbox;
  readonly sandbox: () => Sandbox;
  readonly spec: (script: string, part?: Part) => SandboxSpec;
  readonly run: (script: string, part?: Part) => Promise<Ended>;
};

function streams({ folder: place, sandbox, spec, run }: Scene): void {
  describe("streams", () => {
    it("passes standard input, output and errors, and the status", async () => {
      const running = await sandbox().start(spec("cat; echo aside >&2; exit 7"));
      running.stdin.end("through and through");
      const { exit, stdout, stderr } = await gather(running);
      expect({ stdout, stderr }).toEqual({ stdout: "through and through", stderr: "aside\n" });
      expect(exit).toMatchObject({ kind: "exited", code: 7 });
    });

    it("gives a duplex channel at descriptor 3, and without being asked none", async () => {
      const running = await sandbox().start(spec("read -r word <&3; echo got $word >&3", { channel: true }));
      const said = new Promise<string>((resolve) =>
        running.channel?.once("data", (chunk: Buffer) => resolve(String(chunk))),
      );
      running.channel?.write("word\n");
      expect(await said).toBe("got word\n");
      await running.exit;
      const { stdout } = await run("if (: >&3) 2>/dev/null; then echo open; else echo closed; fi");
      expect(stdout).toBe("closed\n");
    });

    it("goes on when nobody reads its input", async () => {
      const running = await sandbox().start(spec("exec <&-; echo deaf"));
      running.stdin.write("x".repeat(1_000_000));
      running.stdin.end();
      expect(await gather(running)).toMatchObject({ stdout: "deaf\n", exit: { kind: "exited", code: 0 } });
    });

    it("passes as much as a program may be given, whatever bytes it is, to the last one", async () => {
      const given = randomBytes(PROGRAM_INPUT_BYTES_MAX);
      const running = await sandbox().start(spec("sha256sum"));
      running.stdin.end(given);
      expect((await gather(running)).stdout).toBe(`${hash("sha256", given)}  -\n`);
    });

    it.each([
      ["no-such-program", 127, "no such program in the sandbox"],
      ["./no-such-file", 127, "no such file in the sandbox"],
      ["/etc", 126, "it is a folder"],
      ["/etc/passwd", 126, "may not be executed"],
      ["./lost", 126, "its first line names"],
    ])("tells that %s could not be begun", async (program, code, words) => {
      const folder = mkdtempSync(join(place, "beginning-"));
      chmodSync(folder, 0o755);
      writeFileSync(join(folder, "lost"), "#!/no/such/interpreter\n");
      chmodSync(join(folder, "lost"), 0o755);
      const told = await run("", { command: begun([program]), workspace: { folder } });
      expect(told).toMatchObject({ exit: { kind: "exited", code }, stdout: "" });
      expect(told.stderr).toMatch(new RegExp(`^reeve: ${program}: .*${words}`, "m"));
    });

    it("leaves status and words to a program that was begun", async () => {
      const told = await run("", { command: begun(["sh", "-c", "cat; echo own >&2; exit 127"]) });
      expect(told).toMatchObject({ exit: { kind: "exited", code: 127 }, stdout: "", stderr: "own\n" });
    });

    it("names what cannot be found", async () => {
      const running = await sandbox().start({ ...spec(""), command: ["no-such-program"] });
      const { exit } = await gather(running);
      expect(exit.kind === "exited" && exit.code).toBeTruthy();
    });
  });
}

function world({ folder, sandbox, spec, run }: Scene): void {
  describe("the world inside", () => {
    it("has the environment that was named and the sandbox's own, the working folder, a workspace to write", async () => {
      const { stdout } = await run('echo "$GIVEN|$SECRET|$PWD"; pwd; echo x > file; cat file', {
        env: { GIVEN: "given = so" },
      });
      expect(stdout).toBe("given = so||/ws\n/ws\nx\n");
      expect((await run("pwd", { cwd: "/tmp" })).stdout).toBe("/tmp\n");
    });

    it("shows mounts to read and to write, and nothing else of the folder", async () => {
      mkdirSync(join(folder, "given"));
      writeFileSync(join(folder, "given/a"), "a");
      writeFileSync(join(folder, "file"), "b");
      mkdirSync(join(folder, "open"));
      chmodSync(join(folder, "open"), 0o777);
      const { stdout, stderr } = await run(
        `cat /given/a /one; echo x > /open/made; (echo x > /given/b) 2>/dev/null || echo refused; ls ${folder}`,
        {
          mounts: [
            { from: join(folder, "given"), to: "/given", access: "read" },
            { from: join(folder, "file"), to: "/one", access: "read" },
            { from: join(folder, "open"), to: "/open", access: "write" },
          ],
        },
      );
      expect(stdout).toBe("abrefused\n");
      expect(stderr).toContain(folder);
      expect(readFileSync(join(folder, "open/made"), "utf8")).toBe("x\n");
    });

    it("refuses mounts that are not there, that a link leads to, or that show the machine", async () => {
      symlinkSync("/etc", join(folder, "link"));
      for (const from of [
        join(folder, "none"),
        join(folder, "link"),
        join(folder, "link/hosts"),
        "/proc",
        "/",
        "relative",
      ])
        await expect(
          sandbox().start(spec("true", { mounts: [{ from, to: "/given", access: "read" }] })),
        ).rejects.toMatchObject({ code: "invalid_argument" });
    });

    it("keeps what is written to a workspace from one sandbox to the next", async () => {
      const workspace = { folder: join(folder, "workspace") };
      mkdirSync(workspace.folder);
      await run("echo kept > file; mkdir folder; echo deep > folder/file", { workspace });
      expect(await run("cat file folder/file; echo more >> file", { workspace })).toMatchObject({
        stdout: "kept\ndeep\n",
      });
      expect(readFileSync(join(workspace.folder, "file"), "utf8")).toBe("kept\nmore\n");
    });
  });
}

function users({ folder, make, sandbox, spec, run }: Scene): void {
  const LOCKED = "umask 077; echo mine >> /kept/file; cat /kept/file";

  it("lets a name change what it wrote, in the next sandbox and in that of the next run, and nobody else", async () => {
    const mounts = [{ from: join(folder, "kept"), to: "/kept", access: "write" }] as const;
    mkdirSync(mounts[0].from);
    chmodSync(mounts[0].from, 0o777);
    const of = (lastingUser: string | undefined): Promise<Ended> => run(LOCKED, { mounts, lastingUser });
    expect((await of("tools.notes")).stdout).toBe("mine\n");
    expect((await of("tools.notes")).stdout).toBe("mine\nmine\n");
    for (const other of ["tools.other", undefined]) expect((await of(other)).stdout).toBe("");
    const next = make();
    try {
      const running = await next.start(spec(LOCKED, { mounts, lastingUser: "tools.notes" }));
      expect((await gather(running)).stdout).toBe("mine\nmine\nmine\n");
    } finally {
      await next.close();
    }
  });

  it("lets two sandboxes of a name work on the same at once", async () => {
    const mounts = [{ from: join(folder, "shared"), to: "/kept", access: "write" }] as const;
    mkdirSync(mounts[0].from);
    chmodSync(mounts[0].from, 0o777);
    const part = { mounts, lastingUser: "tools.notes" };
    const first = await sandbox().start(spec("umask 077; echo one > /kept/file; echo written; cat", part));
    await firstWord(first);
    expect((await run("cat /kept/file; echo two > /kept/file", part)).stdout).toBe("one\n");
    first.stdin.end();
    await first.exit;
    expect(readFileSync(join(folder, "shared/file"), "utf8")).toBe("two\n");
  });

  it("writes into a folder that was given to its group, whose number a refusal names", async () => {
    const mounts = [{ from: join(folder, "grouped"), to: "/kept", access: "write" }] as const;
    mkdirSync(mounts[0].from);
    chmodSync(mounts[0].from, 0o770);
    const refused = await run(LOCKED, { mounts, lastingUser: "tools.notes" }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "invalid_argument" });
    const [, id] = /chgrp -R (\d+) /.exec(String(refused)) ?? [];
    chownSync(mounts[0].from, 0, Number(id));
    expect((await run(LOCKED, { mounts, lastingUser: "tools.notes" })).stdout).toBe("mine\n");
    for (const lastingUser of ["tools.other", undefined])
      await expect(run(LOCKED, { mounts, lastingUser })).rejects.toMatchObject({ code: "invalid_argument" });
  });
}

type LimitCase = readonly [limit: string, limits: SandboxLimitsPart, script: string];
const LIMITS: readonly LimitCase[] = [
  ["wall", { wallMs: 300 }, "sleep 60"],
  ["output", { outputBytes: 1_000 }, "head -c 100000 /dev/zero; sleep 60"],
  ["disk", { diskBytes: 1024 * 1024 }, "head -c 4000000 /dev/zero > a; sleep 60"],
];
/** Those that control groups count. */
const COUNTED: readonly LimitCase[] = [
  ["cpu", { cpuMs: 200 }, "while :; do :; done"],
  ["processes", { processes: 8 }, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; wait"],
  ["memory", { memoryBytes: 32 * 1024 * 1024 }, "head -c 100000000 /dev/zero | tail -n 1 | wc -c; sleep 60"],
];

function namesLimits(cases: readonly LimitCase[], run: Scene["run"]): void {
  it.each(cases)("names the limit that ended it: %s", async (limit, given, script) => {
    const { exit, stdout } = await run(script, { limits: given });
    expect(exit).toMatchObject({ kind: "limit", limit, max: Object.values(given)[0] });
    expect(stdout.length).toBeLessThanOrEqual(1_000);
  });
}

function ends({ sandbox, spec, run }: Scene, driver: SandboxDriver): void {
  describe("its end", () => {
    it("tells of a signal of its own making", async () => {
      const { exit } = await run("kill -SEGV $$");
      expect(exit).toMatchObject({ kind: "crashed", signal: "SIGSEGV" });
    });

    namesLimits(LIMITS, run);

    it("comes whole by kill, once and again, however deaf it is", async () => {
      const mark = `mark-${randomBytes(8).toString("hex")}`;
      const script = `trap '' TERM HUP INT; setsid sh -c 'sleep 60' ${mark} & echo started; while :; do sleep 1; done`;
      const running = await sandbox().start({ ...spec(""), command: ["sh", "-c", script, mark] });
      await firstWord(running);
      await Promise.all([running.kill(), running.kill()]);
      expect(processesWith(mark)).toEqual([]);
      expect(await running.exit).toMatchObject({ kind: "killed" });
      await running.kill();
    });

    it("comes by an aborted signal, and before its start it is not started", async () => {
      const controller = new AbortController();
      const running = await sandbox().start(spec("sleep 60"), { signal: controller.signal });
      controller.abort();
      expect(await running.exit).toMatchObject({ kind: "killed" });
      await expect(sandbox().start(spec("true"), { signal: controller.signal })).rejects.toMatchObject({
        code: "cancelled",
      });
    });

    it("holds nothing of starts that were given up before, however many there are user ids", async () => {
      const { from, to } = driver.options.uids;
      const givenUp = Array.from({ length: to - from + 1 }, () =>
        sandbox().start(spec("true"), { signal: AbortSignal.abort() }),
      );
      const outcomes = await Promise.allSettled(givenUp);
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toEqual([]);
      expect((await run("true")).exit).toMatchObject({ kind: "exited", code: 0 });
    });

    it("takes with it what it has left behind", async () => {
      const mark = `mark-${randomBytes(8).toString("hex")}`;
      const { exit } = await run(
        `(setsid sh -c 'while :; do sleep 1; done' ${mark} </dev/null >/dev/null 2>&1 &); sleep 0.1`,
      );
      expect(exit).toMatchObject({ kind: "exited", code: 0 });
      expect(processesWith(mark)).toEqual([]);
    });
  });
}

function deaths(
  { folder, make, spec }: Scene,
  driver: SandboxDriver,
  options: Readonly<Record<string, unknown>>,
): void {
  it("is looked at again where it could not be at first, and ends in order without having been", async () => {
    const own = mkdtempSync(join(folder, "blocked-"));
    const blocked = { ...options, folder: join(own, "driver") };
    writeFileSync(blocked.folder, "a file in the way");
    const [sandbox, unused] = [driver.create(blocked as never), driver.create(blocked as never)];
    await expect(sandbox.state()).rejects.toBeDefined();
    await expect(unused.state()).rejects.toBeDefined();
    await unused.close();
    rmSync(blocked.folder);
    expect((await sandbox.state()).posture).not.toBe("none");
    await sandbox.close();
  });

  describe("the end of Reeve", () => {
    it("ends all that runs when the driver is closed, which then starts nothing", async () => {
      const sandbox = make();
      const mark = `mark-${randomBytes(8).toString("hex")}`;
      const started = await Promise.all(
        [1, 2, 3].map(() => sandbox.start({ ...spec(""), command: ["sh", "-c", "sleep 60; :", mark] })),
      );
      await sandbox.close();
      for (const running of started) expect(await running.exit).toMatchObject({ kind: "killed" });
      expect(processesWith(mark)).toEqual([]);
      await expect(sandbox.start(spec("true"))).rejects.toMatchObject({ code: "isolation_unavailable" });
    });

    it("ends all that runs when Reeve is killed without a word", async () => {
      const mark = `mark-${randomBytes(8).toString("hex")}`;
      const job = { ...spec(""), command: ["sh", "-c", "echo started; sleep 600; :", mark] };
      const holder = spawn(
        process.execPath,
        [
          fileURLToPath(new URL("./sandbox-holder.ts", import.meta.url)),
          ...[driver.module.href, driver.create.name, JSON.stringify(options), JSON.stringify(job)],
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      expect(await firstWord(holder)).toBe("started");
      expect(processesWith(mark).length).toBeGreaterThan(0);
      holder.kill("SIGKILL");
      await expect.poll(() => processesWith(mark)).toEqual([]);
    });
  });
}

function selfTest({ folder, sandbox }: Scene): void {
  it("holds every payload of the self-test", async () => {
    const egress = createEgress({ secrets: {}, secretOf: () => undefined });
    const test = createSelfTest({ folder: join(folder, "verdicts"), version: "test", nowMs: () => 0, egress });
    const { verdicts, passed } = await test.run(sandbox(), "full");
    await egress.close();
    expect(verdicts.filter(({ expected }) => !expected)).toEqual([]);
    expect(passed).toBe(true);
  });
}
