// Goal: a bundle says all that keeps a job in, makes a place for each mount, and follows no link of the machine. Method: bundles are
// written from a small image in a temporary folder and read again; no runtime is started.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { sandboxLimitsSchema } from "../../../abi/isolation.ts";
import { rlimitsOf, samplePlan, type Plan, type World } from "../contents/plan.ts";
import { seccompFor } from "../contents/seccomp.ts";
import { makeBundle, sampleConfig } from "./bundle.ts";

const config = z.looseObject({
  process: z.looseObject({
    args: z.array(z.string()),
    env: z.array(z.string()),
    noNewPrivileges: z.boolean(),
    capabilities: z.record(z.string(), z.array(z.string())),
  }),
  root: z.looseObject({ readonly: z.boolean() }),
  mounts: z.array(
    z.looseObject({ destination: z.string(), source: z.string(), options: z.array(z.string()), type: z.string() }),
  ),
  linux: z.looseObject({
    namespaces: z.array(z.object({ type: z.string() })),
    uidMappings: z.array(z.object({ containerID: z.int(), hostID: z.int(), size: z.int() })),
    seccomp: z.looseObject({ defaultAction: z.string() }),
  }),
});

const limits = sandboxLimitsSchema.parse({});
const held = {} as { folder: string; image: string };
let made = 0;

beforeAll(() => {
  held.folder = mkdtempSync(join(tmpdir(), "reeve-bundle-"));
  held.image = join(held.folder, "image");
  for (const name of ["usr/bin", "etc", "opt", "proc", "tmp"]) mkdirSync(join(held.image, name), { recursive: true });
  symlinkSync("usr/bin", join(held.image, "bin"));
  symlinkSync(join(held.folder, "outside"), join(held.image, "srv"));
  mkdirSync(join(held.folder, "outside"));
  mkdirSync(join(held.folder, "data"));
  writeFileSync(join(held.folder, "file"), "");
});
afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

const worldOf = (): World => ({ etc: "/etc", image: held.image, seccomp: seccompFor("x64") });

function bundle(part: Partial<Plan> = {}): { readonly folder: string; readonly told: z.output<typeof config> } {
  made += 1;
  const folder = join(held.folder, `bundle-${made}`);
  const plan = { ...samplePlan(limits, "descriptors"), ids: { root: 7_000, job: 7_001 }, ...part };
  makeBundle(folder, worldOf(), plan, "reeve/1");
  return { folder, told: config.parse(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))) };
}

test("everything that keeps a job in is said, whatever the spec", () => {
  const { process, root, linux } = bundle().told;
  expect(process.noNewPrivileges).toBe(true);
  expect(Object.values(process.capabilities).flat()).toEqual([]);
  expect(root.readonly).toBe(true);
  expect(linux.namespaces.map(({ type }) => type).toSorted()).toEqual(
    ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"].toSorted(),
  );
  // Root of the machine is nobody inside, and nobody inside is root of the machine.
  expect(linux.uidMappings).toEqual([
    { containerID: 0, hostID: 7_000, size: 1 },
    { containerID: 1000, hostID: 7_001, size: 1 },
  ]);
  expect(linux.seccomp.defaultAction).toBe("SCMP_ACT_ERRNO");
});

test("only scratch folders with a size, and what is named, are writable", () => {
  const { mounts } = bundle({
    workspace: join(held.folder, "data"),
    mounts: [{ from: join(held.folder, "file"), to: "/data/file", access: "read" }],
  }).told;
  const writable = mounts.filter(({ options }) => !options.includes("ro"));
  expect(writable.map(({ destination }) => destination).toSorted()).toEqual(
    ["/dev/pts", "/dev/shm", "/proc", "/tmp", "/ws"].toSorted(),
  );
  const scratch = writable.filter(({ type }) => type === "tmpfs");
  for (const { destination, options } of scratch) expect(options.join(), destination).toContain("size=");
  const bound = mounts.filter(({ type }) => type === "bind");
  for (const { destination, options } of bound)
    expect(options, destination).toEqual(expect.arrayContaining(["nosuid", "nodev"]));
});

test("each mount finds a place of its kind, and no link of the image is followed to make it", () => {
  const { folder } = bundle({
    mounts: [
      { from: join(held.folder, "file"), to: "/data/deep/file", access: "read" },
      { from: join(held.folder, "data"), to: "/data/deep/folder", access: "write" },
      { from: join(held.folder, "data"), to: "/srv/inside", access: "read" },
    ],
  });
  expect(readdirSync(join(folder, "rootfs/data/deep")).toSorted()).toEqual(["file", "folder"]);
  expect(existsSync(join(held.folder, "outside/inside"))).toBe(false);
});

test("what an image has of its own at the places that every sandbox has is not seen", () => {
  const { mounts } = bundle().told;
  const bound = mounts.filter(({ type }) => type === "bind").map(({ destination }) => destination);
  expect(bound.toSorted()).toEqual(["/etc", "/opt", "/usr"]);
});

test("nothing of the environment stands in it", () => {
  expect(bundle().told.process.env).toEqual([]);
});

test("no bound of a process is above what Reeve itself has", () => {
  const own = new Map([
    ["Max open files", 100],
    ["Max file size", 10],
  ]);
  const found = new Map(rlimitsOf(limits, own).map((each) => [each.type, each]));
  expect(found.get("RLIMIT_NOFILE")).toMatchObject({ soft: 100, hard: 100 });
  expect(found.get("RLIMIT_FSIZE")).toMatchObject({ soft: 10, hard: 10 });
  expect(found.get("RLIMIT_CORE")).toMatchObject({ soft: 0, hard: 0 });
  const cpu = found.get("RLIMIT_CPU");
  expect(cpu?.hard).toBeGreaterThan(cpu?.soft ?? Infinity);
});

test("the sample that a verdict holds for does not change from one start to the next", () => {
  const sample = samplePlan(limits, "descriptors");
  expect(sampleConfig(worldOf(), sample)).toEqual(sampleConfig({ ...worldOf(), etc: "/elsewhere" }, sample));
});
