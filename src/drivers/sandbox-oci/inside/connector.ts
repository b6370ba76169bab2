// A program that connects to a socket and becomes another program, which finds the connection at descriptor 3: the channel of a
// container whose engine hands on no descriptors. A shell cannot connect, and no other program is in every image.
//
// It runs as the job does, under the same filter, and is gone before the job begins. Where nobody listens it ends as a gate without a word
// does.
//
//     connect PROGRAM [ARGUMENT…]
import { assemble, RESULT } from "../../../lib/native-program.ts";
import type { Architecture } from "../../../lib/system-calls.ts";
import { PIPES_INSIDE } from "./first-process.ts";
import { CHANNEL } from "./pipes.ts";

/** Its name in the folder of pipes. */
export const CONNECTOR = "connect";

const UNIX = 1;
const STREAM = 1;
const NOT_CONNECTED = "The channel of the sandbox could not be connected";

/** `path`: of the socket, as it is called inside. The first descriptor that is free is 3: an engine opens three. */
export function connectorFor(architecture: Architecture, path = `${PIPES_INSIDE}/${CHANNEL}`): Uint8Array {
  const address = Buffer.from(`${String.fromCharCode(UNIX, 0)}${path}\0`);
  return assemble(
    {
      steps: [
        { call: "socket", args: [UNIX, STREAM, 0], orSay: NOT_CONNECTED },
        { call: "connect", args: [RESULT, address, address.length], orSay: NOT_CONNECTED },
      ],
      becomes: 1,
      orSay: NOT_CONNECTED,
    },
    architecture,
  );
}
