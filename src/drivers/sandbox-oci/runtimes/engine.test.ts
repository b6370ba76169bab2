// Goal: an engine is told all that keeps a job in, and nothing of what must not be told. Method: arguments as they are made, and what all
// containers share as it is laid out; no engine is asked.
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { sandboxLimitsSchema } from "../../../abi/isolation.ts";
import { runName } from "../../../linux/cgroup.ts";
import { samplePlan, type Plan } from "../contents/plan.ts";
import { seccompFor } from "../contents/seccomp.ts";
import { dockerArgs } from "./docker.ts";
import { leftOver, makeEngineWorld, record, type EngineWorld } from "./engine.ts";
import { podmanArgs, runtimeFolder } from "./podman.ts";

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
    expect(args).toEqual(expect.arrayContaining(["--rm", "--read-only", "--init=false"]));
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

test("podman without root keeps what is short-lived in its user's own folder, and in no other's", () => {
  const own = join(held.folder, "own");
  const another = join(held.folder, "another");
  for (const path of [own, another]) mkdirSync(path);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) chownSync(another, 65_534, 65_534);
  const foreign = isRoot ? another : "/";
  expect([own, foreign, join(held.folder, "none")].map((named) => runtimeFolder(named))).toEqual([own, "/tmp", "/tmp"]);
});
