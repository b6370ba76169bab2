// `reeve reject`: a no to what is asked.
import { first, type CliCommand } from "./command.ts";
import { decideRequest, rejection } from "./process/decide.ts";

export const reject: CliCommand = {
  name: "reject",
  define: (command) => {
    command
      .summary("say no to what stands in the inbox")
      .description(
        "Say no to what stands in the inbox. The agent is told, with the reason, and goes on without it. The first decision counts.",
      )
      .argument("<id>", "the request; a unique beginning will do")
      .option("--reason <text>", "why not; the agent is told");
  },
  act: (context, args, options) => decideRequest(context, first(args), (item) => rejection(item, options)),
};
