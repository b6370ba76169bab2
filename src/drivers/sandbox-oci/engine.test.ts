// Goal: an engine is told all that keeps a job in, and nothing of what must not be told; what it is given in place of descriptors behaves
// as these do. Method: arguments as they are made, archives read by tar, pipes and the connector used by programs without a container.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import { sandboxLimitsSchema } from "../../abi/isolation.ts";
import { FAILED } from "../../lib/native-program.ts";
import { runName } from "../../linux/cgroup.ts";
import { connectorFor } from "./connector.ts";
import { dockerArgs } from "./docker.ts";
import { leftOver, makeEngineWorld, record, type EngineWorld } from "./engine.ts";
import { makePipes, pipesFolder } from "./pipes.ts";
import { samplePlan, type Plan } from "./plan.ts";
import { podmanArgs } from "./podman.ts";
import { placeOf } from "./programs.ts";
import { rootEntries, rootParts } from "./root.ts";
import { seccompFor } from "./seccomp.ts";
import { tarOf } from "./tar.ts";

const held = {} as { folder: string };
beforeAll(() => void (held.folder = mkdtempSync(join(tmpdir(), "reeve-engine-"))));
afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

const limits = sandboxLimitsSchema.parse({ diskBytes: 2_000_000 });
const WORLD: EngineWorld = {
  ...{ entries: [{ name: "usr", from: "/usr" }], etc: "/own/etc", hasImage: false },
  ...{ seccompFile: "/own/seccomp.json", sys: "/own/sys" },
};
const orderOf = (part: Partial<Plan>) => ({
  ...{ id: "reeve-x.1", folder: "/own/1" },
  plan: { ...samplePlan(limits, "descriptors"), ids: { root: 7_000, job: 7_001 }, ...part },
});

/** Values of a flag, wherever it stands. */
const valuesOf = (args: readonly string[], flag: string): readonly string[] =>
  args.flatMap((arg, at) =>
    arg === flag ? [args[at + 1] ?? ""] : arg.startsWith(`${flag}=`) ? [arg.slice(flag.length + 1)] : [],
  );

describe.each([
  ["podman", podmanArgs],
  ["docker", dockerArgs],
] as const)("%s is told", (engine, argsOf) => {
  const args = argsOf(
    orderOf({
      workspace: '/data/a,b "c"',
      mounts: [{ from: "/data/write", to: "/given", access: "write" }],
    }),
    WORLD,
  );

  it("all that keeps a job in, and to fetch nothing", () => {
    const told = Object.fromEntries(
      ["--network", "--cap-drop", "--pull", "--ipc", "--cgroupns", "--log-driver"].map((flag) => [
        flag,
        valuesOf(args, flag),
      ]),
    );
    expect(told).toEqual({
      ...{ "--network": ["none"], "--cap-drop": ["ALL"], "--pull": ["never"] },
      ...{ "--ipc": ["private"], "--cgroupns": ["private"], "--log-driver": ["none"] },
    });
    expect(args).toEqual(expect.arrayContaining(["--rm", "--read-only"]));
    expect(valuesOf(args, "--security-opt")).toEqual(
      expect.arrayContaining(["no-new-privileges", "seccomp=/own/seccomp.json"]),
    );
    expect(valuesOf(args, "--ulimit")).toEqual(expect.arrayContaining(["core=0:0", "fsize=2000000:2000000"]));
    for (const flag of ["--privileged", "--cap-add", "--device", "-e", "--env", "--env-file", "-v", "--publish"])
      expect(args.filter((arg) => arg === flag || arg.startsWith(`${flag}=`))).toEqual([]);
  });

  it("users that are nobody else's", () => {
    const user = valuesOf(args, "--user");
    const maps = [...valuesOf(args, "--uidmap"), ...valuesOf(args, "--gidmap")];
    expect({ user, maps }).toEqual(
      engine === "podman"
        ? { user: ["1000:1000"], maps: ["0:7000:1", "1000:7001:1", "0:7000:1", "1000:7001:1"] }
        : { user: ["7001:7001"], maps: [] },
    );
  });

  it("to make nothing writable but the workspace, scratch folders with a size and what is named", () => {
    const mounts = valuesOf(args, "--mount");
    const writable = mounts.filter((mount) => mount.startsWith("type=bind") && !mount.includes(",readonly"));
    const flags = engine === "podman" ? ",nosuid,nodev" : "";
    expect(writable).toEqual([
      `type=bind,"source=/data/a,b ""c""",target=/ws${flags}`,
      `type=bind,source=/data/write,target=/given${flags}`,
    ]);
    for (const scratch of valuesOf(args, "--tmpfs")) expect(scratch).toMatch(/:rw,(exec,)?nosuid,nodev,size=\d+/);
    const own = argsOf(orderOf({}), WORLD).join(" ");
    expect(own).toMatch(
      engine === "podman" ? /destination=\/ws,tmpfs-size=2000000,.*chown=true/ : /\/ws:\S*size=2000000\S*uid=7001/,
    );
  });

  it("of files of Reeve in the place of those that it would make of the machine's", () => {
    for (const file of ["hosts", "hostname", "resolv.conf"])
      expect(valuesOf(args, "--mount")).toContainEqual(
        expect.stringContaining(`source=/own/etc/${file},target=/etc/${file}`),
      );
    expect(valuesOf(args, "--mount")).toContainEqual(expect.stringContaining("source=/own/sys,target=/sys,readonly"));
  });
});

