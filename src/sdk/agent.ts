// `agent({ … })`: an agent written as a TypeScript module.
//
// What it answers with is recognised by a brand, since the agent may import another copy of this package than the
// one that runs it. Beside the manifest it carries the way to start the program, so that whoever runs it needs to
// know only how to carry calls.
import { agentManifestSchema } from "../abi/agents.ts";
import type { AgentManifest } from "../abi/agents.ts";
import { issueLines, OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import type { z } from "zod";
import { makeSys } from "./sys.ts";
import type { IssueCall, Sys } from "./sys.ts";

const BRAND: unique symbol = Symbol.for("reeve.agent") as never;

/** The version of the branded object's form. */
const FORM = 1;

/** What an agent declares, with its defaults left out where they will do. */
export type AgentDeclaration = z.input<typeof agentManifestSchema>;

export type AgentOptions = AgentDeclaration & {
  /**
   * The program. It runs again from the start on its journal after a crash or a long wait, so it must do the same
   * whenever it gets the same answers: time, randomness and everything outside it come from `sys`.
   * What it returns is the process's result (nothing counts as null); what it throws ends the process as failed.
   */
  readonly run: (sys: Sys, task: Json) => Promise<Json | void>;
};

export type AgentModule = {
  readonly [BRAND]: typeof FORM;
  readonly manifest: AgentManifest;
  readonly program: (issue: IssueCall, task: Json) => Promise<Json>;
};

/** Declares an agent: `export default agent({ name, description, run })`. Throws `agent_invalid` naming each fault. */
export function agent(options: AgentOptions): AgentModule {
  const { run, ...declared } = options;
  const checked = agentManifestSchema.safeParse(declared);
  const issues = checked.success ? [] : issueLines(checked.error.issues);
  if (typeof run !== "function") issues.push("run: is not a function");
  if (!checked.success || issues.length > 0) {
    throw new OsError(
      "agent_invalid",
      `The agent ${JSON.stringify(declared.name ?? "(no name)")} cannot be used: ${issues.join("; ")}. Correct what agent({ … }) is given.`,
      {
        data: { issues },
      },
    );
  }
  return {
    [BRAND]: FORM,
    manifest: checked.data,
    program: async (issue, task) => (await run(makeSys(issue), task)) ?? null,
  };
}
