// What can be asked of humans, and how it can be decided.

export const REQUEST_KINDS = ["approval", "question", "settlement"] as const;
/**
 * What is asked of a human: may this be done (`approval`), what is the answer (`question`),
 * or what became of an effect whose outcome never came back (`settlement`).
 */
export type RequestKind = (typeof REQUEST_KINDS)[number];
export type Verdict = "approved" | "rejected" | "answered" | "settled";
