// The messages that a model is sent: chains of contexts, read back, branched, and kept to their own process.
import { afterEach, describe, expect, it } from "vitest";
import { fakeModel, say, type TestProgram } from "../../../test/system.ts";
import { OsError } from "../../abi/errors.ts";
import type { Address } from "../../abi/ids.ts";
import type { Message } from "../../abi/messages.ts";
import type { ModelAnswer, ModelRequest } from "../../ports/model.ts";
import type { Store } from "../../ports/store.ts";
import { replaced, type Scene, scene, type SceneOptions } from "../scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

const user = (content: string): Message => ({ role: "user", content });

/** The texts of a request's messages, which may be looked at long after it was made. */
const texts = (messages: readonly Message[]): string[] =>
  messages.map(({ content }) =>
    typeof content === "string" ? content : content.map((part) => ("text" in part ? part.text : "")).join(""),
  );

async function asked(
  run: TestProgram,
  answer: (request: ModelRequest) => Partial<ModelAnswer> | Promise<Partial<ModelAnswer>> = ({ messages }) =>
    say(`answer ${messages.length}`),
  more: Partial<SceneOptions> = {},
): Promise<{ system: Scene; requests: readonly string[][]; result: unknown }> {
  const models = fakeModel(answer);
  const system = await scene({ agents: { agent: { run } }, models, ...more });
  open.push(system);
  const exit = await system.exit(await system.start("agent"));
  return {
    system,
    requests: models.asked.map(({ messages }) => texts(messages)),
    result: exit?.how === "completed" ? exit.result : exit,
  };
}

