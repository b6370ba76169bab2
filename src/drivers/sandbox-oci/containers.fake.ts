// What the tests of this driver share: a driver on a folder of its own, a way to run a program to its end, and what every runtime keeps
// beside the suite of the port.
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { needs } from "../../../test/needs.ts";
import { sandboxLimitsSchema, type SandboxLimitsPart } from "../../abi/isolation.ts";
import { cgroupMounts } from "../../linux/cgroup-layout.ts";
import type { Sandbox, SandboxExit, SandboxSpec } from "../../ports/sandbox.ts";
import type { RuntimeName } from "./runtimes/runtime.ts";
import { createOci, type OciOptions } from "./sandbox.ts";

const UIDS = { from: 310_000, to: 310_999 };
const held = { folder: "", made: 0 };

/** For the head of a test file: a folder for all of it. */
export function withFolder(): void {
  beforeAll(() => {
    held.folder = realpathSync(mkdtempSync(join(tmpdir(), "reeve-oci-test-")));
    chmodSync(held.folder, 0o755);
  });
  afterAll(() => rmSync(held.folder, { recursive: true, force: true }));
}

export function own(name: string): string {
  held.made += 1;
  const folder = join(held.folder, `${name}-${held.made}`);
  mkdirSync(folder);
  return folder;
}

export const make = (part: Partial<OciOptions> = {}): Sandbox =>
  createOci({ folder: own("driver"), uids: UIDS, ...part });

type Part = Partial<Omit<SandboxSpec, "limits">> & { readonly limits?: SandboxLimitsPart };

export const specOf = ({ limits, ...part }: Part): SandboxSpec => ({
  ...{ owner: "test", level: "container", command: ["true"], env: {}, mounts: [] },
  ...part,
  limits: sandboxLimitsSchema.parse({ wallMs: 60_000, ...limits }),
});

type Ended = { readonly exit: SandboxExit; readonly stdout: string; readonly stderr: string };

export async function run(sandbox: Sandbox, part: Part): Promise<Ended> {
  const running = await sandbox.start(specOf(part));
  running.stdin.end();
  const [exit, stdout, stderr] = await Promise.all([running.exit, text(running.stdout), text(running.stderr)]);
  return { exit, stdout, stderr };
}

/** Groups of a process's runs and of their containers, in all hierarchies of the machine, used or not. */
const groups = (pid = process.pid): readonly string[] =>
  cgroupMounts(readFileSync("/proc/self/mountinfo", "utf8")).flatMap(({ point }) =>
    foldersBelow(point).filter((path) => new RegExp(`/reeve-\\d+-${pid}-`).test(path)),
  );

/** Others make and remove groups meanwhile: what is gone has nothing below it. */
function foldersBelow(folder: string): readonly string[] {
  try {
    const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return names.flatMap(({ name }) => [join(folder, name), ...foldersBelow(join(folder, name))]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Of every process of the machine what all users may read of it. */
const commandLines = (): readonly string[] =>
  readdirSync("/proc").flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [readFileSync(`/proc/${pid}/cmdline`, "utf8")] : [];
    } catch {
      // It went meanwhile.
      return [];
    }
  });

/** What the machine still has of the runs of a Reeve: mounts, and processes of a runtime or an engine. */
const traces = (pid: number): readonly string[] => {
  const name = new RegExp(`reeve-\\d+-${pid}-`);
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return [...mounts, ...commandLines()].filter((line) => name.test(line));
};

/** Of names in an engine's books, which several processes may share, those of one process's runs. */
export const namesOf = (names: readonly string[], pid = process.pid): readonly string[] =>
  names.filter((name) => new RegExp(`^reeve-\\d+-${pid}-`).test(name));

export type ContainersOptions = {
  readonly runtime: RuntimeName;
  /** What the tests need, and whether it is here. */
  readonly need: string;
  readonly present: boolean;
  /** Names in the books of the engine, for a driver's folder. */
  readonly booksOf?: ((folder: string) => readonly string[]) | undefined;
};

