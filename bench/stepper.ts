// A module agent that performs durable no-op steps, one after another: { steps, wait } as its task. With `wait` it
// begins when it gets a message.
import { agent } from "../src/sdk/author.ts";

export default agent({
  name: "stepper",
  description: "Performs durable no-op steps.",
  tools: ["bench.read"],
  run: async (sys, task) => {
    const { steps, wait } = task as { readonly steps: number; readonly wait: boolean };
    if (wait) await sys.message.receive({});
    for (let at = 0; at < steps; at += 1) await sys.tool.call({ tool: "bench.read", args: {} });
    return steps;
  },
});
