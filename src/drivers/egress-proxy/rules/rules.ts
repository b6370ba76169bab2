// The rules of a door: which way out they allow, and in words why another one is refused.
//
// Boundary: pure. Knows nothing of addresses, connections or secrets.
//
// Invariants:
//   R1. What no rule allows is refused.
//   R2. Methods and paths of a rule hold together with its host, port and scheme: never some of one rule and some of another.
import { OsError } from "../../../abi/errors.ts";
import type { EgressRule } from "../../../abi/isolation.ts";
import {
  defaultPort,
  type HostPattern,
  matchesHost,
  type Origin,
  originText,
  parsePattern,
  type Scheme,
} from "./hosts.ts";
import { beginsPath, isRequestPath, normalPath } from "./paths.ts";

export type Rule = {
  readonly scheme: Scheme;
  readonly host: HostPattern;
  readonly port: number;
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly string[] | undefined;
  readonly tunnel: boolean;
  readonly allowPrivate: boolean;
  /** As it stands in events and answers. */
  readonly text: string;
};

/** Path and query as they came. */
export type Asked = Origin & {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** What its headers ask servers to take in place of its method, in capitals; and the header that names another path, if one does. */
  readonly overrides: { readonly methods: readonly string[]; readonly path: string | undefined };
};

export type Refusal = {
  /** What stands in the event as the rule: one word. */
  readonly rule: "none" | "method" | "path" | "form" | "address" | "limit" | "server_name";
  readonly message: string;
};
export type Decision =
  | { readonly kind: "allow"; readonly rule: Rule; readonly path: string }
  | ({ readonly kind: "deny" } & Refusal);

function textOf({ scheme, host, port, methods, paths, tunnel, allowPrivate }: EgressRule): string {
  const words = [
    `${scheme}://${host}${port === undefined ? "" : `:${port}`}`,
    ...(methods === undefined ? [] : [methods.join(",")]),
    ...(paths === undefined ? [] : [paths.join(",")]),
    ...(tunnel ? ["tunnel"] : []),
    ...(allowPrivate ? ["private"] : []),
  ];
  return words.join(" ");
}

/** Rejects with `invalid_argument`, naming the rule, what is no host or no path. */
export function compileRules(rules: readonly EgressRule[]): readonly Rule[] {
  return rules.map((rule, at) => {
    const wrong = (what: string): OsError =>
      new OsError("invalid_argument", `Rule ${at} of the way out (${textOf(rule)}) does not hold: ${what}.`, {
        data: { issues: [`egress.${at}: ${what}`] },
      });
    const host = parsePattern(rule.host);
    if (host === undefined)
      throw wrong(`"${rule.host}" is no host; write a name, *.name for all names below it, or an address`);
    const paths = rule.paths?.map((path) => {
      const normal = isRequestPath(path) ? normalPath(path) : undefined;
      if (normal?.kind !== "path" || path.includes("?"))
        throw wrong(
          `"${path}" is no path that can be ruled by; write it without a query, and so that it can be read in one way alone`,
        );
      return normal.path;
    });
    const { scheme, methods, tunnel, allowPrivate } = rule;
    const port = rule.port ?? defaultPort(scheme);
    return { scheme, host, port, methods, paths, tunnel, allowPrivate, text: textOf(rule) };
  });
}

/** The rules for a host and port, whatever their scheme: what a CONNECT can be judged by. */
export const rulesFor = (rules: readonly Rule[], host: string, port: number): readonly Rule[] =>
  rules.filter((rule) => rule.port === port && matchesHost(rule.host, host));

export function refuse(rule: Refusal["rule"], message: string): Decision & { kind: "deny" } {
  return { kind: "deny", rule, message };
}

export const noRule = (where: string): Decision & { kind: "deny" } =>
  refuse("none", `No rule allows ${where}. An operator can add one under "egress" of the agent or source.`);

/** Whether a request may leave, and the path that it leaves with. A rule for tunnels alone allows none. */
export function decide(rules: readonly Rule[], asked: Asked): Decision {
  const { scheme, host, port, method, path, overrides } = asked;
  const here = rulesFor(rules, host, port).filter((rule) => rule.scheme === scheme);
  if (here.length === 0) return noRule(originText(asked));
  const seen = here.filter(({ tunnel }) => !tunnel);
  if (seen.length === 0)
    return refuse(
      "none",
      `The rule for ${originText(asked)} allows a tunnel (CONNECT) and nothing that is looked into.`,
    );
  const meant = [method, ...overrides.methods];
  const methodFits = seen.filter(
    ({ methods }) => methods === undefined || meant.every((each) => methods.includes(each)),
  );
  if (methodFits.length === 0)
    return refuse(
      "method",
      `The rules for ${originText(asked)} allow ${[...new Set(seen.flatMap(({ methods }) => methods ?? []))].join(", ")}, and this is ${meant.join(", by a header ")}.`,
    );
  const free = methodFits.find(({ paths }) => paths === undefined);
  if (free !== undefined) return { kind: "allow", rule: free, path };
  if (overrides.path !== undefined)
    return refuse(
      "path",
      `The rules for ${originText(asked)} go by paths, and some servers take another one from the header ${overrides.path}. Leave it out.`,
    );
  const normal = normalPath(path);
  if (normal.kind === "ambiguous")
    return refuse(
      "path",
      `The rules for ${originText(asked)} go by paths, and this path holds ${normal.what}, so that it could be read as another. Write it plainly.`,
    );
  const rule = methodFits.find(({ paths }) => paths?.some((prefix) => beginsPath(prefix, normal.path)));
  if (rule !== undefined) return { kind: "allow", rule, path: normal.path };
  const allowed = methodFits.flatMap(({ paths }) => paths ?? []).join(", ");
  return refuse("path", `The rules for ${method} to ${originText(asked)} allow paths that begin with ${allowed} only.`);
}
