// The example's configuration: two function tools, and a rehearsal for each of the two agents that ask a model.
import { defineConfig } from "../../src/sdk/author.ts";

export default defineConfig({
  models: {
    "rehearsal-advocate": { type: "rehearsal", script: "advocate.yaml" },
    "rehearsal-sceptic": { type: "rehearsal", script: "sceptic.yaml" },
  },
  tools: { library: { type: "module", file: "tools.ts" } },
});
