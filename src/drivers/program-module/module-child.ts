// One child process that runs a module agent, from outside: its streams, and its end. How it is started: launch.ts.
import { type Ended, type Launch, type Launched, type LaunchOptions } from "./launch.ts";
import { FRAME_CHARACTERS_MAX, lineReader } from "./frames.ts";

/** How it ended. `lastWords`: the end of its stderr. `notStarted`: why it could not even be started, if that was it. */
export type Death = {
  readonly status: number | null;
  readonly signal: string | null;
  readonly notStarted: unknown;
  readonly lastWords: string;
  readonly outOfMemory: boolean;
};

export type ChildEvents = {
  onLine(line: string): void;
  onOutput(text: string): void;
  /** It broke the rules of the socket. */
  onBreach(message: string): void;
  /** Once, when the process is gone and its streams are read to the end. */
  onDeath(death: Death): void;
};

const STDERR_CHARACTERS_MAX = 32 * 1024;
const LAST_LINES_MAX = 12;
const LAST_CHARACTERS_MAX = 2_000;
/** Output beyond this is read and dropped. */
const OUTPUT_CHARACTERS_MAX = 1024 * 1024;

export class ModuleChild {
  /** What it was granted, to tell whether a child that waits is still the right one. */
  readonly grantKey: string;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
  #launched: Launched | undefined;
  #killed = false;
  /** Frames for a child that is still being started. */
  #unsent: string[] = [];
  #events: ChildEvents | undefined;
  #death: Death | undefined;
  #unheard: string[] = [];
  #stderr = "";
  #outputCharacters = 0;

  constructor(options: LaunchOptions, launch: Launch) {
    this.grantKey = options.granted.join("\n");
    this.gone = launch(options).then(
      (launched) => this.#begin(launched),
      (error: unknown) => this.#die({ status: null, signal: null }, error),
    );
  }

  /** Whoever runs something in this child; hears what came before as well. */
  attach(events: ChildEvents): void {
    this.#events = events;
    const unheard = this.#unheard;
    this.#unheard = [];
    for (const line of unheard) events.onLine(line);
    if (this.#death !== undefined) events.onDeath(this.#death);
  }

  get alive(): boolean {
    return this.#death === undefined && !this.#killed;
  }

  send(frame: string): void {
    const channel = this.#launched?.channel;
    if (channel === undefined) {
      this.#unsent.push(frame);
      return;
    }
    if (channel.destroyed) return;
    // A child that floods the socket is not read while it does not read either.
    if (!channel.write(`${frame}\n`) && !channel.isPaused()) channel.pause();
  }

  /** At once. */
  kill(): void {
    this.#killed = true;
    this.#launched?.kill();
    // Its end is told when all its streams have come to theirs.
    this.#launched?.channel.resume();
  }

  /** Resolves when the child has ended. */
  async #begin(launched: Launched): Promise<void> {
    this.#launched = launched;
    this.#listen(launched);
    for (const frame of this.#unsent.splice(0)) this.send(frame);
    if (this.#killed) this.kill();
    this.#die(await launched.ended);
  }

  #listen({ channel, stdout, stderr }: Launched): void {
    const read = lineReader(FRAME_CHARACTERS_MAX, (line) =>
      this.#events === undefined ? this.#unheard.push(line) : this.#events.onLine(line),
    );
    channel.setEncoding("utf8");
    channel.on("data", (chunk: string) => {
      try {
        read(chunk);
      } catch (error) {
        this.#events?.onBreach((error as Error).message);
        this.kill();
      }
    });
    channel.on("drain", () => channel.resume());
    // The socket breaks when the child dies; its death is told by its end.
    channel.on("error", () => {});
    for (const stream of [stdout, stderr]) stream.setEncoding("utf8");
    stdout.on("data", (text: string) => this.#output(text));
    stderr.on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS_MAX);
      this.#output(text);
    });
  }

  #die({ status, signal, limit }: Ended, notStarted?: unknown): void {
    if (this.#death !== undefined) return;
    const outOfMemory = limit === "memory" || this.#stderr.includes("heap out of memory");
    this.#death = { status, signal, notStarted, lastWords: lastLines(this.#stderr), outOfMemory };
    this.#events?.onDeath(this.#death);
  }

  #output(text: string): void {
    if (this.#outputCharacters > OUTPUT_CHARACTERS_MAX) return;
    this.#outputCharacters += text.length;
    this.#events?.onOutput(text);
    if (this.#outputCharacters > OUTPUT_CHARACTERS_MAX) this.#events?.onOutput("\n(further output is dropped)\n");
  }
}

/** The stack's frames and Node's signature would leave no room for what was said. */
const isWords = (line: string): boolean => line.trim() !== "" && !/^\s+at |^Node\.js v/.test(line);

const lastLines = (text: string): string =>
  text.split("\n").filter(isWords).slice(-LAST_LINES_MAX).join("\n").trim().slice(-LAST_CHARACTERS_MAX);
