// What a module agent declares: found by importing the module in a child, as if to run it.
import { relative } from "node:path";
import { agentManifestSchema } from "../../abi/agents.ts";
import type { AgentManifest } from "../../abi/agents.ts";
import { issueLines, OsError } from "../../abi/errors.ts";
import type { ErrorRecord } from "../../abi/errors.ts";
import type { Json } from "../../abi/json.ts";
import type { Thrown } from "./frames.ts";
import type { ModuleChild } from "./module-child.ts";
import { thrownText } from "./run.ts";

export type DescribeOptions = { readonly file: string; readonly projectFolder: string; readonly loadTimeoutMs: number };

type Frame = {
  readonly type?: unknown;
  readonly manifest?: Json;
  readonly error?: ErrorRecord;
  readonly thrown?: Thrown;
};

/** Resolves with the manifest; rejects with `agent_invalid` naming the file, what is wrong with it and what to do. The child is gone afterwards. */
export async function describeIn(boot: () => ModuleChild, options: DescribeOptions): Promise<AgentManifest> {
  const { file, projectFolder, loadTimeoutMs } = options;
  const child = boot();
  const { promise, resolve, reject } = Promise.withResolvers<AgentManifest>();
  const fail = (what: string, issues: Json[] = [what]): void => {
    const name = relative(projectFolder, file);
    reject(
      new OsError("agent_invalid", `The agent file ${name} cannot be used: ${what.trimEnd()}`, {
        data: { file: name, issues },
      }),
    );
  };
  const timer = setTimeout(
    () => fail(`it did not finish loading within ${loadTimeoutMs} ms. Let the module do its work in \`run\`.`),
    loadTimeoutMs,
  );
  child.send(JSON.stringify({ type: "describe", file }));
  child.attach({
    onLine(line) {
      const frame = JSON.parse(line) as Frame;
      if (frame.type === "loaded") accept(frame.manifest, resolve, fail);
      if (frame.type === "failure")
        fail(
          frame.error?.message ??
            (frame.thrown === undefined ? "it failed." : failureText(frame.thrown, projectFolder)),
        );
    },
    onOutput: () => {},
    onBreach: (message) => fail(message),
    onDeath: ({ status, signal, notStarted, lastWords }) => {
      if (notStarted instanceof Error) return reject(notStarted);
      return fail(
        `importing it ended the program (${signal ?? `exit status ${String(status)}`}): ${lastWords}. Let the module do its work in \`run\`.`,
      );
    },
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    child.kill();
    await child.gone;
  }
}

function accept(
  manifest: Json | undefined,
  resolve: (manifest: AgentManifest) => void,
  fail: (what: string, issues: Json[]) => void,
): void {
  const checked = agentManifestSchema.safeParse(manifest);
  if (checked.success) return resolve(checked.data);
  const issues = issueLines(checked.error.issues);
  fail(`${issues.join("; ")}. Correct what agent({ … }) is given.`, issues);
}

const failureText = (thrown: Thrown, projectFolder: string): string =>
  `importing it threw ${thrownText(thrown, projectFolder)}. ${thrown.denied ? "A module agent may read source files of its project and nothing else." : "Correct the module."}`;
