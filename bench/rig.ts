// A project folder in which each recording is an agent: its system prompt the instructions, a model provider of its
// own that names the recording to the upstream, a tool source of its own that plays the recorded tools.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { ConfigInput, SourceConfig } from "../src/abi/config.ts";
import type { RecordedTool, Recording } from "./recordings.ts";

type SourceInput = NonNullable<ConfigInput["tools"]>[string];

/** What the upstream says where a recording has ended: the loop asks the model once more after the last tool result. */
export const END_TEXT = "(The recording ends here.)";

export type Laid = {
  readonly configFile: string;
  readonly dataFolder: string;
  /** The agent of a recording. */
  readonly agentOf: (recording: Recording) => string;
};

/** Tools keep their recorded effect; none of them promises that it may be repeated. */
export const manifestsOf = (tools: readonly RecordedTool[]): SourceConfig["tools"] =>
  Object.fromEntries(tools.map(({ name, effect }) => [name, { effect, idempotency: "none" as const }]));

const agentFile = (name: string, recording: Recording, at: number): string => {
  const manifest = {
    name,
    description: `Plays recording ${recording.id}.`,
    model: `m${at}/recorded`,
    tools: [`t${at}.*`],
    conversation: "messages",
    turns: 1000,
  };
  return `---\n${stringify(manifest)}---\n${recording.system}\n`;
};

/** Lays the project out in an empty folder. `sourceOf` gives the tool source of a recording. */
export async function layOut(options: {
  readonly folder: string;
  /** Where the data goes, if not into the project's folder. */
  readonly dataFolder?: string;
  readonly recordings: readonly Recording[];
  readonly upstreamUrl: string;
  readonly sourceOf: (recording: Recording) => SourceInput;
}): Promise<Laid> {
  const { folder, recordings, upstreamUrl, sourceOf } = options;
  const dataFolder = options.dataFolder ?? join(folder, "data");
  const names = new Map(recordings.map((recording, at) => [recording.id, `c${at}`]));
  const agentOf = ({ id }: Recording): string => names.get(id) ?? "";
  const config: ConfigInput = {
    dataFolder,
    agentsFolder: "agents",
    models: Object.fromEntries(
      recordings.map(({ id }, at) => [
        `m${at}`,
        { type: "openai-compatible", baseUrl: `${upstreamUrl}/v1`, headers: { "x-recording": id } },
      ]),
    ),
    tools: Object.fromEntries(recordings.map((recording, at) => [`t${at}`, sourceOf(recording)])),
    server: { port: 0 },
  };
  await mkdir(join(folder, "agents"), { recursive: true });
  await Promise.all(
    recordings.map((recording, at) =>
      writeFile(join(folder, "agents", `${agentOf(recording)}.md`), agentFile(agentOf(recording), recording, at)),
    ),
  );
  const configFile = join(folder, "reeve.config.ts");
  await writeFile(configFile, `export default ${JSON.stringify(config, null, 2)};\n`);
  return { configFile, dataFolder, agentOf };
}
