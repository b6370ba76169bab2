// The sandbox of container runtimes keeps the port's contract.
import { createOci } from "../../src/drivers/sandbox-oci/sandbox.ts";
import { sandboxConformance } from "./sandbox.ts";

await sandboxConformance({
  name: "oci",
  create: createOci,
  module: new URL("../../src/drivers/sandbox-oci/sandbox.ts", import.meta.url),
  options: { uids: { from: 301_000, to: 301_999 } },
});
