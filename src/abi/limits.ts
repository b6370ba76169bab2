// Every fixed bound in one place. What an operator may change stands in config.ts, with these as defaults.

/** Payloads up to this size are stored in their event; larger ones once for each subject. Bytes of UTF-8. */
export const INLINE_PAYLOAD_BYTES_MAX = 512;
/** One payload: arguments, an outcome, a message. Bytes of UTF-8. */
export const PAYLOAD_BYTES_MAX = 8 * 1024 * 1024;
/** What a program may be given as its standard input; as base64 it still fits into a payload, with its command. Bytes. */
export const PROGRAM_INPUT_BYTES_MAX = 4 * 1024 * 1024;
/** How deep arrays and objects may be nested in one JSON value; what contains itself is deeper than anything. */
export const JSON_DEPTH_MAX = 1000;
/** What a tool may answer before the answer is refused. Bytes of UTF-8. */
export const TOOL_RESULT_BYTES_MAX = 1024 * 1024;
/** One agent file. Bytes. */
export const AGENT_FILE_BYTES_MAX = 256 * 1024;
/** Calls of one process that may be under way at once. */
export const CALLS_IN_FLIGHT_MAX = 256;
/**
 * How long a program may go on computing while all its calls only wait. After that it leaves memory as if it were idle; when
 * a wait of its is over it computes again from its start. Milliseconds.
 */
export const COMPUTE_BESIDE_WAITS_MS_MAX = 10 * 60 * 1000;
/** Depth of a process tree, where nobody set another number; the root has depth 0. */
export const TREE_DEPTH_MAX = 16;
/** Living children of one process, where nobody set another number. */
export const TREE_BREADTH_MAX = 256;
/** Descendants of a root over its lifetime, where nobody set another number. */
export const TREE_TOTAL_MAX = 1_000;
/** Locks that one process may hold at once. */
export const LOCKS_HELD_MAX = 64;
/** Characters of a lock's key. */
export const LOCK_KEY_CHARS_MAX = 200;
/** The longest lease of a lock, and how long one lasts where none is named. Milliseconds. */
export const LEASE_MS_MAX = 24 * 3600 * 1000;
export const LEASE_MS_DEFAULT = 10 * 60 * 1000;
/** Random bytes in one call. */
export const RANDOM_BYTES_MAX = 4096;
/** The longest sleep: a hundred years. Milliseconds. */
export const SLEEP_MS_MAX = 100 * 365 * 24 * 3600 * 1000;
/** Rows in one page of a listing. */
export const PAGE_ROWS_MAX = 1000;
/** Delay before a comment keeps an event stream open. Milliseconds. */
export const STREAM_HEARTBEAT_MS = 15_000;
/** Events that may wait for a slow reader of a stream before it is closed (it resumes by Last-Event-ID). Bytes. */
export const STREAM_BACKLOG_BYTES_MAX = 1024 * 1024;
/** Files, folders and links of one workspace. */
export const WORKSPACE_ENTRIES_MAX = 1_000_000;
/** Folders below one another in a workspace; what is deeper is not kept. */
export const WORKSPACE_DEPTH_MAX = 200;
/** What is kept of one workspace for taking back, as a multiple of its size; the oldest gives way. */
export const WORKSPACE_KEPT_SIZES_MAX = 8;
/** The longest text that a difference is shown for line by line. Bytes. */
export const WORKSPACE_DIFF_BYTES_MAX = 256 * 1024;
/** A patch of all differences, for git. Characters. */
export const WORKSPACE_PATCH_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Differences that are told in full, and what is not kept; further ones are counted. */
export const WORKSPACE_CHANGES_MAX = 10_000;
