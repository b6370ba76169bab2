// Headers by which servers are asked for another request than the first line says: known here once, for all who judge requests.

/** What servers that hand headers on as variables (CGI and its kin) make of a name: to them `_` and `-` are one. */
export const asVariable = (name: string): string => name.toLowerCase().replaceAll("_", "-");

const METHOD_HEADERS: ReadonlySet<string> = new Set(["x-http-method-override", "x-http-method", "x-method-override"]);
const PATH_HEADERS: ReadonlySet<string> = new Set(["x-original-url", "x-rewrite-url"]);

/** Whether servers are known to take the method from a header of this name. */
export const namesMethod = (name: string): boolean => METHOD_HEADERS.has(asVariable(name));

/** The same of the path. */
export const namesPath = (name: string): boolean => PATH_HEADERS.has(asVariable(name));