/** What every runtime keeps beside the suite of the port. */
export function containers({ runtime, need, present, booksOf }: ContainersOptions): void {
  needs(need, present)(`containers of ${runtime}`, () => {
    const scene = {} as { sandbox: Sandbox; folder: string };
    beforeAll(() => {
      scene.folder = own("driver");
      scene.sandbox = make({ runtime, folder: scene.folder });
    });
    afterAll(() => scene.sandbox.close());
    users(scene, runtime);
    world(scene);
    ends(scene, { runtime, booksOf });
    images(runtime);
  });
}

type Scene = { readonly sandbox: Sandbox; readonly folder: string };

function users(scene: Scene, runtime: RuntimeName): void {
  it("has nothing that is the machine's user, and users of its own", async () => {
    const { stdout } = await run(scene.sandbox, { command: ["sh", "-c", "id -u; id -un; cat /proc/self/uid_map"] });
    const [uid = "", name, ...maps] = stdout.trim().split("\n");
    expect(name).toBe("agent");
    const given = maps.map((line) => line.trim().split(/\s+/).map(Number));
    // By docker a job has a user of the machine, which is called the same inside; elsewhere a root that is nobody as well.
    const wanted =
      runtime === "docker"
        ? [[0, 4_294_967_295]]
        : [
            [0, 1],
            [1000, 1],
          ];
    expect(given.map(([inside, , size]) => [inside, size])).toEqual(wanted);
    const outside = runtime === "docker" ? [Number(uid)] : given.map(([, user]) => user ?? 0);
    expect(new Set(outside).size).toBe(wanted.length);
    for (const user of outside) expect(user >= UIDS.from && user <= UIDS.to).toBe(true);
  });

  it("tells its environment to no other user of the machine", async () => {
    const secret = `secret-${randomBytes(8).toString("hex")}`;
    const running = await scene.sandbox.start(
      specOf({ command: ["sh", "-c", "echo $PLAIN; sleep 60"], env: { PLAIN: secret, "with.dot": secret } }),
    );
    await new Promise((resolve) => running.stdout.once("data", resolve));
    const seen = commandLines();
    expect(seen.some((line) => line.includes("sleep"))).toBe(true);
    expect(seen.filter((line) => line.includes(secret))).toEqual([]);
    await running.kill();
  });
}

/** Of what runtimes have said of themselves below a driver's folder. */
const logBytes = (folder: string): number =>
  (readdirSync(folder, { recursive: true }) as string[])
    .filter((path) => path.endsWith("/log"))
    .reduce((bytes, path) => bytes + statSync(join(folder, path)).size, 0);

function world(scene: Scene): void {
  it("holds as many processes as were asked for and not one more", async () => {
    const count = async (children: number): Promise<SandboxExit> =>
      (
        await run(scene.sandbox, {
          command: ["sh", "-c", `${"sleep 60 & ".repeat(children)} exit 0`],
          limits: { processes: 8 },
        })
      ).exit;
    expect(await count(7)).toMatchObject({ kind: "exited" });
    expect(await count(8)).toMatchObject({ kind: "limit", limit: "processes", max: 8 });
  });

  it("shows the door's folder to read, under its environment and its command", async () => {
    const folder = own("door");
    const server: Server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, "socket"), resolve));
    chmodSync(join(folder, "socket"), 0o777);
    chmodSync(folder, 0o755);
    const door = {
      folder,
      env: { DOOR: "open" },
      wrap: (command: readonly [string, ...string[]]) => ["/usr/bin/env", "WRAPPED=yes", ...command] as const,
      mounts: [],
      close: () => Promise.resolve(),
    };
    const command = ["sh", "-c", "test -S /run/reeve/socket && echo $DOOR $WRAPPED; touch /run/reeve/x"] as const;
    const { stdout, stderr } = await run(scene.sandbox, { door, command: [...command] });
    await new Promise((resolve) => server.close(resolve));
    expect(stdout).toBe("open yes\n");
    expect(stderr).toMatch(/Read-only|Permission denied/);
  });

  it("ends a workspace without a quota at its limit", async () => {
    const folder = own("workspace");
    const { exit } = await run(scene.sandbox, {
      workspace: { folder, quota: "none" },
      command: ["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/zero > $i; done; sleep 60"],
      limits: { diskBytes: 2_000_000 },
    });
    expect(exit).toMatchObject({ kind: "limit", limit: "disk" });
  });

  it("copies nothing to the machine that a job says where its first process would", async () => {
    const flood = "for f in 0 1 2; do head -c 3000000 /dev/zero > /proc/1/fd/$f; done";
    const running = await scene.sandbox.start(specOf({ command: ["sh", "-c", `${flood}; echo done; sleep 60`] }));
    running.stderr.resume();
    await new Promise((resolve) => running.stdout.once("data", resolve));
    expect(logBytes(scene.folder)).toBeLessThan(3_000_000);
    await running.kill();
  });

  it("finds a mount whatever its path is called", async () => {
    const folder = join(own("mount"), 'a,b:c "d" é');
    mkdirSync(folder);
    writeFileSync(join(folder, "file"), "found");
    const { stdout } = await run(scene.sandbox, {
      mounts: [{ from: folder, to: "/given", access: "read" }],
      command: ["cat", "/given/file"],
    });
    expect(stdout).toBe("found");
  });
}

