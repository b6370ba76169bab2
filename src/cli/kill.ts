// `reeve kill`: ends processes and all their descendants.
import { signalCommand } from "./process/signals.ts";

export const kill = signalCommand("kill", {
  summary: "end processes, with all their descendants",
  description:
    "Kill processes with all their descendants. Their authority ends at once, and their running tools are told to stop. Each one is named with what it was doing, and with the calls of models and tools that were ended: those whose effects are uncertain are named as such.",
});
