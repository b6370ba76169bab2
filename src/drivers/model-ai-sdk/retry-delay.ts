// How long a provider asks to be left alone: the headers `retry-after-ms` and `retry-after`, or Google's RetryInfo in the body.

const HTTP_DATE = /^\s*[a-z]{3,9},? /i;

/** Milliseconds from now, never negative; undefined if the provider named no delay. */
export function retryDelayMs(
  headers: Readonly<Record<string, string>>,
  context: { readonly body?: string | undefined; readonly nowMs: number },
): number | undefined {
  const ms = amount(headers["retry-after-ms"]);
  if (ms !== undefined) return Math.round(ms);
  const after = headers["retry-after"];
  const seconds = amount(after) ?? amount(/"retryDelay":\s*"([\d.]+)s"/.exec(context.body ?? "")?.[1]);
  if (seconds !== undefined) return Math.round(seconds * 1000);
  // Date.parse alone would make a date of a stray number too.
  const at = HTTP_DATE.test(after ?? "") ? Date.parse(after ?? "") : Number.NaN;
  if (Number.isNaN(at)) return undefined;
  // The server's own clock, where it says what that shows, so that a wrong one here does not lengthen the wait.
  const serverNow = Date.parse(headers["date"] ?? "");
  return Math.max(0, at - (Number.isNaN(serverNow) ? context.nowMs : serverNow));
}

function amount(text: string | undefined): number | undefined {
  if (text === undefined || !/^\s*\d+(\.\d+)?\s*$/.test(text)) return undefined;
  const number = Number(text);
  return Number.isSafeInteger(Math.round(number * 1000)) ? number : undefined;
}
