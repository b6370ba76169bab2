// The door for authors: what `reeve` exports to agent modules, tool modules and `reeve.config.ts`.
export { agent } from "./agent.ts";
export type { AgentDeclaration, AgentModule, AgentOptions } from "./agent.ts";
export { defineConfig } from "./config.ts";
export { withLock } from "./lock.ts";
export type { LockAsked } from "./lock.ts";
export { loop } from "./loop.ts";
export type { LoopOptions, LoopResult } from "./loop.ts";
export type { Sys } from "./sys.ts";
export { tool } from "./tool.ts";
export { OsError } from "../abi/errors.ts";
export type { ErrorCode, ErrorRecord } from "../abi/errors.ts";
export type { AgentManifest, Budget } from "../abi/agents.ts";
export type { Config, ConfigInput } from "../abi/config.ts";
export type { Effect } from "../abi/effects.ts";
export type { MessageId, ProcessId } from "../abi/ids.ts";
export type { Json, JsonObject } from "../abi/json.ts";
export type {
  AssistantPart,
  GenerateInput,
  GenerateOutput,
  Message,
  ToolCallPart,
  ToolResultPart,
  Usage,
} from "../abi/messages.ts";
export type { Exit } from "../abi/process.ts";
export type { Class } from "../abi/scheduling.ts";
export type { FunctionTool, ToolContent, ToolContext, ToolManifest } from "../abi/tools.ts";
