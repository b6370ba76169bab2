// Goal: what is to end ends, also where it could not be told so at first. Method: a real program, and bounds that fail on demand.
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { sandboxLimitsSchema } from "../abi/isolation.ts";
import { Running } from "./running.ts";

test.each([
  ["its limit", { kind: "limit", limit: "wall" }],
  ["kill", { kind: "killed" }],
] as const)("an end by %s comes although the first attempt fails, and all is given back", async (_, end) => {
  const child = spawn("sleep", ["600"], { stdio: "pipe" });
  let attempts = 0;
  let released = 0;
  const running = new Running(
    {
      child,
      channel: undefined,
      limits: sandboxLimitsSchema.parse(end.kind === "limit" ? { wallMs: 1 } : {}),
      release: () => void (released += 1),
      bounds: {
        usage: () => ({ cpuMs: null, memoryPeakBytes: null, killedForMemory: 0, forksRefused: 0 }),
        kill: () => {
          attempts += 1;
          if (attempts === 1) throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
          child.kill("SIGKILL");
        },
        remove: async () => {},
      },
    },
    child,
  );
  if (end.kind === "killed") await running.kill();
  expect(await running.exit).toMatchObject(end);
  expect({ attempts, released }).toEqual({ attempts: 2, released: 1 });
});
