// What a connection says first: whether it is TLS, and for which server. All of it is put back, to be read again.
//
// The greeting is read by OpenSSL itself, in a connection that leads nowhere, so that it is understood as any server would.
import { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";
import { HELLO_BYTES_MAX } from "../bounds.ts";

const HANDSHAKE_RECORD = 0x16;
/** What OpenSSL says of a greeting that is in order but for the certificate that we have none of. */
const NAMELESS: ReadonlySet<string> = new Set(["ERR_SSL_NO_SHARED_CIPHER", "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM"]);

/** Resolves with what came first and puts it back; undefined if the time is up or the connection ends before. */
export function firstBytes(socket: Duplex, timeMs: number): Promise<Buffer | undefined> {
  return readFirst(socket, timeMs, (chunk) => ({ done: chunk }));
}

export const isTls = (first: Buffer): boolean => first[0] === HANDSHAKE_RECORD;

/** The server that a TLS client asks for: null if it names none; undefined if it is no TLS, or not in time. */
export async function serverNameOf(socket: Duplex, timeMs: number): Promise<string | null | undefined> {
  const probe = probeOf();
  const found = await readFirst<{ readonly name: Promise<string | null | undefined> | undefined }>(
    socket,
    timeMs,
    (chunk) => {
      if (probe.fed === 0 && !isTls(chunk)) return { done: { name: undefined } };
      const name = probe.feed(chunk);
      return name === undefined ? undefined : { done: { name } };
    },
  );
  const name = found === undefined ? undefined : await found.name;
  probe.close();
  return name;
}

type Step<T> = { readonly done: T } | undefined;

/** Hands on what comes until `look` has seen enough, then puts all of it back. */
function readFirst<T>(socket: Duplex, timeMs: number, look: (chunk: Buffer) => Step<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const finish = (found: T | undefined): void => {
      clearTimeout(timer);
      socket.off("data", onData).off("end", onEnd).off("close", onEnd).off("error", onEnd);
      socket.pause();
      if (chunks.length > 0 && !socket.destroyed) socket.unshift(Buffer.concat(chunks));
      resolve(found);
    };
    const onEnd = (): void => finish(undefined);
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      const step = look(chunk);
      if (step !== undefined) finish(step.done);
      else if (chunks.reduce((sum, { length }) => sum + length, 0) > HELLO_BYTES_MAX) finish(undefined);
    };
    const timer = setTimeout(onEnd, timeMs);
    socket.on("data", onData).once("end", onEnd).once("close", onEnd).once("error", onEnd);
  });
}

/** Whether the first message of the handshake is all there, by the lengths in its records. */
function isWhole(bytes: Buffer): boolean {
  const parts: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    if (bytes[at] !== HANDSHAKE_RECORD) return true;
    const length = bytes.readUInt16BE(at + 3);
    parts.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  const message = Buffer.concat(parts);
  return message.length >= 4 && message.length >= 4 + message.readUIntBE(1, 3);
}

type Probe = {
  fed: number;
  /** Once the greeting is whole: for which server it is. */
  readonly feed: (chunk: Buffer) => Promise<string | null | undefined> | undefined;
  readonly close: () => void;
};

function probeOf(): Probe {
  const nowhere = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  const gathered: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<string | null | undefined>();
  const tls = new TLSSocket(nowhere, {
    isServer: true,
    secureContext: createSecureContext({}),
    SNICallback: (name, done) => {
      resolve(name);
      done(new Error("seen"));
    },
  });
  // Without a name there is nothing to call back for, and without a certificate nothing to go on with. Any other fault is the greeting's own.
  tls.once("error", (error: NodeJS.ErrnoException) => resolve(NAMELESS.has(error.code ?? "") ? null : undefined));
  tls.once("close", () => resolve(undefined));
  const probe: Probe = {
    fed: 0,
    feed: (chunk) => {
      probe.fed += chunk.length;
      gathered.push(chunk);
      nowhere.push(chunk);
      return isWhole(Buffer.concat(gathered)) ? promise : undefined;
    },
    close: () => {
      tls.destroy();
      nowhere.destroy();
    },
  };
  return probe;
}
