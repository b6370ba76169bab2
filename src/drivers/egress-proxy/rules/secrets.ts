// Secrets on their way out: a placeholder in the declared header, toward a declared destination, becomes the value.
//
// Boundary: pure. Values come in with `openSecrets` and leave in the headers of `substitute` and the needles of scrub.ts alone.
//
// Invariants:
//   X1. A value is put into no other header and sent to no other destination than its secret declares.
//   X2. No error and no event holds a value; they hold names.
import { OsError } from "../../../abi/errors.ts";
import { placeholderOf, type SecretConfig } from "../../../abi/isolation.ts";
import { defaultPort, type HostPattern, matchesHost, type Origin, parsePattern, type Scheme } from "./hosts.ts";

type Destination = {
  readonly scheme: Scheme;
  readonly host: HostPattern;
  readonly port: number;
  readonly header: string;
};
export type Secret = { readonly name: string; readonly value: string; readonly to: readonly Destination[] };

export type SecretsOptions = {
  readonly secrets: Readonly<Record<string, SecretConfig>>;
  /** The value of a secret; undefined where there is none. */
  readonly secretOf: (name: string) => string | undefined;
};

export type Headers = readonly (readonly [name: string, value: string])[];

/** A shorter one is found in any text, and would be scrubbed from it. Characters. */
const VALUE_CHARS_MIN = 8;
const PLACEHOLDER = new RegExp(`${placeholderOf("")}([a-zA-Z0-9][a-zA-Z0-9_-]{0,31})`, "g");

function openSecret(name: string, { secrets, secretOf }: SecretsOptions): Secret {
  const config = Object.hasOwn(secrets, name) ? secrets[name] : undefined;
  if (config === undefined)
    throw new OsError("not_found", `There is no secret "${name}": declare it under "secrets" in the configuration.`, {
      data: { what: "secret", id: name },
    });
  const invalid = (what: string): OsError =>
    new OsError("config_invalid", `The secret "${name}" cannot be used: ${what}.`, {
      data: { issues: [`secrets.${name}: ${what}`] },
    });
  const value = secretOf(name);
  if (value === undefined || value === "") throw invalid(`the environment variable ${config.from} is not set`);
  if (value.length < VALUE_CHARS_MIN)
    throw invalid(
      `${config.from} holds fewer than ${VALUE_CHARS_MIN} characters, which cannot be told from other text`,
    );
  if (!/^[!-~]([ -~]*[!-~])?$/.test(value))
    throw invalid(`${config.from} holds what no header can: characters other than visible ASCII, or space at an end`);
  const to = config.to.map(({ scheme, host, port, header }) => {
    const pattern = parsePattern(host);
    if (pattern === undefined) throw invalid(`"${host}" is no host`);
    return { scheme, host: pattern, port: port ?? defaultPort(scheme), header: header.toLowerCase() };
  });
  return { name, value, to };
}

/** Rejects with `not_found` or `config_invalid`, naming what is missing. */
export const openSecrets = (names: readonly string[], options: SecretsOptions): readonly Secret[] =>
  [...new Set(names)].map((name) => openSecret(name, options));

const goesTo = (secret: Secret, { scheme, host, port }: Origin): readonly Destination[] =>
  secret.to.filter((to) => to.scheme === scheme && to.port === port && matchesHost(to.host, host));

/** Whether any of the secrets is registered for the origin. */
export const isRegistered = (secrets: readonly Secret[], origin: Origin): boolean =>
  secrets.some((secret) => goesTo(secret, origin).length > 0);

type Found = { readonly sent: Set<string>; readonly leaked: Set<string> };

function put(text: string, values: ReadonlyMap<string, string>, found: Found): string {
  return text.replaceAll(PLACEHOLDER, (placeholder, name: string) => {
    const value = values.get(name);
    (value === undefined ? found.leaked : found.sent).add(name);
    return value ?? placeholder;
  });
}

/** In `Basic` credentials the placeholder stands encoded. */
function putBasic(text: string, values: ReadonlyMap<string, string>, found: Found): string | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+=*)$/i.exec(text)?.[1];
  if (encoded === undefined) return undefined;
  const credentials = Buffer.from(encoded, "base64").toString("utf8");
  const replaced = put(credentials, values, found);
  return replaced === credentials ? text : `Basic ${Buffer.from(replaced, "utf8").toString("base64")}`;
}

/** Names of the secrets whose placeholders stand in a text, also percent-encoded. */
export function placeholdersIn(text: string): readonly string[] {
  const plain = text.replaceAll(/%3a/gi, ":").replaceAll(/%2d/gi, "-");
  return [...plain.matchAll(PLACEHOLDER)].map((match) => match[1] ?? "");
}

export type Substituted = {
  readonly headers: Headers;
  /** Names of the secrets that are sent. */
  readonly sent: readonly string[];
  /** Names of secrets whose placeholders stand where they are not replaced. */
  readonly leaked: readonly string[];
};

/** The headers as they leave for the origin. `known` are the secrets that exist: other names are only text. */
export function substitute(
  headers: Headers,
  { secrets, origin, known }: { secrets: readonly Secret[]; origin: Origin; known: (name: string) => boolean },
): Substituted {
  const found: Found = { sent: new Set(), leaked: new Set() };
  const here = secrets.flatMap((secret) => goesTo(secret, origin).map(({ header }) => ({ header, secret })));
  const replaced = headers.map(([name, value]): readonly [string, string] => {
    const values = new Map(
      here.flatMap(({ header, secret }) =>
        header === name.toLowerCase() ? [[secret.name, secret.value] as const] : [],
      ),
    );
    return [name, putBasic(value, values, found) ?? put(value, values, found)];
  });
  return { headers: replaced, sent: [...found.sent], leaked: [...found.leaked].filter(known) };
}