type Books = Pick<ContainersOptions, "runtime" | "booksOf">;

function ends(scene: Scene, { runtime, booksOf }: Books): void {
  it("waits for whoever reads its output, and is not ended by that", async () => {
    const running = await scene.sandbox.start(
      specOf({
        command: ["sh", "-c", "head -c 4000000 /dev/zero; echo said >&2; sleep 60"],
        limits: { outputBytes: 8_000_000 },
      }),
    );
    let errors = "";
    running.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    await new Promise((resolve) => running.stdout.once("readable", resolve));
    // Nobody reads, so the job cannot have come to its next word, however long it takes: here, as long as another one.
    await run(scene.sandbox, {});
    expect(errors).toBe("");
    running.stdout.resume();
    await vi.waitFor(() => expect(errors).toBe("said\n"), { timeout: 10_000 });
    await running.kill();
  });

  it("is not started where its caller gives up meanwhile, and leaves nothing", async () => {
    const before = new Set(groups());
    const controller = new AbortController();
    const starting = scene.sandbox.start(specOf({ command: ["sleep", "60"] }), { signal: controller.signal });
    await vi.waitFor(() => expect(groups().some((group) => !before.has(group))).toBe(true), {
      ...{ interval: 1, timeout: 30_000 },
    });
    controller.abort();
    await expect(starting).rejects.toMatchObject({ code: "cancelled" });
    expect(namesOf(booksOf?.(scene.folder) ?? [])).toEqual([]);
    expect(groups().filter((group) => !before.has(group))).toEqual([]);
  });

  it("says why a container that cannot be does not start, and leaves nothing of it", async () => {
    const before = groups();
    const impossible = run(scene.sandbox, {
      mounts: [{ from: own("data"), to: "/usr/no-such-place/in-the-read-only-part", access: "read" }],
    });
    await expect(impossible).rejects.toMatchObject({ code: "isolation_unavailable" });
    expect(groups()).toEqual(before);
  });

  it("takes no end of its runtime's own for the job's", async () => {
    const running = await scene.sandbox.start(specOf({ command: ["sh", "-c", "echo up; sleep 60"] }));
    await new Promise((resolve) => running.stdout.once("data", resolve));
    process.kill(running.pid, "SIGKILL");
    expect(await running.exit).toMatchObject({ kind: "crashed", signal: "SIGKILL" });
    expect(namesOf(booksOf?.(scene.folder) ?? [])).toEqual([]);
    for (const code of [125, 137])
      expect((await run(scene.sandbox, { command: ["sh", "-c", `exit ${code}`] })).exit).toMatchObject(
        code === 125 ? { kind: "exited", code } : { kind: "crashed", signal: "SIGKILL" },
      );
    expect(namesOf(booksOf?.(scene.folder) ?? [])).toEqual([]);
  });

  it("leaves no group, no folder and no container when it is closed", async () => {
    const folder = own("driver");
    const sandbox = createOci({ folder, uids: UIDS, runtime });
    const before = new Set(groups());
    await sandbox.start(specOf({ command: ["sleep", "60"] }));
    expect(groups().length).toBeGreaterThan(before.size);
    expect(booksOf === undefined ? ["one"] : namesOf(booksOf(folder))).toHaveLength(1);
    await sandbox.close();
    expect(groups().filter((group) => !before.has(group))).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
    expect(traces(process.pid).filter((line) => line.includes(folder))).toEqual([]);
    await expect(sandbox.start(specOf({}))).rejects.toMatchObject({ code: "isolation_unavailable" });
  });

  it("leaves nothing when Reeve is killed in the middle of starting and running", async () => {
    const folder = own("killed");
    const program = [
      `import { createOci } from ${JSON.stringify(new URL("sandbox.ts", import.meta.url).href)};`,
      `const sandbox = createOci({ folder: ${JSON.stringify(folder)}, uids: ${JSON.stringify(UIDS)}, runtime: "${runtime}" });`,
      `const spec = ${JSON.stringify(specOf({ command: ["sleep", "600"] }))};`,
      "await Promise.all([1, 2, 3].map(() => sandbox.start(spec)));",
      "for (const _ of [1, 2, 3]) void sandbox.start(spec);",
      'process.stdout.write("running");',
    ].join("\n");
    const reeve = spawn(process.execPath, ["--input-type=module-typescript", "-e", program]);
    await new Promise((resolve) => reeve.stdout.once("data", resolve));
    const { pid } = reeve;
    expect(groups(pid).length).toBeGreaterThan(0);
    reeve.kill("SIGKILL");
    const left = () => [groups(pid), readdirSync(folder).filter((name) => name !== "podman"), traces(pid ?? 0)];
    await vi.waitFor(() => expect(left()).toEqual([[], [], []]), { timeout: 30_000 });
    await vi.waitFor(() => expect(namesOf(booksOf?.(folder) ?? [], pid)).toEqual([]), { timeout: 30_000 });
    const next = make({ folder, runtime });
    await next.state();
    await next.close();
    expect(readdirSync(folder)).toEqual([]);
  }, 60_000);
}