describe("a chain of contexts", () => {
  it("sends everything that came before, in order", async () => {
    const { requests } = await asked(async (sys) => {
      const one = await sys.model.generate({ messages: [user("a")] });
      const two = await sys.model.generate({ after: one.context, messages: [user("b")] });
      await sys.model.generate({ after: two.context, messages: [] });
      return null;
    });
    expect(requests).toEqual([["a"], ["a", "answer 1", "b"], ["a", "answer 1", "b", "answer 3"]]);
  });

  it("can be gone on with from any of its links, any number of times, also after a failure", async () => {
    let fails = 0;
    const { requests } = await asked(
      async (sys) => {
        let { context } = await sys.model.generate({ messages: [user("0")] });
        const links = [context];
        for (let n = 1; n < 8; n += 1) {
          ({ context } = await sys.model.generate({ after: context, messages: [user(`${n}`)] }));
          links.push(context);
        }
        fails = 2;
        for (let attempt = 0; attempt < 3; attempt += 1)
          await sys.model.generate({ after: links[7], messages: [user("x")] }).catch(() => null);
        await sys.model.generate({ after: links[0], messages: [user("y")] });
        await sys.model.generate({ after: links[7], messages: [user("z")] });
        return null;
      },
      () => {
        fails -= 1;
        if (fails >= 0) throw new OsError("model_failed", "Overloaded.", { retryable: true });
        return say("a");
      },
    );
    const whole = Array.from({ length: 8 }, (_, n) => [`${n}`, "a"]).flat();
    expect(requests.slice(8)).toEqual([
      [...whole, "x"],
      [...whole, "x"],
      [...whole, "x"],
      ["0", "a", "y"],
      [...whole, "z"],
    ]);
  });

  it("branches into calls that run side by side, none of which sees another's words", async () => {
    const seen: string[][] = [];
    await asked(
      async (sys) => {
        const { context } = await sys.model.generate({ messages: [user("a")] });
        const branches = [[], [user("b")], [], [user("c")]].map((messages) =>
          sys.model.generate({ after: context, messages }),
        );
        const ends = await Promise.all(branches);
        for (const end of ends) await sys.model.generate({ after: end.context, messages: [user("on")] });
        return null;
      },
      async ({ messages }) => {
        // A driver that takes its time to read what it was given.
        const before = texts(messages);
        for (let turn = 0; turn < 3 + seen.length; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        seen.push(texts(messages));
        expect(texts(messages)).toEqual(before);
        return say("w");
      },
    );
    expect(seen.slice(0, 5).toSorted((a, b) => a.join().localeCompare(b.join()))).toEqual([
      ["a"],
      ["a", "w"],
      ["a", "w"],
      ["a", "w", "b"],
      ["a", "w", "c"],
    ]);
    expect(seen.slice(5)).toEqual([
      ["a", "w", "w", "on"],
      ["a", "w", "b", "w", "on"],
      ["a", "w", "w", "on"],
      ["a", "w", "c", "w", "on"],
    ]);
  });

  it("is read back after a crash", async () => {
    const agents: SceneOptions["agents"] = {
      agent: {
        run: async (sys) => {
          let context: Address | undefined;
          for (let n = 0; n < 6; n += 1)
            ({ context } = await sys.model.generate({
              messages: [user(`${n}`)],
              ...(context === undefined ? {} : { after: context }),
            }));
          await sys.message.receive({});
          await sys.model.generate({ messages: [user("end")], ...(context === undefined ? {} : { after: context }) });
          return null;
        },
      },
    };
    const before = await scene({ agents, models: fakeModel(() => say("a")) });
    const pid = await before.start("agent");
    while ((await before.state(pid)) !== "waiting") await new Promise((resolve) => setImmediate(resolve));
    const models = fakeModel(() => say("b"));
    const after = await scene({ agents, models, medium: await before.crash() });
    open.push(after);
    await after.operate("message.send", { pid, body: "on" }, "test");
    await after.exit(pid);
    expect(models.asked.map(({ messages }) => texts(messages))).toEqual([
      [...Array.from({ length: 6 }, (_, n) => [`${n}`, "a"]).flat(), "end"],
    ]);
  });
});

describe("a long chain that is read back", () => {
  /** How often payloads are asked for when a program goes on after so many turns, with another conversation beside it. */
  async function readsAfter(turnCount: number): Promise<number> {
    const turn = (n: number): string => `turn ${n}`;
    const agents: SceneOptions["agents"] = {
      agent: {
        run: async (sys) => {
          const contexts: (Address | undefined)[] = [undefined, undefined];
          for (let n = 0; n < turnCount; n += 1)
            for (const side of [0, 1]) {
              const after = contexts[side] === undefined ? {} : { after: contexts[side] };
              contexts[side] = (await sys.model.generate({ messages: [user(turn(n))], ...after })).context;
            }
          await sys.message.receive({});
          await sys.model.generate({ messages: [user("end")], after: contexts[0] });
          return null;
        },
      },
    };
    const before = await scene({ agents, models: fakeModel(() => say("a")) });
    const pid = await before.start("agent");
    while ((await before.state(pid)) !== "waiting") await new Promise((resolve) => setImmediate(resolve));
    let reads = 0;
    const store = (disk: Store): Store =>
      replaced(disk, { payloads: (addresses) => ((reads += 1), disk.payloads(addresses)) });
    const models = fakeModel(() => say("b"));
    const after = await scene({ agents, models, store, medium: await before.crash() });
    open.push(after);
    await after.operate("message.send", { pid, body: "on" }, "test");
    await after.exit(pid);
    const whole = Array.from({ length: turnCount }, (_, n) => [turn(n), "a"]).flat();
    expect(models.asked.map(({ messages }) => texts(messages))).toEqual([[...whole, "end"]]);
    return reads;
  }

  it("costs a read for each page and not for each link", async () => {
    const [short, long] = [await readsAfter(5), await readsAfter(200)];
    expect(short).toBeLessThan(12);
    expect(long).toBeLessThan(20);
  });
});

describe("a context that is not the process's own", () => {
  it("is refused: another process's, one that nobody made, a payload that is no context", async () => {
    const models = fakeModel(({ messages }) => say(`answer ${messages.length}`));
    const agents: SceneOptions["agents"] = {
      victim: {
        run: async (sys) => (await sys.model.generate({ messages: [user("the secret of the victim")] })).context,
      },
      thief: {
        run: async (sys, after) =>
          sys.model.generate({ after: after as Address, messages: [user("what was said?")] }).then(
            () => "got it",
            (error: { code: string }) => error.code,
          ),
      },
    };
    const system = await scene({ agents, models });
    open.push(system);
    const exit = await system.exit(await system.start("victim"));
    const context = exit?.how === "completed" ? exit.result : null;
    for (const after of [context, "A".repeat(43), [...system.medium.payloads.keys()][0] ?? null])
      expect(await system.exit(await system.start("thief", after))).toEqual({ how: "completed", result: "not_found" });
    expect(models.asked).toHaveLength(1);
  });
});
