// Goal: a root that has not all the rights of one is told what it lacks and what to do, before anything of a job is begun. Method: the
// driver asked for its state, and for a sandbox, in a program that rights were taken from.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import { explain, lackingRights } from "./host.ts";
import { HAS_BUBBLEWRAP, IS_ROOT } from "./sandbox.fake.ts";

test("rights are read as the kernel shows them", () => {
  expect(lackingRights("Name:\tnode\nCapEff:\t000001ffffffffff\n")).toBeUndefined();
  // What containers have if nothing else is said.
  expect(lackingRights("CapEff:\t00000000a80425fb\n")).toBeUndefined();
  expect(lackingRights("CapEff:\t00000000a804251a\n")).toContain("lacks CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID.");
});

test("what bubblewrap says where user namespaces are forbidden is told with what to do, as two sentences", () => {
  const said =
    "bwrap: No permissions to create new namespace, likely because the kernel does not allow it. See <file:///x>.\n";
  expect(explain(said)).toMatch(/<file:\/\/\/x>\. This machine forbids user namespaces\. Allow them: `sysctl/);
});

const ASK = `
const { createBubblewrap } = await import(${JSON.stringify(new URL("./sandbox.ts", import.meta.url).href)});
const { specOf } = await import(${JSON.stringify(new URL("./sandbox.fake.ts", import.meta.url).href)});
const [folder, workspace] = process.argv.slice(1);
const sandbox = createBubblewrap({ folder, uids: { from: 200_000, to: 265_535 } });
const { posture, reason } = await sandbox.state();
const error = await sandbox.start(specOf({ workspace: { folder: workspace, quota: "none" } })).catch(({ code, message }) => ({ code, message }));
await sandbox.close();
console.log(JSON.stringify({ posture, reason, code: error.code, message: error.message }));
`;

needs("root", IS_ROOT && HAS_BUBBLEWRAP)("where root has not all rights", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "reeve-rights-"));
    chmodSync(folder, 0o711);
    mkdirSync(join(folder, "closed", "workspace"), { recursive: true });
    chmodSync(join(folder, "closed"), 0o700);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function askUnder(...before: readonly [string, ...string[]]): unknown {
    const [program, ...rest] = before;
    const own = [process.execPath, "--input-type=module", "--eval", ASK];
    const args = [...rest, ...own, join(folder, "sandbox"), join(folder, "closed", "workspace")];
    const { stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
    return JSON.parse(stdout === "" ? JSON.stringify(stderr) : stdout);
  }
  const without = (right: string): unknown => askUnder("setpriv", `--bounding-set=-${right}`, `--inh-caps=-${right}`);

  test.each(["chown", "kill", "setgid", "setuid"])("without %s there are no sandboxes, and it is named", (right) => {
    const reason = expect.stringContaining(`lacks CAP_${right.toUpperCase()}. Run its container`);
    expect(without(right)).toEqual({ posture: "none", reason, code: "isolation_unavailable", message: reason });
  });

  test("without the right to mount, a workspace that not all find is what cannot be had", () => {
    expect(without("sys_admin")).toMatchObject({
      code: "isolation_unavailable",
      message: expect.stringMatching(/the right to mount \(CAP_SYS_ADMIN\)\. Move it/),
    });
  });

  test("where there are no such user ids, they are what is to be set; what has happened is said once", () => {
    expect(askUnder("unshare", "--user", "--map-root-user")).toMatchObject({
      posture: "none",
      reason: expect.stringMatching(/^spawn EINVAL\. .*Set sandbox\.uids/),
      message: expect.stringMatching(/^The sandbox was not started: spawn EINVAL/),
    });
  });
});
