// Goal: the command line as a whole: help, misuse, colours, Ctrl-C, who is recorded.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import { processIdSchema } from "../abi/ids.ts";
import { COMMANDS } from "./cli.ts";
import { bare, eachTestOn, FakeHost, giveRefunds } from "./host.fake.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh));

describe("the command line itself", () => {
  test("help names every command and exit status, on standard output", async () => {
    for (const argv of [[], ["--help"]]) {
      const { status, out, err } = await host.reeve(...argv);
      expect({ status, err }).toEqual({ status: 0, err: "" });
      for (const { name } of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name}\\b`, "m"));
      expect(out).toContain("130  interrupted by Ctrl-C");
    }
    expect((await host.reeve("--version")).out).toBe("0.1.0\n");
  });

  test.each(COMMANDS.map(({ name }) => name))("%s has help", async (name) => {
    const { status, out } = await host.reeve(name, "--help");
    expect(status).toBe(0);
    expect(out).toContain(`Usage: reeve ${name}`);
    expect(out).toContain("--json");
  });

  test("whatever tells people to type a command names one that there is", () => {
    const known = new Set(COMMANDS.map(({ name }) => name));
    const root = join(import.meta.dirname, "../..");
    const named = globSync(["src/**/*.ts", "docs/**/*.md", "*.md"], { cwd: root }).flatMap((file) =>
      [...readFileSync(join(root, file), "utf8").matchAll(/`(?:npx )?reeve ([a-z]+)/g)].map(([, name]) => ({
        file,
        name,
      })),
    );
    expect(named.length).toBeGreaterThan(known.size);
    expect(named.filter(({ name }) => !known.has(name ?? ""))).toEqual([]);
  });

  test.each([["pss"], ["ps", "--wide"], ["show"], ["journal", "p_0", "--from", "x"]])(
    "misuse %j is told on standard error and ends with 2",
    async (...argv) => {
      const { status, out, err } = await host.reeve(...argv);
      expect({ status, out }).toEqual({ status: 2, out: "" });
      expect(err).toContain("error:");
    },
  );

  test("a message of the system names commands as they are typed on this project; to programs it is said as it is", async () => {
    const message =
      "There is no such process. `reeve ps --all` lists those that there are; reeve is not typed here: `reeve`.";
    host.system.operate = () => Promise.reject(new OsError("not_found", message));
    expect((await host.reeve("ps")).err).toContain(
      "`npx reeve ps --all` lists those that there are; reeve is not typed",
    );
    expect((await host.reeve("--config", "my shop.ts", "ps")).err).toContain(
      "`npx reeve --config 'my shop.ts' ps --all`",
    );
    expect(JSON.parse((await host.reeve("ps", "--json")).out)).toMatchObject({ error: { message } });
  });

  test("Ctrl-C ends a command that does not listen for it", async () => {
    host.system.operate = () => new Promise(() => undefined);
    const ended = host.reeve("ps");
    await expect.poll(() => host.booted).toEqual(["embed read"]);
    host.interrupt();
    expect((await ended).status).toBe(130);
  });

  test("a reader that has seen enough, as head has, ends it without an error", async () => {
    const broken = (): boolean => host.stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    host.system.scripts.set("slow", async () => undefined);
    const following = host.reeve("run", "slow");
    await expect.poll(() => host.system.following).toBe(1);
    broken();
    broken();
    await following;
    expect(host.booted).toEqual(["embed run", "closed"]);

    host.system.operate = () => new Promise(() => undefined);
    const looking = host.reeve("ps");
    await expect.poll(() => host.booted).toContain("embed read");
    broken();
    expect((await looking).status).toBe(0);
  });

  test("a command line that cannot be read is an error of a document as well, where one was asked for", async () => {
    expect(JSON.parse((await host.reeve("show", "--json")).out)).toMatchObject({
      error: { code: "invalid_argument", message: "missing required argument 'pid'" },
    });
    expect(await host.reeve("exec", "--nope", "--", "x", "--json")).toMatchObject({ status: 2, out: "" });
  });

  test("colours and progress are for terminals alone, and NO_COLOR and --no-color are honoured", async () => {
    const process = (): void => void host.system.create("refunds");
    process();
    expect((await host.reeve("ps")).out).not.toContain("\u001b");
    host = new FakeHost({ terminal: true });
    process();
    const coloured = await host.reeve("ps");
    expect(coloured.out).toContain("\u001b[");
    const plain = await host.reeve("ps", "--no-color");
    expect(plain.out).not.toContain("\u001b");
    expect(bare(coloured.out)).toBe(plain.out);
    host.env["NO_COLOR"] = "1";
    expect((await host.reeve("ps")).out).not.toContain("\u001b");
  });

  test("REEVE_ACTOR names who decides", async () => {
    host.env["REEVE_ACTOR"] = "ada";
    await host.reeve("ps");
    expect(host.system.operated.at(-1)?.by).toBe("ada");
  });

  test("the ids that commands print are ids", async () => {
    giveRefunds(host);
    const { out } = await host.reeve("run", "refunds", "--detach");
    expect(processIdSchema.safeParse(out.trim()).success).toBe(true);
  });
});
