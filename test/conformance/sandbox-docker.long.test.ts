// The sandbox of docker keeps the port's contract.
import { createOci } from "../../src/drivers/sandbox-oci/sandbox.ts";
import { sandboxConformance } from "./sandbox.ts";

await sandboxConformance({
  name: "oci with docker",
  create: createOci,
  module: new URL("../../src/drivers/sandbox-oci/sandbox.ts", import.meta.url),
  options: { uids: { from: 303_000, to: 303_999 }, runtime: "docker" },
});
