// The sandbox of bubblewrap keeps the port's contract.
import { createBubblewrap } from "../../src/drivers/sandbox-bubblewrap/sandbox.ts";
import { sandboxConformance } from "./sandbox.ts";

await sandboxConformance({
  name: "bubblewrap",
  create: createBubblewrap,
  module: new URL("../../src/drivers/sandbox-bubblewrap/sandbox.ts", import.meta.url),
  options: { uids: { from: 300_000, to: 300_999 }, warm: { shell: 0, python: 0, node: 0 } },
});
