// A part of the boot list: where programs run that are not ours, and what they may reach from there.
import { join } from "node:path";
import type { Project } from "./drivers/config-file/config.ts";
import { createEgress } from "./drivers/egress-proxy/egress.ts";
import { createEgressLog } from "./drivers/egress-proxy/log.ts";
import { createBubblewrap } from "./drivers/sandbox-bubblewrap/sandbox.ts";
import { createOci } from "./drivers/sandbox-oci/sandbox.ts";
import { createSnippets } from "./drivers/sandbox-quickjs/snippets.ts";
import { createSelfTest } from "./drivers/selftest/selftest.ts";
import { systemClock } from "./drivers/system/clock.ts";
import { createWorkspaces } from "./drivers/workspace-files/workspaces.ts";
import { sharesOf } from "./linux/uids.ts";
import type { Egress, EgressLog } from "./ports/egress.ts";
import type { Sandboxes, Snippets } from "./ports/sandbox.ts";
import type { Workspaces } from "./ports/workspace.ts";
import { createSandboxes } from "./tools/sandboxes.ts";

export type Isolation = {
  readonly sandboxes: Sandboxes;
  readonly snippets: Snippets;
  readonly egress: Egress;
  readonly log: EgressLog;
  readonly workspaces: Workspaces;
  close(): Promise<void>;
};

export type Surroundings = {
  readonly project: Project;
  /** The data folder. */
  readonly folder: string;
  readonly version: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onNotice: (message: string) => void;
};

export function isolationOf({ project, folder, version, environment }: Surroundings): Isolation {
  const { sandbox, secrets, egress: bounds } = project.config;
  const { containers, servers, others } = sharesOf(sandbox.uids);
  const lasting = { file: join(folder, "sandbox-users.json"), range: servers };
  const secretOf = (name: string): string | undefined => environment[secrets[name]?.from ?? ""];
  const egress = createEgress({ secrets, secretOf, doorBytesMax: bounds.doorBytesMax });
  const sandboxes = createSandboxes({
    drivers: [
      createBubblewrap({
        folder: join(folder, "sandboxes"),
        uids: others,
        lasting,
        warm: { shell: 0, python: 0, node: 0, ...sandbox.warm },
      }),
      createOci({ folder: join(folder, "containers"), uids: containers, lasting, ...sandbox.oci }),
    ],
    selfTest: createSelfTest({
      folder: join(folder, "selftest"),
      version,
      nowMs: () => systemClock.nowMs(),
      egress,
    }),
    posture: sandbox.posture,
    concurrency: sandbox.concurrency,
    clock: systemClock,
  });
  const snippets = createSnippets({ concurrency: sandbox.concurrency });
  const workspaces = createWorkspaces({
    folder: join(folder, "workspaces"),
    projectFolder: project.folder,
    uids: others,
  });
  return {
    sandboxes,
    snippets,
    egress,
    log: createEgressLog({ file: join(folder, "egress.log"), nowMs: () => systemClock.nowMs() }),
    workspaces,
    // What runs ends before what it uses.
    close: async () => {
      await Promise.all([sandboxes.close(), snippets.close()]);
      await Promise.all([egress.close(), workspaces.close()]);
    },
  };
}
