// Streams for a container whose engine hands on no descriptors: pipes with names, in a folder that is seen inside.
//
// They are pipes of the kernel like any other: what the job says never passes the engine, and a job that says more than is read waits.
// Their names are gone before the job begins.
//
// Invariants:
//   N1. Nobody but the container's user and Reeve may open one.
//   N2. Until the container has opened its ends Reeve holds both of each, so that nothing waits and nothing ends.
import { randomUUID } from "node:crypto";
import { closeSync, constants, lchownSync, mkdirSync, openSync, readdirSync, renameSync, unlinkSync } from "node:fs";
import { createServer, Socket, type Server } from "node:net";
import { join } from "node:path";
import { duplexPair, type Duplex } from "node:stream";
import { OsError } from "../../../abi/errors.ts";
import { ask } from "../runtimes/programs.ts";

export type Pipes = {
  readonly stdin: Socket;
  readonly stdout: Socket;
  readonly stderr: Socket;
  readonly word: Socket;
  readonly ready: Socket;
  readonly channel: Duplex | undefined;
  /** From now on the ends inside are the only ones. Idempotent. */
  letGo(): void;
  /** For a container that was never started. */
  close(): void;
};

const { O_RDWR, O_RDONLY, O_WRONLY, O_NONBLOCK } = constants;
const NAMES = ["stdin", "stdout", "stderr", "word", "ready"] as const;
type Name = (typeof NAMES)[number];
/** Those that Reeve writes into. */
const WRITTEN: ReadonlySet<Name> = new Set(["stdin", "word"]);
/** The name of a socket that the first process inside connects to. */
export const CHANNEL = "channel";
const FOLDER_MODE = 0o711;

export const pipesFolder = (folder: string): string => join(folder, "pipes");

/** `owner`: the user of the machine that runs inside. Rejects with `isolation_unavailable`. */
export async function makePipes(folder: string, owner: number, channel: boolean): Promise<Pipes> {
  const own = pipesFolder(folder);
  mkdirSync(own, { mode: FOLDER_MODE });
  const paths = NAMES.map((name) => join(own, name));
  const made = await ask("mkfifo", ["-m", "600", ...paths]);
  if ("failed" in made)
    throw new OsError("isolation_unavailable", `Pipes for a container could not be made: ${made.failed}.`);
  const open: number[] = [];
  const sockets: Socket[] = [];
  const hold = (path: string, flags: number): number => {
    const descriptor = openSync(path, flags | O_NONBLOCK);
    open.push(descriptor);
    return descriptor;
  };
  const letGo = (): void => {
    for (const descriptor of open.splice(0)) closeSync(descriptor);
    for (const name of readdirSync(own)) unlinkSync(join(own, name));
  };
  try {
    for (const path of paths) {
      lchownSync(path, owner, owner);
      hold(path, O_RDWR);
    }
    const ends = Object.fromEntries(
      NAMES.map((name) => {
        const writable = WRITTEN.has(name);
        const fd = openSync(join(own, name), (writable ? O_WRONLY : O_RDONLY) | O_NONBLOCK);
        const socket = new Socket({ fd, readable: !writable, writable });
        sockets.push(socket);
        return [name, socket];
      }),
    ) as unknown as Readonly<Record<Name, Socket>>;
    const { end, server } = channel ? await listen(own, owner) : { end: undefined, server: undefined };
    return {
      ...ends,
      channel: end,
      letGo: () => {
        server?.close();
        letGo();
      },
      close: () => {
        server?.close();
        letGo();
        for (const socket of sockets) socket.destroy();
      },
    };
  } catch (error) {
    letGo();
    for (const socket of sockets) socket.destroy();
    throw error;
  }
}

/** A channel whose other end comes to be when somebody connects, once. */
async function listen(folder: string, owner: number): Promise<{ readonly end: Duplex; readonly server: Server }> {
  const [end, other] = duplexPair();
  const server = createServer((socket) => {
    server.close();
    // Whoever breaks it off ends it; the exit tells why.
    for (const side of [socket, other]) side.on("error", () => side.destroy());
    // However it ends, whoever reads learns of it.
    socket.on("close", () => other.end());
    end.on("close", () => socket.destroy());
    socket.pipe(other).pipe(socket);
  });
  // By a descriptor of the folder: the path of a socket is short or is none. It is removed by that path when the server closes, and the
  // descriptor may be another folder's by then; so it is called there as no other is.
  const name = randomUUID();
  const place = openSync(folder, constants.O_DIRECTORY | O_RDONLY);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(`/proc/self/fd/${place}/${name}`, resolve);
    });
  } finally {
    closeSync(place);
  }
  renameSync(join(folder, name), join(folder, CHANNEL));
  lchownSync(join(folder, CHANNEL), owner, owner);
  return { end, server };
}
