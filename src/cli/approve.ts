// `reeve approve`: a yes to what is asked, an answer, what became of an effect, or a larger budget.
import { Option } from "commander";
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, sentences, type CliCommand } from "./command.ts";
import { addBudgetOptions } from "./process/budget.ts";
import { approval, decideRequest } from "./process/decide.ts";

export const approve: CliCommand = {
  name: "approve",
  define: (command) => {
    command
      .summary("say yes to what stands in the inbox, or answer it")
      .description(
        `${sentences(SYSCALLS["human.decide"].doc, 0, 2)} A yes is for exactly what was asked, once. Without a server the process then goes on in this command.`,
      )
      .argument("<id>", "the request; a unique beginning will do")
      .option("--note <text>", "a word to the record")
      .option("--answer <text>", "for a question: the answer, as JSON or text")
      .addOption(
        new Option("--outcome <outcome>", "for a settlement: whether it happened").choices([
          "done",
          "not_done",
          "failed",
        ]),
      )
      .option("--result <text>", "with --outcome done: what the tool answered");
    addBudgetOptions(command, { prefix: "", what: "for a budget: the most from now on" });
  },
  act: (context, args, options) => decideRequest(context, first(args), (item) => approval(item, options)),
};
