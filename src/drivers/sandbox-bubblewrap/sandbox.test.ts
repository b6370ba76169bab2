// Goal: what runs inside sees and keeps nothing but what it was given, and its end is told as it was. Method: real programs in real
// sandboxes.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { needs } from "../../../test/needs.ts";
import { createBubblewrap } from "./sandbox.ts";
import { ended, HAS_BUBBLEWRAP, IS_ROOT, openScene, run, shell, specOf, type Scene } from "./sandbox.fake.ts";

needs("bubblewrap (apt install bubblewrap)", HAS_BUBBLEWRAP)("a sandbox of bubblewrap", () => {
  let scene: Scene;
  beforeAll(() => void (scene = openScene()));
  afterAll(() => scene.end());

  test("its state says which layers are in force, and why the others are not", async () => {
    const state = await scene.sandbox.state();
    const lacking = state.layers.filter(({ inForce }) => !inForce);
    expect(state.posture).toBe(lacking.length === 0 ? "strong" : "reduced");
    for (const { name } of lacking) expect(state.reason).toContain(name);
    expect(state.layers.find(({ name }) => name === "unique user ids")?.inForce).toBe(IS_ROOT);
    expect(state.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  });

  test("inside: a user without rights, no environment but what is named, no descriptors, no network, a root that is read-only", async () => {
    const { out, exit } = await shell(
      scene.sandbox,
      `id -u; env | sort; ls /proc/self/fd | tr '\\n' ' '; echo; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status;
       tail -n +3 /proc/net/dev | grep -vc lo:; for place in / /etc /dev /usr /proc/sys /run; do touch $place/x 2>/dev/null && echo wrote $place; done; ls -A /ws; hostname`,
      { env: { GIVEN: "a b\n'c'" } },
    );
    expect(exit).toMatchObject({ kind: "exited", code: 0 });
    const lines = out.split("\n");
    expect(lines[0]).toBe("1000");
    expect(lines.slice(1, 8)).toEqual([
      "'c'",
      "GIVEN=a b",
      "HOME=/tmp",
      "LANG=C.UTF-8",
      "PATH=/usr/local/bin:/usr/bin:/bin",
      "PWD=/ws",
      "TMPDIR=/tmp",
    ]);
    // The fourth is the list's own.
    expect(lines[8]).toBe("0 1 2 3 ");
    expect(lines.slice(9)).toEqual(["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "0", "sandbox", ""]);
  });

  test("programs run: an exit, a crash, a program that is not there", async () => {
    expect((await shell(scene.sandbox, "exit 3")).exit).toMatchObject({ kind: "exited", code: 3 });
    expect((await shell(scene.sandbox, "kill -SEGV $$")).exit).toMatchObject({ kind: "crashed", signal: "SIGSEGV" });
    const { exit, err } = await run(scene.sandbox, { command: ["no-such-program"] });
    expect(exit).toMatchObject({ kind: "exited", code: 1 });
    expect(err).toContain("no-such-program");
  });

  test("standard input reaches the program, and a channel is duplex at descriptor 3", async () => {
    expect((await run(scene.sandbox, { command: ["cat"] }, "hello")).out).toBe("hello");
    const running = await scene.sandbox.start(
      specOf({ command: ["sh", "-c", "read -r line <&3; echo got $line >&3"], channel: true }),
    );
    const heard = new Promise((resolve) => running.channel?.once("data", (chunk: Buffer) => resolve(String(chunk))));
    running.channel?.write("ping\n");
    expect(await heard).toBe("got ping\n");
    expect((await ended(running)).exit).toMatchObject({ kind: "exited", code: 0 });
  });

  test("what is mounted is there, for reading or for writing", async () => {
    const shared = join(scene.folder, "shared");
    mkdirSync(shared, { mode: 0o777 });
    writeFileSync(join(shared, "file"), "text", { mode: 0o644 });
    const target = { from: shared, to: "/srv/data" };
    const read = await shell(scene.sandbox, "cat /srv/data/file; touch /srv/data/new", {
      mounts: [{ ...target, access: "read" }],
    });
    expect(read).toMatchObject({ out: "text", exit: { code: 1 }, err: expect.stringContaining("Read-only") });
    expect(readdirSync(shared)).toEqual(["file"]);
    const file = await shell(scene.sandbox, "cat /srv/one", {
      mounts: [{ from: join(shared, "file"), to: "/srv/one", access: "read" }],
    });
    expect(file.out).toBe("text");
  });

  test("sources that are gone, links, or have a socket below them are refused, and places that are the sandbox's own", async () => {
    const folder = join(scene.folder, "refused");
    mkdirSync(folder);
    symlinkSync("/usr", join(folder, "link"));
    const server = createServer().listen(join(folder, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const start = (from: string, to = "/srv/x") =>
      scene.sandbox.start(specOf({ mounts: [{ from, to, access: "read" }] }));
    const refused = (why: RegExp) => ({ code: "invalid_argument", message: expect.stringMatching(why) });
    await expect(start(join(folder, "gone"))).rejects.toMatchObject(refused(/is not there/));
    await expect(start(join(folder, "link"))).rejects.toMatchObject(refused(/neither a file nor a folder/));
    await expect(start(join(folder, "link", "bin"))).rejects.toMatchObject(
      refused(/a link leads from it to \/usr\/bin/),
    );
    await expect(start(folder)).rejects.toMatchObject(refused(/listens on/));
    await expect(start(join(folder, "socket"))).rejects.toMatchObject(refused(/listens on|neither/));
    await expect(start("/")).rejects.toMatchObject(refused(/machine itself/));
    await expect(start("/proc/self")).rejects.toMatchObject(refused(/machine itself/));
    await expect(start("/usr/../etc")).rejects.toMatchObject(refused(/absolute path/));
    for (const to of ["/ws/x", "/etc", "/proc/x", "/", "relative"])
      await expect(start("/usr", to)).rejects.toMatchObject({ code: "invalid_argument" });
    server.close();
  });

  test("a command or an environment that no program can be given is refused", async () => {
    await expect(scene.sandbox.start(specOf({ command: ["a\0b"] }))).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await expect(scene.sandbox.start(specOf({ env: { "A=B": "" } }))).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await expect(scene.sandbox.start(specOf({ cwd: "here" }))).rejects.toMatchObject({ code: "invalid_argument" });
  });

  test("a workspace is kept from one sandbox to the next, under one user, also below a folder that is closed", async () => {
    const folder = join(scene.folder, "workspace");
    mkdirSync(join(folder, "sub"), { recursive: true });
    writeFileSync(join(folder, "sub", "given"), "given");
    symlinkSync("/etc/passwd", join(folder, "link"));
    const before = statSync("/etc/passwd").uid;
    await shell(scene.sandbox, "cat sub/given; echo more >> sub/given; echo made > made", { workspace: { folder } });
    const { out } = await shell(scene.sandbox, "cat sub/given made; rm made", { workspace: { folder } });
    expect(out).toBe("givenmore\nmade\n");
    expect(readFileSync(join(folder, "sub", "given"), "utf8")).toBe("givenmore\n");
    expect(readdirSync(folder).toSorted()).toEqual(["link", "sub"]);
    expect(statSync("/etc/passwd").uid).toBe(before);
    expect(statSync(folder).uid === 0).toBe(false);
    expect(statSync(join(folder, "sub", "given")).uid).toBe(statSync(folder).uid);
  });

  needs("root", IS_ROOT)("where its folder may not be executed from", () => {
    test("it stands elsewhere, and two of one folder do not take anything from each other", async () => {
      const folder = join(scene.folder, "no-programs");
      mkdirSync(folder);
      execFileSync("mount", ["-t", "tmpfs", "-o", "noexec", "none", folder]);
      const drivers = [0, 1].map(() => createBubblewrap({ folder, uids: { from: 270_000, to: 270_999 } }));
      try {
        for (const driver of drivers) expect((await shell(driver, "echo ran")).out).toBe("ran\n");
        await drivers.pop()?.close();
        for (const driver of drivers) expect((await shell(driver, "echo ran")).out).toBe("ran\n");
        expect(readdirSync(folder)).toEqual([]);
      } finally {
        for (const driver of drivers) await driver.close();
        execFileSync("umount", [folder]);
      }
    });
  });

  needs("root", IS_ROOT)("where no folder serves", () => {
    test("it says so, and runs once it is asked again where one does", async () => {
      const closed = mkdtempSync(join(tmpdir(), "reeve-closed-"));
      const folder = join(closed, "sandbox");
      vi.stubEnv("TMPDIR", closed);
      const driver = createBubblewrap({ folder, uids: { from: 270_000, to: 270_999 } });
      try {
        expect(await driver.state()).toMatchObject({ posture: "none", reason: expect.stringContaining("folder") });
        chmodSync(closed, 0o711);
        expect((await driver.state()).posture).not.toBe("none");
        expect((await shell(driver, "echo ran")).out).toBe("ran\n");
      } finally {
        vi.unstubAllEnvs();
        await driver.close();
        rmSync(closed, { recursive: true });
      }
    });
  });

  test("a signal that has fired starts nothing, and one that fires later ends it", async () => {
    await expect(scene.sandbox.start(specOf({}), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "cancelled",
    });
    const abort = new AbortController();
    const running = await scene.sandbox.start(specOf({ command: ["sleep", "100"] }), { signal: abort.signal });
    abort.abort();
    expect(await running.exit).toMatchObject({ kind: "killed" });
  });

  test("common programs run under the filter", async () => {
    const script = `set -e
      git init -q repository && cd repository && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one && git log --oneline | wc -l
      cd .. && printf '#include <stdio.h>\\nint main(void) { puts("compiled"); return 0; }\\n' > a.c && gcc a.c -o a && ./a
      python3 -c 'import subprocess, threading, multiprocessing as m; t = threading.Thread(target=print, args=("thread",)); t.start(); t.join(); print(subprocess.check_output(["echo", "child"]).decode(), end=""); m.Lock()'
      perl -e 'print "perl\\n"'
      for name in curl sqlite3 file tar awk sed find xargs sort; do command -v $name > /dev/null && echo ok > /dev/null; done
      seq 3 | xargs -n1 echo | sort -r | head -1; tar cf a.tar a.c && tar tf a.tar; find . -name a.c; mkfifo f; timeout 5 true`;
    const { out, err, exit } = await shell(scene.sandbox, script, { limits: { diskBytes: 32 * 2 ** 20 } });
    expect(err).toBe("");
    expect(out).toBe("1\ncompiled\nthread\nchild\nperl\n3\na.c\n./a.c\n");
    expect(exit).toMatchObject({ kind: "exited", code: 0 });
  });

  test("this Node runs under the filter, with threads and children", async () => {
    const program = `const { Worker } = require("worker_threads"); const { spawnSync } = require("child_process"); const fs = require("fs/promises");
      (async () => { await fs.writeFile("x", "y"); console.log(spawnSync("echo", ["child"]).stdout.toString().trim(), String(await fs.readFile("x")));
      new Worker("console.log('thread')", { eval: true }); })();`;
    const mounts = [{ from: process.execPath, to: "/opt/node", access: "read" as const }];
    const { out, err } = await run(scene.sandbox, { command: ["/opt/node", "-e", program], mounts });
    expect(err).toBe("");
    expect(out).toBe("child y\nthread\n");
  });
});
