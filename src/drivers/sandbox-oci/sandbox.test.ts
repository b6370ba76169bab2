// Goal: what the suite of the port does not see of this driver: images, the door, who a container belongs to, what was exchanged under
// its hands, what remains, and what is said where there is no runtime. Method: containers of the real runc on folders of their own.
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it, test, vi } from "vitest";
import { needs } from "../../../test/needs.ts";
import { sandboxLimitsSchema, type SandboxLimitsPart } from "../../abi/isolation.ts";
import { cgroupMounts } from "../../linux/cgroup-layout.ts";
import { openSource } from "../../linux/mounts.ts";
import type { Sandbox, SandboxExit, SandboxSpec } from "../../ports/sandbox.ts";
import { askEngine, explain, placeOf } from "./host.ts";
import { checkMounts, firstInside } from "./inspection.ts";
import { createOci, type OciOptions } from "./sandbox.ts";

const UIDS = { from: 310_000, to: 310_999 };
const held = {} as { folder: string };
let made = 0;

beforeAll(() => {
  held.folder = realpathSync(mkdtempSync(join(tmpdir(), "reeve-oci-test-")));
  chmodSync(held.folder, 0o755);
});
afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

function own(name: string): string {
  made += 1;
  const folder = join(held.folder, `${name}-${made}`);
  mkdirSync(folder);
  return folder;
}

const make = (part: Partial<OciOptions> = {}): Sandbox => createOci({ folder: own("driver"), uids: UIDS, ...part });

type Part = Partial<Omit<SandboxSpec, "limits">> & { readonly limits?: SandboxLimitsPart };

const specOf = ({ limits, ...part }: Part): SandboxSpec => ({
  ...{ owner: "test", level: "container", command: ["true"], env: {}, mounts: [] },
  ...part,
  limits: sandboxLimitsSchema.parse({ wallMs: 60_000, ...limits }),
});

async function run(
  sandbox: Sandbox,
  part: Part,
): Promise<{ readonly exit: SandboxExit; readonly stdout: string; readonly stderr: string }> {
  const running = await sandbox.start(specOf(part));
  running.stdin.end();
  const [exit, stdout, stderr] = await Promise.all([running.exit, text(running.stdout), text(running.stderr)]);
  return { exit, stdout, stderr };
}

/** Groups of a process's runs, in all hierarchies of the machine, used or not. */
const groups = (pid = process.pid): readonly string[] =>
  cgroupMounts(readFileSync("/proc/self/mountinfo", "utf8")).flatMap(({ point }) =>
    (readdirSync(point, { recursive: true }) as string[]).filter((path) =>
      new RegExp(`(^|/)reeve-\\d+-${pid}-[^/]*$`).test(path),
    ),
  );

