// The routes, as the syscall table gives them, and how a request's parts become a call's arguments.
//
// Fields that the path names come from the path; all others from the query (get) or the JSON body (post). What they
// may hold is checked by the system behind the door, so that every door has the same rules.
import { OsError } from "../abi/errors.ts";
import { OPERATOR_CALLS, rowOf, type OperatorCall } from "../abi/syscalls.ts";

export type Route = {
  readonly name: OperatorCall;
  readonly method: "get" | "post";
  /** With path fields in braces, as in OpenAPI. */
  readonly path: string;
  readonly pathFields: readonly string[];
  /** The other fields of the input. */
  readonly fields: readonly string[];
  readonly stream: boolean;
};

export const ROUTES: readonly Route[] = OPERATOR_CALLS.flatMap((name) => {
  const { http, input } = rowOf(name);
  if (http === undefined) return [];
  const pathFields = [...http.path.matchAll(/\{(\w+)\}/g)].map(([, field = ""]) => field);
  const fields = Object.keys(input.shape).filter((field) => !pathFields.includes(field));
  return [{ name, method: http.method, path: http.path, pathFields, fields, stream: http.stream === true }];
});

/** The field that an `Idempotency-Key` header stands for, where the call has it. */
const KEY_FIELD = "key";
export const KEY_HEADER = "idempotency-key";
export const takesKey = (route: Route): boolean => route.method === "post" && route.fields.includes(KEY_FIELD);

type Arguments = { readonly [field: string]: unknown };

/** The arguments of a request to this route. Throws `invalid_argument` for a body that is no JSON object or repeats what stands elsewhere. */
export async function argumentsOf(route: Route, request: Request, inPath: Arguments): Promise<Arguments> {
  const given = route.method === "get" ? fromQuery(new URL(request.url).searchParams) : fromBody(await request.text());
  for (const field of route.pathFields) {
    if (field in given) throw invalid(field, `${field} stands in the path already`);
  }
  const key = takesKey(route) ? request.headers.get(KEY_HEADER) : null;
  if (key === null) return { ...given, ...inPath };
  if (KEY_FIELD in given && given[KEY_FIELD] !== key) throw invalid(KEY_FIELD, `differs from the header ${KEY_HEADER}`);
  return { ...given, ...inPath, [KEY_FIELD]: key };
}

/** A field that stands there more than once becomes a list, which the call's schema then refuses by name. */
function fromQuery(query: URLSearchParams): Arguments {
  return Object.fromEntries(
    [...new Set(query.keys())].map((field) => {
      const values = query.getAll(field);
      return [field, values.length === 1 ? values[0] : values];
    }),
  );
}

function fromBody(text: string): Arguments {
  if (text.trim() === "") return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    // The engine's message names the place, by line and column or by the text around it.
    throw invalid("(whole)", `the body is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return body as Arguments;
  throw invalid("(whole)", "the body must be a JSON object");
}

const invalid = (field: string, fault: string): OsError =>
  new OsError("invalid_argument", `The request cannot be read: ${field}: ${fault}.`, {
    data: { issues: [`${field}: ${fault}`] },
  });

/** `not_found` for a request that fits no route, naming the nearest ones. */
export function noRoute(method: string, path: string): OsError {
  const near = nearest(method, path).map((route) => `${route.method.toUpperCase()} ${route.path}`);
  const message = `There is no route ${method} ${path.slice(0, 200)}. Near it: ${near.join(", ")}. All of them: GET /v1/openapi.json.`;
  return new OsError("not_found", message, { data: { what: "route", id: `${method} ${path.slice(0, 200)}`, near } });
}

const NEAR_ROUTES = 3;

function nearest(method: string, path: string): readonly Route[] {
  const segments = path.split("/").filter((segment) => segment !== "");
  const distance = (route: Route): number => {
    const wanted = route.path.split("/").filter((segment) => segment !== "");
    let far = Math.abs(wanted.length - segments.length) + (route.method.toUpperCase() === method ? 0 : 0.5);
    wanted.forEach((segment, at) => {
      far += strangeness(segment, segments[at]);
    });
    return far;
  };
  return ROUTES.map((route) => ({ route, far: distance(route) }))
    .sort((a, b) => a.far - b.far)
    .slice(0, NEAR_ROUTES)
    .map(({ route }) => route);
}

/** 0 for the same segment, near 0 for one with a similar spelling, 1 for another. */
function strangeness(wanted: string, given: string | undefined): number {
  if (given === undefined) return 1;
  if (wanted === given) return 0;
  if (wanted.startsWith("{")) return 0.25;
  const shared = Array.from(wanted).filter((letter) => given.includes(letter)).length;
  return 1 - shared / (Math.max(wanted.length, given.length) + 1);
}
