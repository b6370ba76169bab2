// Paths in the form in which they are ruled on and sent, so that the far side cannot read another one out of them.
//
// Invariants:
//   P1. What was ruled on by its path is sent in the very form that was ruled on.
//   P2. What servers are known to read in more than one way is ruled on by no path: it is refused there.
//   P3. An encoded slash, which one server takes for a slash and another for a character of a name, may stand where both readings begin alike:
//       between names, and not beside another slash or a dot segment. What a rule's path begins with is compared as it is written.

export type NormalPath =
  | { readonly kind: "path"; readonly path: string }
  /** Servers may read it in more than one way. */
  | { readonly kind: "ambiguous"; readonly what: string };

const UNRESERVED = /[A-Za-z0-9\-._~]/;

/** Beginning with a slash, of visible ASCII, without a fragment, each `%` before two hexadecimal digits. */
export const isRequestPath = (path: string): boolean =>
  /^\/[!-~]*$/.test(path) && !path.includes("#") && !/%(?![0-9a-fA-F]{2})/.test(path);

/** Percent-encodings of what needs none are undone; the others are in capitals. */
const decodeUnreserved = (text: string): string =>
  text.replaceAll(/%([0-9a-fA-F]{2})/g, (whole, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return UNRESERVED.test(character) ? character : whole.toUpperCase();
  });

const AMBIGUOUS: readonly (readonly [RegExp, string])[] = [
  [/\\|%5C/, "a backslash, which some servers take for a slash"],
  [/%[01][0-9A-F]|%7F/, "an encoded control character"],
  [/%25(2[EFef]|5[Cc])/, "a dot or slash that is encoded twice"],
  [/(^|\/)\.{1,2}(;|%3B)/, "a dot segment with a parameter"],
  [/%C[01]|%F[5-9A-F]|%E0%[89]|%F0%8/, "bytes that are no UTF-8"],
];

/** The path without its query, dot segments resolved and empty segments left out. Expects what `isRequestPath` accepts. */
export function normalPath(path: string): NormalPath {
  const decoded = decodeUnreserved(path);
  const asSlashes = decoded.replaceAll("%2F", "/");
  const found = AMBIGUOUS.find(([pattern]) => pattern.test(asSlashes));
  if (found !== undefined) return { kind: "ambiguous", what: found[1] };
  const kept: string[] = [];
  const segments = decoded.split("/").slice(1);
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== "." && segment !== "") kept.push(segment);
  }
  if (kept.some(isSlippery)) return { kind: "ambiguous", what: "an encoded slash beside a slash or a dot segment" };
  const last = segments.at(-1);
  const folder = kept.length > 0 && (last === "" || last === "." || last === "..");
  return { kind: "path", path: `/${kept.join("/")}${folder ? "/" : ""}` };
}

/** Whether a segment with encoded slashes could lead elsewhere where they are taken for slashes. */
const isSlippery = (segment: string): boolean =>
  segment.includes("%2F") && segment.split("%2F").some((part) => part === "" || part === "." || part === "..");

/** `/v1` begins `/v1` and `/v1/x`, not `/v10`; `/v1/` begins only what is below. */
export const beginsPath = (prefix: string, path: string): boolean =>
  path === prefix || path.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
