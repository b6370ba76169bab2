// Goal: what the suite of the port does not see of this driver: images, the door, who a container belongs to,
// what remains, and what is said where there is no runtime. Method: containers of the real runc on folders of their own.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { containers, make, own, specOf, withFolder } from "./containers.fake.ts";
import { placeOf } from "./runtimes/programs.ts";

withFolder();

containers({
  runtime: "runc",
  need: "runc and root",
  present: placeOf("runc") !== undefined && process.geteuid?.() === 0,
});

describe("where there is no runtime", () => {
  it("names an image that is not there", async () => {
    const sandbox = make({ image: join(own("gone"), "no-image") });
    const { posture, reason } = await sandbox.state();
    expect(posture).toBe("none");
    expect(reason).toContain("no-image");
    await expect(sandbox.start(specOf({}))).rejects.toMatchObject({ code: "isolation_unavailable" });
    await sandbox.close();
  });

  it("looks again when it is asked again", async () => {
    const image = join(own("later"), "image");
    const sandbox = make({ runtime: "runc", image });
    expect((await sandbox.state()).reason).toContain("is not a folder");
    mkdirSync(image);
    // Nothing is in it, so no trial succeeds; but that it is there was seen.
    expect(await sandbox.state()).toMatchObject({
      posture: "none",
      reason: expect.not.stringContaining("is not a folder") as string,
    });
    await sandbox.close();
  });

  it("does not take a client for an engine, nor an engine elsewhere for one here", async () => {
    vi.stubEnv("DOCKER_HOST", `unix://${join(own("gone"), "no-socket")}`);
    const reasonOf = async (): Promise<string> => {
      const sandbox = make({ runtime: "docker" });
      const { posture, reason } = await sandbox.state();
      await sandbox.close();
      expect(posture).toBe("none");
      return reason;
    };
    expect(await reasonOf()).toMatch(/docker (is not installed|is a client without an engine here|needs Reeve)/);
    vi.stubEnv("DOCKER_HOST", "tcp://192.0.2.1:2375");
    expect(await reasonOf()).toMatch(/not installed|elsewhere|needs Reeve/);
    vi.unstubAllEnvs();
  });
});
