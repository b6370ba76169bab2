// Goal: a door ends with its process: at once, with all that goes through it, and with nothing left on the disk.
// Method: connections of every kind are open when the door is closed, its record refuses, or Reeve is killed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { dial, get, raw, ruleOf, socketOf, Stage } from "../scene.fake.ts";

const stage = new Stage();
afterEach(() => stage.end());

describe("a door that is closed", () => {
  it("ends requests under way, tunnels and idle connections, and takes its socket away", async () => {
    const waiting = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    const far = await stage.far({
      handle: (_request, response) => {
        response.once("close", () => left.resolve());
        waiting.resolve();
      },
    });
    const { door, notebook, folder } = await stage.open([
      { scheme: "http", host: "a.test", port: far.port, allowPrivate: true },
      { host: "b.test", port: far.port, tunnel: true, allowPrivate: true },
    ]);
    const idle = connect(socketOf(door));
    await once(idle, "connect");
    const busy = connect(socketOf(door));
    busy.write(get(`http://a.test:${far.port}/`));
    const tunnel = await dial(door, `b.test:${far.port}`);
    const ends = [idle, busy, tunnel].map((socket: Socket) => once(socket.on("error", () => {}).resume(), "close"));
    await waiting.promise;
    await door.close();
    await Promise.all([...ends, left.promise]);
    expect(existsSync(door.folder)).toBe(false);
    const [home] = readdirSync(folder);
    expect(readdirSync(`${folder}/${home}`)).toEqual([]);
    // Its last events are written when `close` resolves.
    expect(notebook.events("ended")).toHaveLength(2);
    await door.close();
  });

  it("can be entered but not found by others, and is gone with the last one", async () => {
    const { door, egress, folder } = await stage.open([]);
    expect(statSync(dirname(door.folder)).mode & 0o777).toBe(0o711);
    expect(statSync(socketOf(door)).mode & 0o777).toBe(0o666);
    await egress.close();
    expect(readdirSync(folder)).toEqual([]);
    await expect(
      egress.open({ owner: "p", rules: [], secrets: [], notes: { requested: async () => {}, ended: async () => {} } }),
    ).rejects.toMatchObject({ code: "tool_unavailable" });
  });

  it("takes no other door's socket away, however many come and go at once", async () => {
    const far = await stage.far();
    const { egress } = stage.egress();
    const rules = [ruleOf({ scheme: "http", host: "a.test", port: far.port, allowPrivate: true })];
    const notes = { requested: async () => {}, ended: async () => {} };
    const openOne = () => egress.open({ owner: "p", rules, secrets: [], notes });
    const first = await Promise.all(Array.from({ length: 20 }, openOne));
    const [second] = await Promise.all([
      Promise.all(Array.from({ length: 20 }, openOne)),
      Promise.all(first.map((door) => door.close())),
    ]);
    for (const door of second) expect(await raw(door, get(`http://a.test:${far.port}/`))).toMatch(/^HTTP\/1.1 200/);
    expect(first.filter(({ folder }) => existsSync(folder))).toEqual([]);
  });

  it("is not opened with a rule or a secret that does not hold, and leaves nothing", async () => {
    await expect(stage.open([{ host: "*" }])).rejects.toMatchObject({ code: "invalid_argument" });
    await expect(stage.open([], { granted: ["none"] })).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("a door whose record refuses", () => {
  it("sends nothing and shuts", async () => {
    const far = await stage.far();
    const { door, notebook } = await stage.open([
      { scheme: "http", host: "a.test", port: far.port, allowPrivate: true },
    ]);
    notebook.over = true;
    const text = await raw(door, get(`http://a.test:${far.port}/`));
    expect(["", "503"]).toContain(text.split(" ")[1] ?? "");
    expect(far.seen).toEqual([]);
    await door.close();
    expect(existsSync(door.folder)).toBe(false);
  });

  it("waits for the event before anything leaves", async () => {
    const far = await stage.far();
    const durable = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const { egress } = stage.egress();
    const door = await egress.open({
      owner: "p",
      rules: [{ scheme: "http", host: "a.test", port: far.port, tunnel: false, allowPrivate: true }],
      secrets: [],
      notes: {
        requested: async () => {
          asked.resolve();
          await durable.promise;
        },
        ended: async () => {},
      },
    });
    let connections = 0;
    far.server.on("connection", () => (connections += 1));
    const text = raw(door, get(`http://a.test:${far.port}/`));
    await asked.promise;
    // A request of another kind goes all the way there and back meanwhile.
    await fetch(`http://127.0.0.1:${far.port}/direct`);
    expect(far.seen.map(({ url }) => url)).toEqual(["/direct"]);
    expect(connections).toBe(1);
    durable.resolve();
    expect(await text).toMatch(/^HTTP\/1.1 200/);
  });
});

describe("a door of a Reeve that is killed", () => {
  it("is swept away", async () => {
    const { folder } = stage.egress();
    const driver = fileURLToPath(new URL("../egress.ts", import.meta.url));
    const script = `
      const { createEgress } = await import(process.argv[1]);
      const egress = createEgress({ secrets: {}, secretOf: () => undefined, folder: process.argv[2] });
      const door = await egress.open({ owner: "p", rules: [], secrets: [], notes: { requested: async () => {}, ended: async () => {} } });
      console.log(door.folder);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, driver, folder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const doorFolder = line.toString("utf8").trim();
    expect(existsSync(doorFolder)).toBe(true);
    child.kill("SIGKILL");
    await once(child, "exit");
    while (readdirSync(folder).length > 0) await pause(10);
    expect(existsSync(doorFolder)).toBe(false);
  });
});
