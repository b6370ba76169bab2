// A child of `bench leftovers`: holds sandboxes as a server does, says when they run, and waits to be killed.
// Usage: node bench/sandbox-host.ts FOLDER COUNT
import { createBubblewrap } from "../src/drivers/sandbox-bubblewrap/sandbox.ts";
import { specOf } from "./sandbox-contenders.ts";

const [folder = "", count = "0"] = process.argv.slice(2);
const sandbox = createBubblewrap({
  folder,
  uids: { from: 200_000, to: 265_535 },
  warm: { shell: 1, python: 1, node: 1 },
});
// Each with a child that left its session and hears no signals, as a daemon would.
const program = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM HUP; sleep 1000' &); echo up; sleep 1000";
const running = await Promise.all(
  Array.from({ length: Number(count) }, async () => {
    const one = await sandbox.start(specOf(["sh", "-c", program]));
    await new Promise((resolve) => one.stdout.once("data", resolve));
    return one;
  }),
);
console.log(JSON.stringify({ pids: running.map(({ pid }) => pid) }));
setInterval(() => {}, 60_000);
