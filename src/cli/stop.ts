// `reeve stop`: holds processes until `reeve cont`.
import { signalCommand } from "./process/signals.ts";

export const stop = signalCommand("stop", {
  summary: "hold processes until cont",
  description: "Stop processes: they issue no further call and cost storage only, until `reeve cont` lets them go on.",
});