function images(runtime: RuntimeName): void {
  it("runs what is in an image, and shows nothing of the machine's programs", async () => {
    const image = imageOf(["/bin/sh", "/bin/cat"]);
    writeFileSync(join(image, "etc", "mark"), "from the image");
    const sandbox = make({ image, runtime });
    expect(await sandbox.state()).toMatchObject({ posture: expect.stringMatching(/strong|reduced/) as string });
    const { stdout, exit } = await run(sandbox, {
      command: ["sh", "-c", "cat /etc/mark; echo; echo /usr/bin/*; echo kept > /ws/a; echo lost > /etc/x"],
    });
    const other = make({ runtime });
    const [with_, without] = await Promise.all([sandbox.state(), other.state()]);
    await Promise.all([sandbox.close(), other.close()]);
    expect(stdout).toBe("from the image\n/usr/bin/*\n");
    expect(exit).toMatchObject({ kind: "exited", code: 2 });
    expect(existsSync(join(image, "etc", "x"))).toBe(false);
    expect(with_.fingerprint).not.toBe(without.fingerprint);
  });

  it("does without an image that has no shell, and says so", async () => {
    const image = own("image");
    mkdirSync(join(image, "etc"));
    const sandbox = make({ image, runtime });
    const { posture, reason } = await sandbox.state();
    await sandbox.close();
    expect({ posture, reason }).toMatchObject({
      posture: "none",
      reason: expect.stringContaining("/bin/sh") as string,
    });
  });
}

/** Programs and the libraries that they are linked with. */
function imageOf(programs: readonly string[]): string {
  const image = own("image");
  for (const folder of ["etc", "usr/bin"]) mkdirSync(join(image, folder), { recursive: true });
  for (const program of programs) {
    const libraries = execFileSync("ldd", [program], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
    for (const path of [program, ...libraries]) {
      mkdirSync(join(image, dirname(path)), { recursive: true });
      copyFileSync(path, join(image, path));
    }
  }
  return image;
}
