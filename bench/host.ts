// The child process that hosts one contender: takes requests from its parent, one at a time, and answers them.
// Usage (by contender.ts): node host.ts MODULE NAME
//
// When the parent goes away it stops the contender and exits, so that no server outlives a benchmark that was interrupted.
import { pathToFileURL } from "node:url";
import type { Contender, HostAnswer, HostRequest } from "./contender.ts";

async function load(module: string, name: string): Promise<Contender> {
  const { contenders } = (await import(pathToFileURL(module).href)) as {
    contenders: Readonly<Record<string, () => Contender>>;
  };
  const create = contenders[name];
  if (create === undefined) throw new Error(`${module} has no contender ${name}.`);
  return create();
}

function perform(contender: Contender, request: HostRequest): Promise<unknown> {
  switch (request.verb) {
    case "start":
      return contender.start(request.folder);
    case "one":
      return contender.one(request.steps);
    case "many":
      return contender.many(request.workflows, request.steps);
    case "stop":
      return contender.stop();
  }
}

const [module, name] = process.argv.slice(2);
if (module === undefined || name === undefined || process.send === undefined)
  throw new Error("host.ts is started by contender.ts, with MODULE and NAME.");
const loading = load(module, name);
let stopped = false;

process.on("message", (request: HostRequest) => {
  const answer = (said: Omit<HostAnswer, "id">): void => void process.send?.({ ...said, id: request.id });
  loading
    .then((contender) => perform(contender, request))
    .then(
      (value) => {
        stopped = request.verb === "stop";
        answer({ value: value ?? null });
      },
      (error: unknown) => answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
});

process.on("disconnect", () => {
  const leave = (): never => process.exit(0);
  // Also while it starts: what it has begun by then must end.
  loading.then((contender) => (stopped ? undefined : contender.stop())).then(leave, leave);
});
// Interrupting the benchmark interrupts the whole group: the parent decides when this process ends.
process.on("SIGINT", () => {});
