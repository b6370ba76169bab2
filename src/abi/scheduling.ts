// The words of the scheduler: classes, tenants, weights, bounds on trees.
import { z } from "zod";

/**
 * Most urgent first. A call of a higher class goes before every waiting call of a lower one; what keeps the lower ones
 * from starving is described in docs/scheduler.md.
 */
export const CLASSES = ["critical", "interactive", "standard", "batch"] as const;
export type Class = (typeof CLASSES)[number];
export const classSchema = z.enum(CLASSES);

/** 0 is the most urgent. */
export const rankOf = (name: Class): number => CLASSES.indexOf(name);

/** The less urgent of two: a child's class is never above its parent's. */
export const lowerClass = (one: Class, other: Class): Class => (rankOf(one) > rankOf(other) ? one : other);

/** The share of a tenant among tenants, or of a root's tree among the trees of its tenant. */
export const weightSchema = z.number().min(0.01).max(100);

/** Whose work it is: shares and limits are kept by tenant. */
export const tenantSchema = z
  .string()
  .regex(/^[a-zA-Z0-9][\w.-]{0,63}$/, "is not a name of a tenant (letters, digits, _ . -; at most 64)");
export const DEFAULT_TENANT = "default";

/** The pace at which a tree grows is kept like a resource's limit, under this with the pid of its root behind it. */
export const PACE_PREFIX = "spawn:";

/** How far a tree may grow below a process. Counted for each process that states them, over its whole subtree. */
export const treeBoundsSchema = z.strictObject({
  /** Generations below it. */
  depth: z.int().nonnegative().optional(),
  /** Children of one process that are alive at once. */
  breadth: z.int().nonnegative().optional(),
  /** Descendants over its lifetime, those that have exited included. */
  total: z.int().nonnegative().optional(),
});
export type TreeBounds = z.infer<typeof treeBoundsSchema>;
