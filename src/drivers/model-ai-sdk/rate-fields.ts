// The RateLimit fields of draft-ietf-httpapi-ratelimit-headers, in its three forms:
//
//   -08 to -10:  RateLimit: "minute";r=50;t=30          RateLimit-Policy: "minute";q=100;w=60
//   -07:         RateLimit: limit=100, remaining=50, reset=30          RateLimit-Policy: 100;w=60
//   up to -06:   RateLimit-Limit: 100, 100;w=60    RateLimit-Remaining: 50    RateLimit-Reset: 30    (also with X- before it)
//
// Boundary: takes the fields apart (RFC 9651, lists of items with parameters, read leniently) and puts together what
// belongs together. What the numbers are worth is looked at in rates.ts.

/** By lower-case name. */
export type ResponseHeaders = Readonly<Record<string, string | undefined>>;

/** A window as the headers have it: text, not looked at yet. */
export type SaidWindow = {
  readonly limit?: string | undefined;
  readonly remaining?: string | undefined;
  readonly reset?: string | undefined;
  /** `minute`: unless the reset says otherwise, as it is understood among those who do not say it. */
  readonly windowMs?: number | "minute" | undefined;
};

/** Of this much of a field is taken notice. */
const FIELD_CHARACTERS_MAX = 1_000;
const MEMBERS = /(?:"(?:[^"\\]|\\.)*"|[^",])+/g;
const PIECES = /(?:"(?:[^"\\]|\\.)*"|[^";])+/g;

type Member = { readonly name: string; readonly parameters: ReadonlyMap<string, string> };
type Policy = {
  readonly name: string;
  readonly limit: string;
  readonly windowMs: number | undefined;
  /** Of other units (`qu`: bytes, or calls at once) nothing can be said here. */
  readonly ofRequests: boolean;
};

/** Every window for requests that the fields name, in their order. */
export function draftWindows(headers: ResponseHeaders): SaidWindow[] {
  const policies = policiesOf(headers);
  const current = membersOf(headers["ratelimit"]);
  const windows =
    current.length === 0
      ? separate(headers, policies)
      : current.some(({ parameters }) => parameters.has("r"))
        ? current.flatMap((member) => named(member, policies))
        : [dictionary(current, policies)];
  return windows.length > 0 ? windows : policies.filter(({ ofRequests }) => ofRequests);
}

function policiesOf(headers: ResponseHeaders): Policy[] {
  const fields = ["ratelimit-policy", "ratelimit-limit", "x-ratelimit-limit"];
  return fields
    .flatMap((field) => membersOf(headers[field]))
    .map(({ name, parameters }) => ({
      name,
      limit: parameters.get("q") ?? name,
      windowMs: spanMs(Number(parameters.get("w") ?? parameters.get("window") ?? Number.NaN)),
      ofRequests: /^requests?$/.test(parameters.get("qu") ?? "requests"),
    }));
}

/** At most a day: a quota for a month is no rate to keep to, and what is left of it is told all the same. */
const spanMs = (seconds: number): number | undefined =>
  seconds > 0 && seconds <= 86_400 ? seconds * 1_000 : undefined;

function named({ name, parameters }: Member, policies: readonly Policy[]): SaidWindow[] {
  const policy = policies.find((one) => one.name === name);
  if (policy?.ofRequests === false) return [];
  const { limit, windowMs } = policy ?? {};
  return [{ limit, remaining: parameters.get("r"), reset: parameters.get("t"), windowMs }];
}

function dictionary(members: readonly Member[], policies: readonly Policy[]): SaidWindow {
  const values = new Map(members.map(({ name }) => pair(name)));
  const limit = values.get("limit");
  return {
    limit,
    remaining: values.get("remaining"),
    reset: values.get("reset"),
    windowMs: windowFor(limit, policies),
  };
}

function separate(headers: ResponseHeaders, policies: readonly Policy[]): SaidWindow[] {
  return ["ratelimit", "x-ratelimit"].flatMap((prefix) => {
    const limit = membersOf(headers[`${prefix}-limit`])[0]?.name;
    const remaining = headers[`${prefix}-remaining`];
    if (limit === undefined && remaining === undefined) return [];
    return [{ limit, remaining, reset: headers[`${prefix}-reset`], windowMs: windowFor(limit, policies) }];
  });
}

const windowFor = (limit: string | undefined, policies: readonly Policy[]): number | undefined =>
  policies.find((policy) => policy.limit === limit && policy.windowMs !== undefined)?.windowMs;

function membersOf(field: string | undefined): Member[] {
  const text = field?.slice(0, FIELD_CHARACTERS_MAX) ?? "";
  return [...text.matchAll(MEMBERS)].flatMap(([member]) => {
    const [name, ...parameters] = (member.match(PIECES) ?? []).map((piece) => piece.trim());
    if (name === undefined || name === "") return [];
    return [{ name: unquoted(name), parameters: new Map(parameters.map(pair)) }];
  });
}

function pair(text: string): [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at).trim().toLowerCase(), unquoted(text.slice(at + 1).trim())];
}

const unquoted = (text: string): string => text.replace(/^"(.*)"$/, "$1");
