// A module agent: plain TypeScript over the system calls. It has two others argue from the library, asks a human whose
// case shall come first, and writes the report.
//
// It runs again from its first line after a crash or a long wait, and gets the same answers from its journal. So it takes
// everything that may differ from one run to the next, the time too, from `sys`.
import { agent } from "../../../src/sdk/author.ts";
import type { Exit, Sys } from "../../../src/sdk/author.ts";

const SIDES = ["advocate", "sceptic"] as const;
type Side = (typeof SIDES)[number];

export default agent({
  name: "research",
  description: "Has a question argued from both sides, and reports.",
  tools: ["library.save"],
  agents: [...SIDES],
  run: async (sys, task) => {
    const question = typeof task === "string" && task.trim() !== "" ? task.trim() : "Is tidal power worth building?";
    // Both run at the same time: each is a process of its own, with its own journal, tools and budget.
    const [advocate, sceptic] = await Promise.all([hear(sys, "advocate", question), hear(sys, "sceptic", question)]);
    // It may take days until somebody answers. Meanwhile the process is a few rows on the disk.
    const { answer, by } = await sys.human.ask({ question: "Whose case shall come first?", options: [...SIDES] });
    const cases = answer === "sceptic" ? [sceptic, advocate] : [advocate, sceptic];
    const { ms } = await sys.clock.now();
    const day = new Date(ms).toISOString().slice(0, 10);
    const report = [`# ${question}`, ...cases, `${day}, order chosen by ${by}`].join("\n\n");
    const saved = await sys.tool.call({ tool: "library.save", args: { name: `report-${day}`, text: `${report}\n` } });
    return { text: `${report}\n\n${saved.text}` };
  },
});

/** What an agent has to say, when it has said it. */
async function hear(sys: Sys, side: Side, question: string): Promise<string> {
  const { pid } = await sys.process.spawn({ agent: side, task: question });
  const { exit } = await sys.process.wait({ pid });
  return `## The ${side}\n\n${saidIn(exit)}`;
}

/** The loop of Markdown agents ends with `{ text, turns }`. */
function saidIn(exit: Exit | null): string {
  if (exit?.how !== "completed") return `(No answer: ${exit?.how ?? "it goes on"}.)`;
  const { result } = exit;
  const text = typeof result === "object" && result !== null && "text" in result ? result["text"] : undefined;
  return typeof text === "string" ? text : JSON.stringify(result);
}
