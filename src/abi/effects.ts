// What a call does to the world, from harmless to dangerous.
import { z } from "zod";

/**
 * - `none`     touches nothing outside the kernel
 * - `read`     looks; may be repeated freely
 * - `write`    changes something that belongs to the operator
 * - `send`     tells somebody else; cannot be taken back
 * - `destroy`  deletes, or moves value beyond recall; asks a human first
 */
export const EFFECTS = ["none", "read", "write", "send", "destroy"] as const;
export type Effect = (typeof EFFECTS)[number];
export const effectSchema: z.ZodType<Effect, Effect> = z.enum(EFFECTS);

/** Whether repeating a call of this effect could do harm, so that its intent must be on disk before it is dispatched. */
export const needsIntent = (effect: Effect): boolean => effect === "write" || effect === "send" || effect === "destroy";