needs("runc and root", placeOf("runc") !== undefined && process.geteuid?.() === 0)("containers of runc", () => {
  const scene = {} as { sandbox: Sandbox };
  beforeAll(() => {
    scene.sandbox = make({ runtime: "runc" });
  });
  afterAll(() => scene.sandbox.close());

  it("has nothing that is the machine's user, and two users of its own", async () => {
    const { stdout } = await run(scene.sandbox, { command: ["sh", "-c", "id -u; cat /proc/self/uid_map"] });
    const [uid, ...maps] = stdout.trim().split("\n");
    expect(uid).toBe("1000");
    const given = maps.map((line) => line.trim().split(/\s+/).map(Number));
    expect(given.map(([inside, , size]) => [inside, size])).toEqual([
      [0, 1],
      [1000, 1],
    ]);
    const outside = given.map(([, user]) => user ?? 0);
    expect(new Set(outside).size).toBe(2);
    for (const user of outside) expect(user >= UIDS.from && user <= UIDS.to).toBe(true);
  });

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

  it("says why a container that cannot be does not start, and leaves nothing of it", async () => {
    const before = groups();
    const impossible = run(scene.sandbox, {
      mounts: [{ from: own("data"), to: "/usr/no-such-place/in-the-read-only-part", access: "read" }],
    });
    await expect(impossible).rejects.toMatchObject({ code: "isolation_unavailable" });
    expect(groups()).toEqual(before);
  });

  it("leaves no group and no folder when it is closed", async () => {
    const folder = own("driver");
    const sandbox = createOci({ folder, uids: UIDS });
    const before = new Set(groups());
    await sandbox.start(specOf({ command: ["sleep", "60"] }));
    expect(groups().length).toBeGreaterThan(before.size);
    await sandbox.close();
    expect(groups().filter((group) => !before.has(group))).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
    await expect(sandbox.start(specOf({}))).rejects.toMatchObject({ code: "isolation_unavailable" });
  });

  it("leaves no group and no folder when Reeve is killed in the middle of starting and running", async () => {
    const folder = own("killed");
    const program = [
      `import { createOci } from ${JSON.stringify(new URL("sandbox.ts", import.meta.url).href)};`,
      `const sandbox = createOci({ folder: ${JSON.stringify(folder)}, uids: ${JSON.stringify(UIDS)} });`,
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
    await vi.waitFor(() => expect([groups(pid), readdirSync(folder)]).toEqual([[], []]), { timeout: 30_000 });
  }, 60_000);

  it("runs what is in an image, and shows nothing of the machine's programs", async () => {
    const image = imageOf(["/bin/sh", "/bin/cat"]);
    writeFileSync(join(image, "etc", "mark"), "from the image");
    const sandbox = make({ image });
    expect(await sandbox.state()).toMatchObject({ posture: expect.stringMatching(/strong|reduced/) as string });
    const { stdout, exit } = await run(sandbox, {
      command: ["sh", "-c", "cat /etc/mark; echo; echo /usr/bin/*; echo kept > /ws/a; echo lost > /etc/x"],
    });
    const other = make();
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
    const sandbox = make({ image, runtime: "runc" });
    const { posture, reason } = await sandbox.state();
    await sandbox.close();
    expect({ posture, reason }).toMatchObject({
      posture: "none",
      reason: expect.stringContaining("/bin/sh") as string,
    });
  });
});

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

describe("where there is no runtime", () => {
  it("names an image that is not there", async () => {
    const sandbox = make({ image: join(held.folder, "no-image") });
    const { posture, reason } = await sandbox.state();
    expect(posture).toBe("none");
    expect(reason).toContain("no-image");
    await expect(sandbox.start(specOf({}))).rejects.toMatchObject({ code: "isolation_unavailable" });
    await sandbox.close();
  });

  it("does not take a client for an engine", async () => {
    const engine = await askEngine("docker");
    const told = typeof engine === "string" ? engine : engine.version;
    expect(told).toMatch(/not installed|without an engine|^\d/);
    const sandbox = make({ runtime: "docker" });
    expect(await sandbox.state()).toMatchObject({
      posture: "none",
      reason: expect.stringContaining("docker") as string,
    });
    await sandbox.close();
  });
});

test("a runtime's refusal is told by its last word, with the remedy where one is known", () => {
  const runtime = { kind: "crun", path: "/usr/bin/crun", version: "1" } as const;
  const log = '{"level":"info","msg":"x"}\n{"level":"error","msg":"cgroups in hybrid mode \\"not supported\\""}\n';
  expect(explain(runtime, log)).toBe('cgroups in hybrid mode "not supported"');
  expect(explain(runtime, log.replaceAll('\\"', ""))).toContain("Use runc");
  expect(explain(runtime, "")).toBe("crun ended without a word");
});

test("what is mounted must be what was checked", () => {
  const [one, other] = [own("one"), own("other")];
  const source = openSource("mount", one);
  const places = (to: string): Parameters<typeof checkMounts>[1] => ({
    ...{ uid: undefined, workspace: undefined, door: undefined, close: () => {}, giveBack: () => {} },
    mounts: [{ to, access: "read", bind: source }],
  });
  expect(() => checkMounts(process.pid, places(one))).not.toThrow();
  for (const to of [other, join(one, "gone")])
    expect(() => checkMounts(process.pid, places(to))).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  closeSync(source.descriptor);
});

test("of processes that are in no other space of processes none is the first inside", () => {
  const self = readFileSync("/proc/self/status", "utf8");
  expect(self).toContain("NSpid:");
  expect(firstInside([process.pid, process.ppid, 0x7fff_ffff])).toBeUndefined();
});
