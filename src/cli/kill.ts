// `reeve kill`: ends processes and all their descendants.
import { signalCommand } from "./process/signals.ts";

export const kill = signalCommand("kill", {
  summary: "end processes, with all their descendants",
  description:
    "Kill processes with all their descendants. Their authority ends at once; calls that were under way are named, since their effects are uncertain.",
});
