// How much a server may send.

/** One message. Well above TOOL_RESULT_BYTES_MAX, so that an answer that is too large can be told by its size. Bytes. */
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** What may stand on standard output between two messages and be none. Bytes. */
export const NOISE_BYTES_MAX = 1024 * 1024;
/** Messages that answer nothing, between two that do: reports of progress, lines of a log, requests of its own. */
export const UNASKED_MAX = 50_000;
/** All of them together. Bytes. */
export const UNASKED_BYTES_MAX = 64 * 1024 * 1024;
/** Tools of one server. */
export const TOOLS_MAX = 1000;
/** All definitions of one server's tools together, as JSON. Characters. */
export const LISTING_LENGTH_MAX = 4 * 1024 * 1024;
/** Pages of one listing. */
export const PAGES_MAX = 100;
