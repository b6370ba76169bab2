// The OpenAPI 3.1 document, derived from the syscall table.
//
// The schemas come from Zod's own JSON Schema output and not from zod-to-openapi's, so that they read alike here and in the
// reference.
import type { OpenAPIHono, RouteConfig } from "@hono/zod-openapi";
import { z } from "zod";
import { agentManifestSchema } from "../abi/agents.ts";
import { ERRORS, ERROR_CODES, type ErrorCode } from "../abi/errors.ts";
import { jsonObjectSchema, jsonSchema } from "../abi/json.ts";
import { exitSchema, processRowSchema } from "../abi/process.ts";
import { rowOf, SYSCALLS, type OperatorCall } from "../abi/syscalls.ts";
import { checkSchema } from "../abi/reports.ts";
import { decisionSchema } from "../abi/requests.ts";
import { toolManifestSchema } from "../abi/tools.ts";
import { ACTOR_HEADER } from "./guards.ts";
import { KEY_HEADER, ROUTES, takesKey, type Route } from "./routes.ts";
import { RESUME_HEADER } from "./stream.ts";

type Schema = { readonly [key: string]: unknown };
type Named = readonly (readonly [id: string, schema: z.ZodType])[];
type Registry = OpenAPIHono["openAPIRegistry"];

/** Errors that any route can answer with. */
const EVERYWHERE = [
  "invalid_argument",
  "unauthenticated",
  "denied",
  "not_found",
  "store_failed",
  "internal",
] as const satisfies readonly ErrorCode[];
const TOO_LARGE_STATUS = 413;

const pascal = (name: string): string => name.replace(/(?:^|\.)(\w)/g, (_, letter: string) => letter.toUpperCase());
const inputName = (name: OperatorCall): string => `${pascal(name)}Input`;
const outputName = (name: OperatorCall): string => `${pascal(name)}Output`;
const ref = (id: string): Schema => ({ $ref: `#/components/schemas/${id}` });

/** The whole document. Takes some tens of milliseconds: ask for it once. */
export function openApiDocument(app: OpenAPIHono, version: string): object {
  describeRoutes(app.openAPIRegistry);
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: { title: "Reeve", version, description: "An operating system for AI agents." },
  });
}

function describeRoutes(registry: Registry): void {
  registry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description: "The token that `reeve up` prints.",
  });
  registry.registerComponent("schemas", "Problem", PROBLEM);
  for (const [id, schema] of Object.entries(tableSchemas())) registry.registerComponent("schemas", id, schema);
  for (const route of ROUTES) registry.registerPath(operation(route));
}

const VALUES: Named = [
  ["Json", jsonSchema],
  ["JsonObject", jsonObjectSchema],
];
const ASKED: Named = [...VALUES, ["Decision", decisionSchema]];
const ANSWERED: Named = [
  ...VALUES,
  ["Process", processRowSchema],
  ["Exit", exitSchema],
  ["AgentManifest", agentManifestSchema],
  ["ToolManifest", toolManifestSchema],
  ["Check", checkSchema],
  ["InboxItem", SYSCALLS["human.list"].output.shape.requests.element],
  ["Event", SYSCALLS["journal.follow"].output],
];

function tableSchemas(): { readonly [id: string]: Schema } {
  const calls = ROUTES.filter((route) => !route.stream).map(({ name }) => name);
  return {
    ...convert([...ASKED, ...ROUTES.map(({ name }) => [inputName(name), rowOf(name).input] as const)], "input"),
    ...convert([...ANSWERED, ...calls.map((name) => [outputName(name), rowOf(name).output] as const)], "output"),
  };
}

function convert(named: Named, io: "input" | "output"): { [id: string]: Schema } {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of named) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { io, uri: (id) => `#/components/schemas/${id}` });
  return Object.fromEntries(
    named.map(([id]) => {
      const { $schema: _dialect, $id: _id, ...schema } = schemas[id] as Schema;
      return [id, schema];
    }),
  );
}

