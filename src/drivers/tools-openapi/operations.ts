// The operations of a document as tools: what each takes, and where each argument stands in its request.
import type { JsonObject } from "../../abi/json.ts";
import type { Effect } from "../../abi/effects.ts";
import { manifestPartSchema, type ToolManifest } from "../../abi/tools.ts";
import { issueLines } from "../../abi/errors.ts";
import { Schemas } from "./schemas.ts";
import { selected, type Selection, type Spot } from "./selection.ts";
import type { Style, Written } from "./styles.ts";
import { invalid, isTree, list, resolved, text, tree, type Tree } from "./tree.ts";

export type Place = "path" | "query" | "header" | "cookie";
export type Parameter = Written & {
  /** Under which name the tool takes it. */
  readonly argument: string;
  readonly place: Place;
  readonly required: boolean;
  /** It is written as JSON, whatever its style. */
  readonly json: boolean;
};
export type Body = {
  readonly type: string;
  readonly form: "json" | "fields" | "multipart" | "text";
  readonly required: boolean;
  /** Fields of a multipart body that are files. */
  readonly files: readonly string[];
};

export type Operation = {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  /** Sent with each call. */
  readonly query: string | undefined;
  readonly server: string | undefined;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly declared: Partial<ToolManifest>;
  readonly parameters: readonly Parameter[];
  readonly body: Body | undefined;
  /** A header by which the interface knows a call again. */
  readonly keyHeader: string | undefined;
  /** Ways to say who asks, as the document lists them: one of these, each with all of its schemes. */
  readonly security: readonly (readonly string[])[];
};

const DESCRIPTION_CHARS = 1_000;
const ARGUMENT_CHARS = 64;
/** By the specification these are said elsewhere. */
const IGNORED_HEADERS = new Set(["accept", "content-type", "authorization", "host", "content-length", "cookie"]);
const KEY_HEADER = "idempotency-key";

const EFFECTS: Readonly<Record<string, Effect>> = { get: "read", head: "read", options: "read", delete: "destroy" };

export type Found = { readonly operations: readonly Operation[]; readonly leftOut: readonly string[] };

/** The wanted operations that can be called, and why others cannot. Throws `invalid_argument` for more than can be tools. */
export function operationsOf(document: Tree, selection?: Selection): Found {
  const operations: Operation[] = [];
  const leftOut: string[] = [];
  const names = new Set<string>();
  for (const spot of selected(document, selection)) {
    try {
      const operation = operationOf({ document, names, ...spot });
      names.add(operation.name);
      operations.push(operation);
    } catch (error) {
      // One that cannot be called keeps nobody from the others; it is told of where the tools are asked for.
      const why = error instanceof Error ? error.message : String(error);
      leftOut.push(`${spot.method.toUpperCase()} ${spot.path}: ${why}`);
    }
  }
  return { operations, leftOut };
}

type Source = Spot & { readonly document: Tree; readonly names: ReadonlySet<string> };

function operationOf(source: Source): Operation {
  const { document, path, item, method, operation, names } = source;
  // What stands behind # tells operations of one path apart, and is not sent; what stands behind ? is sent as it is.
  const [ownPath = "", query] = path.replace(/#.*$/s, "").split("?", 2);
  const schemas = new Schemas(document);
  const all = parametersOf(source);
  const keyHeader = all.find(({ place, name }) => place === "header" && name.toLowerCase() === KEY_HEADER)?.name;
  const parameters = named(all.filter(({ name }) => name !== keyHeader));
  const body = bodyOf(document, operation);
  const properties: [string, JsonObject][] = parameters.map(({ argument, schema, description }) => [
    argument,
    { ...schemas.of(schema), ...(description === "" ? {} : { description }) },
  ]);
  if (body !== undefined) properties.push(["body", schemas.of(body.schema)]);
  const required = [...parameters, ...(body === undefined ? [] : [{ ...body, argument: "body" }])];
  const inputSchema: JsonObject = {
    type: "object",
    properties: Object.fromEntries(properties),
    required: required.filter((each) => each.required).map(({ argument }) => argument),
    additionalProperties: false,
    ...(Object.keys(schemas.defs).length === 0 ? {} : { $defs: schemas.defs }),
  };
  const servers = list(operation.servers ?? item.servers);
  return {
    name: nameOf(text(operation.operationId) || `${method} ${path}`, names),
    method: method.toUpperCase(),
    path: ownPath,
    query,
    server: servers.length === 0 ? undefined : serverUrl(servers[0]),
    description:
      [operation.deprecated === true ? "Deprecated." : "", text(operation.summary), text(operation.description)]
        .filter((part) => part !== "")
        .join("\n")
        .slice(0, DESCRIPTION_CHARS) || `${method.toUpperCase()} ${path}`,
    inputSchema,
    declared: declaredOf(operation, { method, path, keyHeader }),
    parameters,
    body: body && { type: body.type, form: body.form, required: body.required, files: body.files },
    keyHeader,
    security: list(operation.security ?? document.security).map((way) => Object.keys(tree(way))),
  };
}

/** What the document says of the tool itself, in `x-reeve`, over what its method says. */
function declaredOf(
  operation: Tree,
  {
    method,
    path,
    keyHeader,
  }: { readonly method: string; readonly path: string; readonly keyHeader: string | undefined },
): Partial<ToolManifest> {
  const said = manifestPartSchema.safeParse(operation["x-reeve"] ?? {});
  if (!said.success) throw invalid(`its x-reeve does not hold: ${issueLines(said.error.issues).join("; ")}`);
  return {
    effect: EFFECTS[method] ?? "send",
    idempotency: keyHeader === undefined ? "none" : "key",
    summary: `${method.toUpperCase()} ${path}`.slice(0, 200),
    ...(said.data as Partial<ToolManifest>),
  };
}

function nameOf(wanted: string, taken: ReadonlySet<string>): string {
  const plain =
    wanted
      .replaceAll(/[^A-Za-z0-9_-]+/g, "_")
      .replaceAll(/^_+|_+$/g, "")
      .slice(0, 60) || "operation";
  let name = plain;
  for (let n = 2; taken.has(name); n += 1) name = `${plain}_${n}`;
  return name;
}

/** The address of a server, its variables as they are by default. */
export function serverUrl(server: unknown): string {
  const { url, variables } = tree(server);
  return text(url).replaceAll(/\{([^}]+)\}/g, (_, name: string) => text(tree(tree(variables)[name]).default));
}

