// Goal: what runc keeps beside the suite of the port, podman and docker keep, and nothing of a container stays in their books. Method:
// containers of the real engines; the one of docker is at DOCKER_HOST, or where it is by default.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { needs } from "../../../test/needs.ts";
import { containers, make, namesOf, own, run, specOf, withFolder } from "./containers.fake.ts";
import { findDocker } from "./runtimes/docker.ts";
import { findPodman } from "./runtimes/podman.ts";
import type { RuntimeName } from "./runtimes/runtime.ts";

withFolder();

type Engine = {
  readonly runtime: RuntimeName;
  readonly need: string;
  readonly present: boolean;
  /** Its program, on the books that a driver with this folder uses. */
  readonly ask: (folder: string, args: readonly string[]) => string;
};

const isRoot = process.geteuid?.() === 0;

const podman: Engine = {
  ...{ runtime: "podman", need: "podman and root", present: isRoot && typeof (await findPodman("/")) !== "string" },
  ask: (folder, args) => {
    const books = {
      CONTAINERS_CONF: join(folder, "podman", "containers.conf"),
      CONTAINERS_STORAGE_CONF: join(folder, "podman", "storage.conf"),
    };
    return execFileSync("podman", args, { encoding: "utf8", env: { ...process.env, ...books } });
  },
};
const docker: Engine = {
  ...{ runtime: "docker", need: "an engine of docker and root", present: typeof (await findDocker()) !== "string" },
  ask: (_folder, args) => execFileSync("docker", args, { encoding: "utf8" }),
};

for (const { runtime, need, present, ask } of [podman, docker]) {
  const booksOf = (folder: string): readonly string[] =>
    ask(folder, ["ps", "--all", "--format", "{{.Names}}"]).split("\n");
  containers({ runtime, need, present, booksOf });

  needs(need, present)(`the books of ${runtime}`, () => {
    it("tell nothing of a job's environment", async () => {
      const folder = own("driver");
      const sandbox = make({ runtime, folder });
      const running = await sandbox.start(specOf({ command: ["sleep", "60"], env: { GIVEN: "not-for-books" } }));
      const [name = ""] = namesOf(booksOf(folder));
      const told = ask(folder, ["inspect", name]);
      await running.kill();
      await sandbox.close();
      expect(told).toContain("sleep");
      expect(told).not.toContain("not-for-books");
    });

    it("are rid at the next start of what a run left whose every process was killed, and of nothing else", async () => {
      const folder = own("driver");
      const first = make({ runtime, folder });
      const running = await first.start(specOf({ command: ["sleep", "60"] }));
      const [name = ""] = namesOf(booksOf(folder));
      const [, space = ""] = /^reeve-(\d+)-/.exec(name) ?? [];
      // As of a process that was the first once.
      const over = `reeve-${space}-1-1-abcd.1`;
      ask(folder, ["rename", name, over]);
      const other = own("driver");
      const sandbox = make({ runtime, folder: runtime === "podman" ? folder : other });
      await run(sandbox, {});
      expect(booksOf(folder)).not.toContain(over);
      // Its job is gone with it; the system's account of it stays until its driver has read that.
      expect(await running.exit).toMatchObject({ kind: "crashed", signal: "SIGKILL" });
      await Promise.all([first.close(), sandbox.close()]);
    });
  });
}

needs(docker.need, docker.present)("an image that somebody removed from docker", () => {
  it("is made again at the next start", async () => {
    const sandbox = make({ runtime: "docker" });
    await run(sandbox, {});
    const names = docker.ask("", ["images", "--format", "{{.Repository}}:{{.Tag}}", "reeve-sandbox"]);
    docker.ask("", ["rmi", "--force", ...names.trim().split("\n")]);
    expect(await run(sandbox, { command: ["echo", "there"] })).toMatchObject({ stdout: "there\n" });
    await sandbox.close();
  });
});