const PROBLEM: Schema = {
  type: "object",
  description: "An error, as RFC 9457 has it.",
  required: ["type", "title", "status", "detail", "code", "retryable", "data"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string", description: "What happened, why, and what to do about it." },
    code: { type: "string", enum: [...ERROR_CODES] },
    retryable: { type: "boolean" },
    data: { type: "object", additionalProperties: true },
  },
};

function operation(route: Route): RouteConfig {
  const { doc } = rowOf(route.name);
  const hasBody = route.method === "post" && route.fields.length > 0;
  return {
    method: route.method,
    path: route.path,
    operationId: route.name,
    tags: [route.name.split(".")[0] ?? ""],
    summary: doc,
    security: [{ token: [] }],
    parameters: parametersOf(route) as never,
    ...(hasBody
      ? {
          request: {
            body: { required: true, content: { "application/json": { schema: bodySchema(route) as never } } },
          },
        }
      : {}),
    responses: responsesOf(route),
  };
}

function parametersOf(route: Route): readonly Schema[] {
  const { properties, required } = inputSchema(route);
  const inPath = route.pathFields.map((name) => ({ name, in: "path", required: true, schema: properties[name] }));
  const inQuery =
    route.method === "get"
      ? route.fields.map((name) => ({ name, in: "query", required: required.includes(name), schema: properties[name] }))
      : [];
  const header = (name: string, description: string): Schema => ({
    name,
    in: "header",
    required: false,
    description,
    schema: { type: "string" },
  });
  return [
    ...inPath,
    ...inQuery,
    ...(takesKey(route) ? [header(KEY_HEADER, "Makes repeating the request harmless: becomes the field `key`.")] : []),
    ...(route.stream ? [header(RESUME_HEADER, "The seq of the last event seen; the stream goes on after it.")] : []),
    header(ACTOR_HEADER, "Whom the record names as the one who did it; `operator` if absent."),
  ];
}

/** The body: the input without what stands in the path. */
function bodySchema(route: Route): Schema {
  if (route.pathFields.length === 0) return ref(inputName(route.name));
  const { properties, required } = inputSchema(route);
  const own = route.fields.map((field) => [field, properties[field]] as const);
  return {
    type: "object",
    properties: Object.fromEntries(own),
    required: required.filter((field) => route.fields.includes(field)),
    additionalProperties: false,
  };
}

function inputSchema(route: Route): {
  readonly properties: { readonly [field: string]: Schema };
  readonly required: readonly string[];
} {
  const id = inputName(route.name);
  const { properties, required } = convert([...ASKED, [id, rowOf(route.name).input]], "input")[id] ?? {};
  return { properties: properties as { [field: string]: Schema }, required: (required as string[] | undefined) ?? [] };
}

function responsesOf(route: Route): RouteConfig["responses"] {
  const ok = route.stream
    ? {
        description: "Server-sent events: `event` (id: seq), `delta`, `end`, `problem`.",
        content: { "text/event-stream": { schema: ref("Event") as never } },
      }
    : { description: "Done.", content: { "application/json": { schema: ref(outputName(route.name)) as never } } };
  const responses: RouteConfig["responses"] = { 200: ok };
  const problem = (description: string): RouteConfig["responses"][number] => ({
    description,
    content: { "application/problem+json": { schema: ref("Problem") as never } },
  });
  const byStatus = Map.groupBy(
    new Set<ErrorCode>([...EVERYWHERE, ...rowOf(route.name).errors]),
    (code) => ERRORS[code].status,
  );
  for (const [status, codes] of byStatus)
    responses[status] = problem(codes.map((code) => `${code}: ${ERRORS[code].doc}`).join("\n\n"));
  if (route.method === "post") responses[TOO_LARGE_STATUS] = problem(`limit_exceeded: ${ERRORS.limit_exceeded.doc}`);
  return responses;
}
