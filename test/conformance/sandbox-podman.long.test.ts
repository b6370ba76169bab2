// The sandbox of podman keeps the port's contract.
import { createOci } from "../../src/drivers/sandbox-oci/sandbox.ts";
import { sandboxConformance } from "./sandbox.ts";

await sandboxConformance({
  name: "oci with podman",
  create: createOci,
  module: new URL("../../src/drivers/sandbox-oci/sandbox.ts", import.meta.url),
  options: { uids: { from: 302_000, to: 302_999 }, runtime: "podman" },
});