test("a field of a record may hold what stands between fields", () => {
  expect(record(["a", "b,c", 'd"e', "f\ng"])).toBe('a,"b,c","d""e","f\ng"');
});

test("only containers of runs that are over are left over", () => {
  const [, space] = /^reeve-(\d+)-/.exec(runName()) ?? [];
  const over = `reeve-${space}-1-1-ab.12`;
  expect(leftOver(`${runName()}.1\n${over}\nweb\nreeve-web.1\n`)).toEqual([over]);
});

test("an image's /etc is copied, with a place for each file that an engine mounts there", () => {
  const image = join(held.folder, "image");
  mkdirSync(join(image, "etc"), { recursive: true });
  writeFileSync(join(image, "etc/mark"), "m");
  symlinkSync("../run/resolv.conf", join(image, "etc/resolv.conf"));
  const folder = join(held.folder, "world");
  mkdirSync(folder);
  const { etc, entries } = makeEngineWorld({ image, etc: "/none", seccomp: seccompFor("x64") }, folder);
  expect(readdirSync(etc).toSorted()).toEqual(["hostname", "hosts", "mark", "resolv.conf"]);
  expect(statSync(join(etc, "resolv.conf")).isFile()).toBe(true);
  expect(entries).toEqual([{ name: "etc", from: etc }]);
  expect(readdirSync(join(image, "etc")).toSorted()).toEqual(["mark", "resolv.conf"]);
});

test("an archive of a root is what tar reads it as, and the same each time", () => {
  const parts = rootParts(rootEntries({ image: undefined, etc: "/etc" }));
  const archive = tarOf(parts);
  const listed = execFileSync("tar", ["--numeric-owner", "-tvf", "-"], { input: archive, encoding: "utf8" });
  const lines = listed.trim().split("\n");
  expect(lines).toHaveLength(parts.length);
  expect(lines.filter((line) => !line.includes(" 0/0 "))).toEqual([]);
  expect(listed).toMatch(/^drwxrwxrwt .* tmp\/$/m);
  expect(listed).toMatch(/^drwxr-xr-x .* usr\/$/m);
  expect(listed).toMatch(/^lrwxrwxrwx .* var\/tmp -> \.\.\/tmp$/m);
  expect(Buffer.compare(archive, tarOf(parts))).toBe(0);
  expect(() => tarOf([{ path: "x".repeat(100), kind: "folder", mode: 0o755 }])).toThrow(/shorter/);
});

needs("a machine of x86-64", process.arch === "x64" && process.platform === "linux")("the connector", () => {
  const start = (name: string) => {
    const program = join(held.folder, `${name}-connect`);
    writeFileSync(program, connectorFor("x64", join(held.folder, name)), { mode: 0o755 });
    return spawn(program, ["/bin/sh", "-c", 'cat <&3; echo "$0 $1 $A" >&3', "zero", "o n e"], {
      env: { A: "named" },
      stdio: ["ignore", "pipe", "ignore"],
    });
  };

  it("is another program, with a connection at 3", async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      server.close();
      socket.end("said outside\n");
      void text(socket).then((said) => server.emit("said", said));
    });
    await new Promise<void>((resolve) => server.listen(join(held.folder, "there"), resolve));
    const answer = new Promise((resolve) => server.once("said", resolve));
    const child = start("there");
    expect(await text(child.stdout)).toBe("said outside\n");
    expect(await answer).toBe("zero o n e named\n");
  });

  it("is none where nobody listens", async () => {
    const child = start("nowhere");
    const code = await new Promise((resolve) => child.once("exit", resolve));
    expect([code, await text(child.stdout)]).toEqual([FAILED, ""]);
  });
});

needs("Linux, mkfifo and root", placeOf("mkfifo") !== undefined && process.geteuid?.() === 0)("pipes", () => {
  const open = async (channel: boolean) => {
    // Longer than the path of a socket may be.
    const folder = join(held.folder, `container-${"x".repeat(120)}-${channel}`);
    mkdirSync(folder);
    return { folder: pipesFolder(folder), pipes: await makePipes(folder, 7_001, channel) };
  };

  it("carry what is said both ways, end where the last one ends, and have no names left by then", async () => {
    const { folder, pipes } = await open(false);
    for (const name of readdirSync(folder)) {
      const { mode, uid } = statSync(join(folder, name));
      expect([name, mode & 0o777, uid]).toEqual([name, 0o600, 7_001]);
    }
    const script = `exec 4<stdin 5>stdout 6>stderr 7<word 8>ready; echo >&8; read -r word <&7; echo "$word" >&6; cat <&4 >&5`;
    const child = spawn("/bin/sh", ["-c", script], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await new Promise((resolve) => pipes.ready.once("data", resolve));
    pipes.letGo();
    expect(readdirSync(folder)).toEqual([]);
    pipes.word.end("begin\n");
    pipes.stdin.end("given");
    expect(await Promise.all([text(pipes.stdout), text(pipes.stderr)])).toEqual(["given", "begin\n"]);
    await ended;
    pipes.close();
  });

  it("have a channel that somebody inside connects to, once", async () => {
    const { folder, pipes } = await open(true);
    const script = `const s = require("net").connect("channel"); s.on("data", (d) => s.end("got " + d));`;
    const child = spawn(process.execPath, ["-e", script], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const { channel } = pipes;
    if (channel === undefined) throw new Error("a channel was asked for");
    channel.write("word");
    expect(await text(channel)).toBe("got word");
    await ended;
    pipes.close();
  });
});
