// A source of tools that is a module: its named exports made with `tool({ … })`, run in this very process.
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { errorRecord, OsError, issueLines } from "../../abi/errors.ts";
import { jsonObjectSchema } from "../../abi/json.ts";
import { toolManifestSchema, type FunctionTool } from "../../abi/tools.ts";
import type { SourceTool, ToolOutcome, ToolSource } from "../../ports/tools.ts";

/** A module that waits while it loads must not hold up those who ask for its tools. */
const LOAD_MS = 15_000;

const isFunction = (value: unknown): boolean => typeof value === "function";
/** Recognised by form and not by class, since the module may have another copy of the SDK. */
const functionToolSchema = z.object({
  name: z.string().min(1),
  description: z.string(),
  inputSchema: jsonObjectSchema,
  manifest: toolManifestSchema.partial(),
  run: z.custom<FunctionTool["run"]>(isFunction, "is no function"),
});

type Loaded = { readonly tools: readonly SourceTool[]; readonly byName: ReadonlyMap<string, FunctionTool> };

/** The tools that the module `file` (an absolute path) exports, as the source `name`. Loaded at first use. */
export function createModuleSource(name: string, file: string): ToolSource {
  return new ModuleSource(name, file);
}

class ModuleSource implements ToolSource {
  readonly isolation = "none";
  readonly #name: string;
  readonly #file: string;
  #loading: Promise<Loaded> | undefined;
  #ready: Loaded | undefined;
  #attempts = 0;

  constructor(name: string, file: string) {
    this.#name = name;
    this.#file = file;
  }

  async tools(): Promise<readonly SourceTool[]> {
    return (await this.#loaded()).tools;
  }

  async call(
    name: string,
    args: Parameters<ToolSource["call"]>[1],
    options: Parameters<ToolSource["call"]>[2],
  ): Promise<ToolOutcome> {
    let tool: FunctionTool | undefined;
    try {
      tool = (this.#ready ?? (await this.#readyFor(options.signal))).byName.get(name);
      if (tool === undefined) throw this.#unavailable(`exports no tool "${name}".`);
    } catch (error) {
      return { kind: "not_performed", error: errorRecord(error, "tool_unavailable") };
    }
    return perform(tool, args, options);
  }

  /** Loads the module for a call that may be given up meanwhile. */
  async #readyFor(signal: AbortSignal): Promise<Loaded> {
    const loaded = await this.#loaded();
    if (signal.aborted) throw this.#unavailable("was not called: the call was given up before.");
    return loaded;
  }

  async close(): Promise<void> {
    // A module cannot be unloaded, and what it holds open is its own.
  }

  async #loaded(): Promise<Loaded> {
    this.#loading ??= this.#load().then(
      (loaded) => (this.#ready = loaded),
      (error: unknown) => {
        this.#loading = undefined;
        throw error;
      },
    );
    return this.#loading;
  }

  async #load(): Promise<Loaded> {
    this.#attempts += 1;
    const url = pathToFileURL(this.#file);
    // A failed module stays failed under its address; under another one a corrected file gets its chance.
    if (this.#attempts > 1) url.searchParams.set("attempt", String(this.#attempts));
    const exported = await withinLoadTime(import(url.href) as Promise<Readonly<Record<string, unknown>>>).catch(
      (error: unknown) => {
        throw this.#unavailable(`could not be loaded: ${textOf(error).replace(/\.?$/, ".")}`, error);
      },
    );
    return this.#toolsOf(exported);
  }

  #toolsOf(exported: Readonly<Record<string, unknown>>): Loaded {
    const byName = new Map<string, FunctionTool>();
    for (const [key, value] of Object.entries(exported)) {
      if (key === "default" || !looksLikeTool(value)) continue;
      const parsed = functionToolSchema.safeParse(value);
      if (!parsed.success)
        throw this.#unavailable(
          `exports "${key}", which is not a tool made with tool({ … }): ${issueLines(parsed.error.issues).map(String).join("; ")}.`,
        );
      const tool = value as FunctionTool;
      if (byName.has(tool.name)) throw this.#unavailable(`exports two tools called "${tool.name}".`);
      byName.set(tool.name, tool);
    }
    if (byName.size === 0) throw this.#unavailable("has no named export made with tool({ … }).");
    const tools = [...byName.values()].map(({ name, description, inputSchema, manifest }) => ({
      name,
      description,
      inputSchema,
      declared: manifest as SourceTool["declared"],
    }));
    return { tools, byName };
  }

  #unavailable(what: string, cause?: unknown): OsError {
    const message = `The module of tools "${this.#name}" (${this.#file}) ${what} Correct the file; the next use loads it again.`;
    return new OsError("tool_unavailable", message, {
      data: { tool: this.#name, file: this.#file },
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message || error.name : String(error));

/** Other exports are the module's own affair. */
const looksLikeTool = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "run" in value && "inputSchema" in value;

async function withinLoadTime<T>(loading: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it had not loaded after ${LOAD_MS} ms.`)), LOAD_MS);
  });
  return Promise.race([loading, late]).finally(() => clearTimeout(timer));
}

/**
 * Runs the function. One that does not heed its signal goes on after its call was given up, unheard: the registry waits
 * for nobody. The options are handed on whole, since most functions never look at the signal that they would make.
 */
async function perform(
  tool: FunctionTool,
  args: Parameters<FunctionTool["run"]>[0],
  options: Parameters<FunctionTool["run"]>[1],
): Promise<ToolOutcome> {
  try {
    return { kind: "done", content: await tool.run(args, options) };
  } catch (error) {
    if (options.signal.aborted)
      return { kind: "unknown", reason: `the function ended when its call was given up (${textOf(error)})` };
    return { kind: "failed", content: { text: textOf(error) } };
  }
}
