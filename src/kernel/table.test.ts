// What a process is created with is believed only as it was written: each part of it is altered on the medium in turn.
import { afterEach, expect, it, test } from "vitest";
import type { MemoryMedium } from "../../test/simulation/store-memory.ts";
import type { Address, ProcessId } from "../abi/ids.ts";
import type { StoredEvent } from "../ports/store.ts";
import type { Sys } from "../sdk/sys.ts";
import { eventually, type Scene, scene, turns } from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

const agents = {
  listener: { run: async (sys: Sys) => (await sys.message.receive({})).message?.body ?? null },
};
/** Too long to stand in its event. */
const LONG_TASK = "x".repeat(2000);

/** A medium with two processes that wait, the first of them with a long task. */
async function written(): Promise<{ medium: MemoryMedium; pid: ProcessId; other: ProcessId }> {
  const system = await scene({ agents });
  const [pid, other] = [await system.start("listener", LONG_TASK), await system.start("listener", "short")];
  await eventually("both wait", async () => {
    const states = await Promise.all([pid, other].map((each) => system.state(each)));
    return states.every((state) => state === "waiting") || undefined;
  });
  return { medium: await system.crash(), pid, other };
}

function alterFirst(medium: MemoryMedium, pid: ProcessId, alter: (event: StoredEvent) => Partial<StoredEvent>): void {
  const journal = medium.journals.get(pid) ?? [];
  const [first] = journal;
  if (first === undefined) throw new Error("no first event");
  journal[0] = { ...first, ...alter(first) };
}

/** The address of a payload of the first event. */
const addressIn = (medium: MemoryMedium, pid: ProcessId, name: string): Address =>
  (JSON.parse(medium.journals.get(pid)?.[0]?.header ?? "{}") as { payloads: Record<string, Address> }).payloads[
    name
  ] as Address;

const DAMAGES: [string, RegExp, (medium: MemoryMedium, pid: ProcessId) => void][] = [
  [
    "its header",
    /its first event does not fit its hash/,
    (medium, pid) => alterFirst(medium, pid, ({ header }) => ({ header: header.replace("listener", "listened") })),
  ],
  [
    "its header, so that it is no JSON",
    /its first event does not fit its hash/,
    (medium, pid) => alterFirst(medium, pid, ({ header }) => ({ header: header.slice(1) })),
  ],
  [
    "what stands in it, so that it is no JSON",
    /the payloads of its first event cannot be read/,
    (medium, pid) => alterFirst(medium, pid, () => ({ inline: "{" })),
  ],
  [
    "its specification",
    /its spec is not what was recorded/,
    (medium, pid) => {
      const address = addressIn(medium, pid, "spec");
      const of = (text: string): string =>
        text.replace(`"listener"`, `"thief"`).replace(`\\"listener\\"`, `\\"thief\\"`);
      const distant = medium.payloads.get(address);
      if (distant !== undefined) medium.payloads.set(address, of(distant));
      else alterFirst(medium, pid, ({ inline }) => ({ inline: of(inline ?? "") }));
    },
  ],
  [
    "its specification, so that it is no JSON object",
    /its spec is not what was recorded/,
    (medium, pid) => {
      const address = addressIn(medium, pid, "spec");
      alterFirst(medium, pid, ({ inline }) => ({
        inline: JSON.stringify({ ...(JSON.parse(inline ?? "{}") as object), [address]: "null" }),
      }));
    },
  ],
  [
    "its task",
    /its task is not what was recorded/,
    (medium, pid) => void medium.payloads.set(addressIn(medium, pid, "task"), JSON.stringify("another task")),
  ],
];

test.each(DAMAGES)("a process is not run when somebody has altered %s", async (_, what, damage) => {
  const { medium, pid, other } = await written();
  damage(medium, pid);
  const system = await scene({ agents, medium });
  open.push(system);
  const refusal = {
    code: "conflict",
    message: expect.stringMatching(
      new RegExp(`journal of process ${pid} is damaged: ${what.source}.*reeve doctor`, "s"),
    ) as string,
    data: { what: "journal", id: pid },
  };
  await expect(system.operate("process.show", { pid }, "test")).rejects.toMatchObject(refusal);
  await expect(system.operate("message.send", { pid, body: "hello" }, "test")).rejects.toMatchObject(refusal);
  // The others go on, and nothing halts for its sake.
  await system.operate("message.send", { pid: other, body: "hello" }, "test");
  expect(await system.exit(other)).toEqual({ how: "completed", result: "hello" });
  expect(system.troubles).toEqual([]);
});

it("says so when it is the one to go on after a restart", async () => {
  const { medium, pid } = await written();
  const row = JSON.parse(medium.processes.get(pid) ?? "{}") as object;
  medium.processes.set(pid, JSON.stringify({ ...row, state: "ready" }));
  medium.payloads.set(addressIn(medium, pid, "task"), '"another task"');
  const system = await scene({ agents, medium });
  open.push(system);
  await eventually("the trouble", () => system.troubles.length > 0 || undefined);
  await turns();
  expect(system.troubles).toEqual([
    expect.stringMatching(new RegExp(`^Process ${pid} cannot be run: The journal of process ${pid} is damaged`)),
  ]);
  expect(system.load().inMemory).toBe(0);
});
