// What can be asked of humans, and how it can be decided.

export const REQUEST_KINDS = ["approval", "question", "settlement", "budget"] as const;
/**
 * What is asked of a human: may this be done (`approval`), what is the answer (`question`),
 * what became of an effect whose outcome never came back (`settlement`), or may a process use up more than it was given (`budget`).
 */
export type RequestKind = (typeof REQUEST_KINDS)[number];
export type Verdict = "approved" | "rejected" | "answered" | "settled" | "raised";
