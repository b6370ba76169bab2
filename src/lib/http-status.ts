// What an HTTP status leaves open of a request that was to change something.

/** Before anything is done: the server does not know the method, or the version of HTTP. */
const NOT_BEGUN: ReadonlySet<number> = new Set([501, 505]);

/**
 * Whether a request that was answered with this status may or may not have been performed. A server that fails (5xx) may have failed
 * after the change, a gateway answers so for a server of which it heard nothing, and one that was too slow (408) may have been
 * heard. Any other status is the server's word on what it did.
 */
export const leavesOpen = (status: unknown): boolean =>
  typeof status === "number" && (status === 408 || (status >= 500 && !NOT_BEGUN.has(status)));
