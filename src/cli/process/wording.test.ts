// Goal: events say where a request went or wanted to go. Method: payloads as the way out writes them.
import { describe, expect, it } from "vitest";
import { egressRequestText } from "./wording.ts";

describe("where a request wants to go", () => {
  it.each([
    [{ method: "GET", scheme: "https", host: "a.test", port: 443, path: "/x?y" }, "GET https://a.test/x?y"],
    [{ method: "GET", scheme: "http", host: "a.test", port: 8080, path: "/" }, "GET http://a.test:8080/"],
    [{ method: "CONNECT", host: "db.test", port: 5432 }, "CONNECT db.test:5432"],
    [{ method: "GET", host: "", port: 0, path: "http://a\nb" }, "GET http://a b"],
    [
      { method: "GET", scheme: "https", host: "a.test", port: 443, path: "/", others: true },
      "GET https://a.test/ and others",
    ],
  ])("%j", (request, text) => {
    expect(egressRequestText(request)).toBe(text);
  });
});
