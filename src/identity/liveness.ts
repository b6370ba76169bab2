// Identity, first form: a process is who its channel says, alive as long as all of its line is, and may do what its
// agent's own lists name.
//
// Boundary: decides from what it is handed; keeps nothing.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import { rowOf, type Right } from "../abi/syscalls.ts";
import type { Decision, Identity } from "../ports/identity.ts";
import type { CallView, Life, ProcessView } from "../ports/process.ts";

const ALLOW: Decision = { kind: "allow" };
const deny = (rule: string, reason: string): Decision => ({ kind: "deny", rule, reason });

function identify({ pid, life }: ProcessView): void {
  for (let member: Life | null = life; member !== null; member = member.parent) {
    if (!member.exited) continue;
    throw new OsError(
      "process_gone",
      member.pid === pid ? `Process ${pid} has exited.` : `Process ${pid} ended with its ancestor ${member.pid}.`,
      { data: { pid: member.pid } },
    );
  }
}

function tools({ tools: given, manifest }: ProcessView, { args, tool }: CallView): Decision {
  if (tool !== undefined) return ALLOW;
  const { tool: name } = args as { tool: string };
  const has = given.size === 0 ? "It has none." : `It has: ${[...given.keys()].join(", ")}.`;
  return deny(
    "identity.tools",
    `Agent ${manifest.name} has no tool ${name}. ${has} Tools are named in the agent's \`tools\`.`,
  );
}

function agents({ manifest }: ProcessView, { args }: CallView): Decision {
  const { agent } = args as { agent: string };
  if (manifest.agents.includes(agent)) return ALLOW;
  return deny(
    "identity.agents",
    `Agent ${manifest.name} may not spawn ${agent}. The agents that it may spawn are named in its \`agents\`.`,
  );
}

function isBelow(process: ProcessView, target: Life | undefined): boolean {
  for (let member = target?.parent ?? null; member !== null; member = member.parent)
    if (member.pid === process.pid) return true;
  return false;
}

function rootOf(life: Life): Life {
  let member = life;
  while (member.parent !== null) member = member.parent;
  return member;
}

/** A message goes anywhere in the tree; to signal a process or wait for it is for those above it. */
function tree(process: ProcessView, { syscall, args, target }: CallView): Decision {
  const { pid } = args as { pid: ProcessId };
  const sends = syscall === "message.send";
  if (sends ? target !== undefined && rootOf(target).pid === process.root : isBelow(process, target)) return ALLOW;
  return deny(
    "identity.tree",
    `Process ${pid} is not ${sends ? "in this process's tree" : "a descendant of this process"}; a process reaches only its own.`,
  );
}

const RIGHTS: { readonly [Name in Right]: (process: ProcessView, call: CallView) => Decision } = {
  own: () => ALLOW,
  tools,
  agents,
  tree,
};

export const createIdentity = (): Identity => ({
  identify,
  authorise: (process, call) => RIGHTS[rowOf(call.syscall).right](process, call),
});
