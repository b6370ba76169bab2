// `reeve cont`: lets stopped processes go on.
import { signalCommand } from "./process/signals.ts";

export const cont = signalCommand("cont", {
  summary: "let stopped processes go on",
  description: "Let stopped processes go on where they were.",
});