type Described = Omit<Parameter, "argument"> & { readonly schema: unknown; readonly description: string };

/** Those of the path's entry, but for the operation's own of the same name and place. */
function parametersOf({ document, item, operation }: Source): Described[] {
  const found = new Map<string, Described>();
  for (const given of [...list(item.parameters), ...list(operation.parameters)]) {
    const parameter = parameterOf(resolved(document, given));
    if (parameter.place === "header" && IGNORED_HEADERS.has(parameter.name.toLowerCase())) continue;
    found.set(`${parameter.place} ${parameter.name}`, parameter);
  }
  return [...found.values()];
}

const PLACES: readonly string[] = ["path", "query", "header", "cookie"];
const STYLES: Readonly<Record<Place, readonly Style[]>> = {
  path: ["simple", "label", "matrix"],
  query: ["form", "spaceDelimited", "pipeDelimited", "deepObject"],
  header: ["simple"],
  cookie: ["form"],
};

function parameterOf(given: Tree): Described {
  const name = text(given.name);
  const place = text(given.in) as Place;
  if (name === "") throw invalid("a parameter has no name");
  if (!PLACES.includes(place))
    throw invalid(`the parameter ${name} stands in "${place}", which OpenAPI 3 does not know`);
  const style = (given.style === undefined ? STYLES[place][0] : text(given.style)) as Style;
  if (!STYLES[place].includes(style)) throw invalid(`the style "${style}" is none for a ${place} parameter`);
  const [content] = Object.values(tree(given.content));
  return {
    name,
    place,
    style,
    explode: typeof given.explode === "boolean" ? given.explode : style === "form",
    allowReserved: given.allowReserved === true,
    required: given.required === true || place === "path",
    json: content !== undefined,
    schema: content === undefined ? given.schema : tree(content).schema,
    description: text(given.description).slice(0, DESCRIPTION_CHARS),
  };
}

/** Each under its own name in signs that models take, with its place where another has the same. */
function named<P extends Described>(parameters: readonly P[]): (P & { argument: string })[] {
  const taken = new Set(["body"]);
  return parameters.map((parameter) => {
    const plain = parameter.name.replaceAll(/[^A-Za-z0-9_.-]+/g, "_").replaceAll(/^_+|_+$/g, "") || "argument";
    const own = plain.slice(0, ARGUMENT_CHARS - 10);
    const ways = [own, `${own}_${parameter.place}`, ...parameters.map((_, n) => `${own}_${n + 2}`)];
    const argument = ways.find((way) => !taken.has(way)) ?? own;
    taken.add(argument);
    return { ...parameter, argument };
  });
}

function bodyOf(document: Tree, operation: Tree): (Body & { readonly schema: unknown }) | undefined {
  if (operation.requestBody === undefined) return undefined;
  const body = resolved(document, operation.requestBody);
  const content = Object.entries(tree(body.content));
  const required = body.required === true;
  for (const [form, fits] of FORMS) {
    const found = content.find(([type]) => fits.test(type.split(";")[0]?.trim().toLowerCase() ?? ""));
    if (found === undefined) continue;
    const [type, { schema }] = [found[0], tree(found[1])];
    const files = form === "multipart" ? filesOf(document, schema) : [];
    return {
      type,
      form,
      required,
      files,
      schema: form === "text" ? textual(type, resolved(document, schema)) : schema,
    };
  }
  if (!required || content.length === 0) return undefined;
  const types = content.map(([type]) => type || "of no type").join(", ");
  throw invalid(`its body can only be ${types}; JSON, fields (of a form, or as parts) and text are written here`);
}

const FORMS: readonly (readonly [Body["form"], RegExp])[] = [
  ["json", /^(application\/json|[^/]+\/[^/]+\+json|\*\/\*|application\/\*)$/],
  ["fields", /^application\/x-www-form-urlencoded$/],
  ["multipart", /^multipart\/form-data$/],
  ["text", /^(text\/[^/]+|application\/(xml|yaml|x-yaml|jwt|x-ndjson|graphql|text)|[^/]+\/[^/]+\+(xml|yaml))$/],
];

/** What an object would look like as such text is for the agent to know. */
const textual = (type: string, schema: Tree): Tree =>
  schema.type === "string" ? schema : { type: "string", description: `Text of the type ${type}.` };

/** Fields whose content is no text to the interface, or lists of such. */
function filesOf(document: Tree, schema: unknown): string[] {
  const isFile = (given: unknown): boolean => {
    const { format, contentMediaType, contentEncoding, items } = resolved(document, given);
    return (
      format === "binary" ||
      contentMediaType !== undefined ||
      contentEncoding !== undefined ||
      (isTree(items) && isFile(items))
    );
  };
  return Object.entries(tree(resolved(document, schema).properties)).flatMap(([name, field]) =>
    isFile(field) ? [name] : [],
  );
}
