// Governance's face: may this be done, and is what goes in and comes out fit to pass.
import type { Json } from "../abi/json.ts";
import type { Decision } from "./identity.ts";
import type { CallView, ProcessView } from "./process.ts";

export interface Governance {
  /** The rules' word on a call that the process has the right to make. */
  decide(process: ProcessView, call: CallView): Decision;
  /** Looks at what goes in. Throws `limit_exceeded` or `denied`. `text` is the arguments' JSON text. */
  inspect(process: ProcessView, call: CallView, text: string): void;
  /** Looks at what comes back, `text` as JSON, and gives what may pass. Throws `limit_exceeded` or `denied`. */
  judge(process: ProcessView, call: CallView, value: Json, text: string): Json;
}
