// How much a door lets through, and how long it waits for either side.

/** Request line and headers together, and as much of an answer's. Bytes. */
export const HEADER_BYTES_MAX = 32 * 1024;
/** Programs' connections to one door at once; and of a door to one origin, so that none waits for another. */
export const CONNECTIONS_MAX = 256;
/** Requests of one connection that wait for their answers: programs may send the next one before. */
export const PIPELINED_MAX = 16;
/** Interim answers (1xx) before the answer. */
export const INTERIM_MAX = 16;
/** Origins to which a door keeps connections. */
export const ORIGINS_MAX = 64;
/** Hosts for which a door keeps a certificate. */
export const CERTIFICATES_MAX = 256;
/** What the two events of a request take up, about. They weigh as much of a door's bytes, so that nobody fills a journal with requests of no size. Bytes. */
export const EVENTS_BYTES = 1024;
/** Refusals of a door with an event each. Nobody may fill a journal with them: of what is refused beyond, what is alike is told together. */
export const DENIALS_MAX = 10_000;
/** Of these, how many are told apart; the rest are told as one. */
export const DENIALS_APART_MAX = 1_000;
/** Names that are looked up at once, by all doors together and by one: the machine's resolver has four threads, and files need them as well. */
export const LOOKUPS_MAX = 3;
export const LOOKUPS_EACH_MAX = 2;
/** What is read of a connection before it has said for which host it is. Bytes. */
export const HELLO_BYTES_MAX = 64 * 1024;
/** A name of a host. Characters. */
export const HOST_CHARS_MAX = 253;

export type Times = {
  /** For a program to send a request's headers, or the first bytes in a tunnel. Milliseconds. */
  readonly headersMs: number;
  /** To find a host's address, connect, and agree on TLS. Milliseconds. */
  readonly connectMs: number;
  /** Without a byte either way. Milliseconds. */
  readonly idleMs: number;
};
export const TIMES: Times = { headersMs: 15_000, connectMs: 15_000, idleMs: 300_000 };

/** How long a door keeps a connection without use. Milliseconds. */
export const KEPT_MS = 30_000;
/**
 * The same for Reeve's own requests: shorter than servers keep theirs, since what goes into a connection in the moment in which it is closed
 * may or may not have arrived. Milliseconds.
 */
export const OWN_KEPT_MS = 4_000;
