// The native HTTP API: one route for each call of the table that operators issue, made by walking the table.
//
// Order of a request: where it comes from, who sends it, how much it carries, which route, what it asks. Each step
// answers with a problem document (RFC 9457). Nothing here knows what a call does: `System` does.
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { secureHeaders } from "hono/secure-headers";
import { OsError } from "../abi/errors.ts";
import { PAYLOAD_BYTES_MAX } from "../abi/limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { System } from "../ports/system.ts";
import { actorOf, checkSource, tokenCheck } from "./guards.ts";
import { openApiDocument } from "./openapi.ts";
import { problemResponse } from "./problem.ts";
import { argumentsOf, noRoute, ROUTES, type Route } from "./routes.ts";
import { eventStream, RESUME_HEADER, streamStart } from "./stream.ts";

export type HttpApiOptions = {
  readonly system: System;
  /** What a client must show in `Authorization: Bearer …`. */
  readonly token: string;
  readonly version: string;
  /** For the heartbeat of event streams. */
  readonly clock: Clock;
};

export type HttpApi = { readonly fetch: (request: Request) => Promise<Response> };

/** Builds the API. `fetch` never rejects: every failure is a problem document. */
export function createHttpApi(options: HttpApiOptions): HttpApi {
  const app = new OpenAPIHono();
  guard(app, options.token);
  let document: object | undefined;
  app.get("/v1/openapi.json", (c) => c.json((document ??= openApiDocument(app, options.version))));
  for (const route of ROUTES) {
    app.on(route.method, route.path.replace(/\{(\w+)\}/g, ":$1"), (c) => serve(c, route, options));
  }
  app.notFound((c) => problemResponse(noRoute(c.req.method, c.req.path)));
  app.onError((error) => problemResponse(error));
  return { fetch: async (request) => app.fetch(request) };
}

function guard(app: OpenAPIHono, token: string): void {
  const checkToken = tokenCheck(token);
  app.use(
    secureHeaders({
      contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
      // The server speaks plain HTTP on loopback, where this header would lock other local servers out.
      strictTransportSecurity: false,
    }),
  );
  app.use(async (c, next) => {
    checkSource(c.req.raw);
    await next();
    c.header("cache-control", "no-store");
  });
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.use(async (c, next) => {
    checkToken(c.req.raw);
    await next();
  });
  app.use(bodyLimit({ maxSize: PAYLOAD_BYTES_MAX, onError: () => tooLarge() }));
}

function tooLarge(): Response {
  const message = `The body is larger than ${PAYLOAD_BYTES_MAX} bytes. Send less, or put the data where a tool can read it.`;
  // 429, which the code stands for elsewhere, would invite the client to send the same again.
  return problemResponse(
    new OsError("limit_exceeded", message, { data: { limit: "body_bytes", max: PAYLOAD_BYTES_MAX } }),
    413,
  );
}

async function serve(c: Context, route: Route, { system, clock }: HttpApiOptions): Promise<Response> {
  const by = actorOf(c.req.raw);
  const args = await argumentsOf(route, c.req.raw, c.req.param());
  if (route.name !== "journal.follow") return c.json((await system.operate(route.name, args as never, by)) as object);
  const start = streamStart(args, c.req.header(RESUME_HEADER) ?? null);
  // A follower tells that there is no such process only when it is read, which is after the status line has gone out.
  await system.operate("journal.read", { pid: start.pid, limit: 1 }, by);
  return eventStream({ ...start, system, clock, signal: c.req.raw.signal });
}
