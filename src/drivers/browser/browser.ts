// A browser that a person was sent away with, and that comes back: a server on a loopback port, for one answer.
//
// Boundary: says what came back, and judges nothing of it; that is for whoever knows what was asked.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { OsError } from "../../abi/errors.ts";

const BACK = "/callback";
const PAGE = "<!doctype html><title>Reeve</title><p>You can close this page and go back to the terminal.";

export type Waiting = { readonly redirect: string; readonly answer: Promise<string>; readonly close: () => void };

/** Rejects with `address_in_use` where no port can be had. */
export async function waitForBrowser(): Promise<Waiting> {
  const { promise: answer, resolve } = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    const [path = "", query = ""] = (request.url ?? "").split("?");
    const isAnswer = path === BACK && query !== "";
    response.writeHead(isAnswer ? 200 : 404, { "content-type": "text/html; charset=utf-8", connection: "close" });
    response.end(isAnswer ? PAGE : "");
    if (isAnswer) resolve(query);
  });
  await new Promise<void>((listening, failed) => {
    server.once("error", (error) =>
      failed(new OsError("address_in_use", `No loopback port can be listened on: ${error.message}.`, { cause: error })),
    );
    server.listen(0, "127.0.0.1", listening);
  });
  const { port } = server.address() as AddressInfo;
  const close = (): void => {
    server.close();
    server.closeIdleConnections();
  };
  return { redirect: `http://127.0.0.1:${port}${BACK}`, answer, close };
}
