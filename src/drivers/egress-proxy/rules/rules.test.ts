// Goal: rules mean what the contract says, and no way of writing a host or a path gets around them.
// Method: the parts alone, over tables of what is allowed and what is not, and over random paths against a plain reading of them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { egressRuleSchema } from "../../../abi/isolation.ts";
import { addressesOf, refusedAddress, systemOwn } from "./addresses.ts";
import { normalHost, parseAuthority } from "./hosts.ts";
import { beginsPath, isRequestPath, normalPath } from "./paths.ts";
import { compileRules, decide } from "./rules.ts";
import { readRequest } from "../door/headers.ts";
import { modeOf } from "../door/tunnel.ts";

type RuleInput = Parameters<typeof egressRuleSchema.parse>[0];
const rulesOf = (...rules: RuleInput[]) => compileRules(rules.map((rule) => egressRuleSchema.parse(rule)));

function asked(method: string, address: string) {
  const { protocol, hostname, port } = new URL(address);
  const scheme = protocol === "http:" ? "http" : "https";
  const path = /^\w+:\/\/[^/?]*([^?]*)/.exec(address)?.[1] ?? "/";
  return {
    scheme,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port) || (scheme === "http" ? 80 : 443),
    method,
    path: path === "" ? "/" : path,
    query: "",
    overrides: { methods: [], path: undefined },
  } as const;
}

describe("rules", () => {
  const rules = rulesOf(
    { host: "api.example.com", methods: ["GET"], paths: ["/v1", "/open/"] },
    { host: "api.example.com", methods: ["POST"], paths: ["/v2"] },
    { host: "*.files.example.com", port: 8443 },
    { host: "plain.example.com", scheme: "http" },
    { host: "2606:4700::1111" },
    { host: "münchen.example.com" },
    { host: "tunnel.example.com", tunnel: true },
  );
  const table: [allowed: boolean, method: string, address: string][] = [
    [true, "GET", "https://api.example.com/v1"],
    [true, "GET", "https://api.example.com/v1/x"],
    [true, "GET", "https://api.example.com/v1/"],
    [false, "GET", "https://api.example.com/v10"],
    [true, "GET", "https://api.example.com/open/x"],
    [false, "GET", "https://api.example.com/open"],
    [false, "GET", "https://api.example.com/V1"],
    [false, "POST", "https://api.example.com/v1"],
    [true, "POST", "https://api.example.com/v2"],
    [false, "GET", "https://api.example.com/v2"],
    [false, "HEAD", "https://api.example.com/v1"],
    [false, "GET", "http://api.example.com/v1"],
    [false, "GET", "https://api.example.com:444/v1"],
    [true, "DELETE", "https://x.files.example.com:8443/any"],
    [true, "GET", "https://x.y.files.example.com:8443/"],
    [false, "GET", "https://files.example.com:8443/"],
    [false, "GET", "https://xfiles.example.com:8443/"],
    [false, "GET", "https://x.files.example.com/"],
    [false, "GET", "https://x.files.example.com.evil.example:8443/"],
    [true, "GET", "http://plain.example.com/"],
    [false, "GET", "https://plain.example.com/"],
    [true, "GET", "https://[2606:4700:0:0::1111]/"],
    [false, "GET", "https://[2606:4700::1112]/"],
    [true, "GET", "https://xn--mnchen-3ya.example.com/"],
    [false, "GET", "https://munchen.example.com/"],
    [false, "GET", "https://tunnel.example.com/"],
    [true, "GET", "https://api.example.com/v1/%2e%2e/v1/x"],
    [false, "GET", "https://api.example.com/v1/../v3"],
    [false, "GET", "https://api.example.com/v1/%2e%2e/v3"],
    [false, "GET", "https://api.example.com/v1/.%2E/v3"],
    [true, "GET", "https://api.example.com//v1//x"],
    [false, "GET", "https://api.example.com//v3/../v10"],
    [true, "GET", "https://api.example.com/v1/projects/acme%2Fshop/issues"],
    [true, "GET", "https://api.example.com/v1/@acme%2fshop"],
    [true, "GET", "https://api.example.com/v1/a%2Fb/../c"],
    // Whoever takes it for a slash would find another beginning, or could be led back over it.
    [false, "GET", "https://api.example.com/v1%2Fx"],
    [false, "GET", "https://api.example.com/v1%2f..%2fv3"],
    [false, "GET", "https://api.example.com/v1/..%2Fv3"],
    [false, "GET", "https://api.example.com/v1/a%2F..%2F..%2Fv3"],
    [false, "GET", "https://api.example.com/v1/a%2F%2e%2E%2f..%2Fv3"],
    [false, "GET", "https://api.example.com/v1/a%2F.%2Fb"],
    [false, "GET", "https://api.example.com/v1/a%2F..;x%2F..;%2Fv3"],
    [false, "GET", "https://api.example.com/v1/%2Fv3"],
    [false, "GET", "https://api.example.com/v1/a%2F"],
    [false, "GET", "https://api.example.com/v1/a%2F/b"],
    [false, "GET", "https://api.example.com/v1/a%252Fb"],
    [false, "GET", "https://api.example.com/v1/a%2F..%5c..%2Fv3"],
    [false, "GET", "https://api.example.com/v1/%252e%252e/v3"],
    [false, "GET", "https://api.example.com/v1/..;/v3"],
    [false, "GET", "https://api.example.com/v1/..%3b/v3"],
    [false, "GET", "https://api.example.com/v1/%5c..%5cv3"],
    [false, "GET", "https://api.example.com/v1/%00"],
    [false, "GET", "https://api.example.com/v1/%c0%af.."],
    [true, "GET", "https://api.example.com/%76%31/x"],
    [true, "GET", "https://api.example.com/v1/caf%C3%A9"],
  ];
  for (const [allowed, method, address] of table)
    it(`${allowed ? "allow" : "refuse"} ${method} ${address}`, () => {
      expect(decide(rules, asked(method, address)).kind).toBe(allowed ? "allow" : "deny");
    });

  it("hold for what servers take from headers in place of the first line", () => {
    const told = (method: string, path: string, headers: string[]): string => {
      const read = readRequest({
        url: `https://api.example.com${path}`,
        method,
        rawHeaders: ["Host", "api.example.com", ...headers],
        httpVersion: "1.1",
      });
      const decision = read.kind === "asked" ? decide(rules, read.asked) : read;
      return decision.kind === "deny" ? decision.rule : decision.kind;
    };
    for (const name of ["X-HTTP-Method-Override", "x-http-method", "X_Method_Override", "X_HTTP_METHOD_OVERRIDE"]) {
      expect(told("POST", "/v2", [name, "DELETE"])).toBe("method");
      expect(told("POST", "/v2", [name, "POST, delete"])).toBe("method");
      // Another rule allows GET, and not here.
      expect(told("POST", "/v2", [name, "get"])).toBe("method");
      expect(told("POST", "/v2", [name, "post"])).toBe("allow");
    }
    for (const name of ["X-Original-URL", "x-rewrite-url", "X_Original_URL"])
      expect(told("GET", "/v1", [name, "/admin"])).toBe("path");
    expect(told("GET", "/v1", ["X-Other", "/admin"])).toBe("allow");
  });

  it("send a path in the form in which it was ruled on, and as it came where no path was ruled on", () => {
    expect(decide(rules, asked("GET", "https://api.example.com//v1/./a/../%62"))).toMatchObject({ path: "/v1/b" });
    expect(decide(rules, asked("GET", "https://x.files.example.com:8443//a/../%62%2f"))).toMatchObject({
      path: "//a/../%62%2f",
    });
  });

  it("go by encoded slashes as they are written, in rules and requests alike, and send them so", () => {
    const project = rulesOf({ host: "a", paths: ["/projects/acme%2fshop"] });
    const at = (path: string): object => decide(project, asked("GET", `https://a${path}`));
    expect(at("/projects/acme%2Fshop/issues")).toMatchObject({ kind: "allow", path: "/projects/acme%2Fshop/issues" });
    expect(at("/projects/acme%2fshop")).toMatchObject({ kind: "allow", path: "/projects/acme%2Fshop" });
    for (const path of ["/projects/acme/shop", "/projects/acme%2Fshop2", "/projects/acme%2Fshop%2Fx", "/projects/acme"])
      expect([path, at(path)]).toMatchObject([path, { kind: "deny", rule: "path" }]);
  });

  it("say what is wrong with a rule that names no host or no path", () => {
    for (const rule of [
      { host: "*" },
      { host: "a b" },
      { host: "https://x" },
      { host: "*.10.0.0.1" },
      { host: "a:80" },
      { host: "a", paths: ["/a%2f..%2fb"] },
      { host: "a", paths: ["/a?b"] },
    ])
      expect(() => rulesOf(rule)).toThrow(/Rule 0 of the way out/);
  });

  it("decide how a tunnel is treated: unseen only where a rule says so, sealed only where nothing is to be seen", () => {
    const place = { host: "a.test", port: 443 };
    const secret = {
      name: "s",
      value: "v",
      to: [{ scheme: "https", host: { kind: "is", name: "a.test" }, port: 443, header: "x" }],
    } as const;
    const mode = (secrets: readonly (typeof secret)[], ...rules_: RuleInput[]) =>
      modeOf({ rules: rulesOf(...rules_), secrets }, place)?.kind;
    expect(mode([], { host: "b.test" })).toBeUndefined();
    expect(mode([], { host: "a.test" })).toBe("sealed");
    expect(mode([secret], { host: "a.test" })).toBe("open");
    expect(mode([], { host: "a.test" }, { host: "*.test", methods: ["GET"] })).toBe("open");
    expect(mode([], { host: "a.test" }, { host: "a.test", paths: ["/x"] })).toBe("open");
    expect(mode([], { host: "a.test" }, { host: "a.test", scheme: "http", port: 443 })).toBe("open");
    expect(mode([secret], { host: "a.test", tunnel: true })).toBe("tunnel");
  });
});

describe("hosts", () => {
  it("have one form", () => {
    const table: [string, string | undefined][] = [
      ["API.Example.COM", "api.example.com"],
      ["api.example.com.", "api.example.com"],
      ["api.example.com..", undefined],
      ["0x7f.1", "127.0.0.1"],
      ["2130706433", "127.0.0.1"],
      ["0177.0.0.1", "127.0.0.1"],
      ["127.1", "127.0.0.1"],
      ["１２７.0.0.1", "127.0.0.1"],
      ["[::1]", "::1"],
      ["::FFFF:127.0.0.1", "::ffff:7f00:1"],
      ["[fe80::1%25eth0]", undefined],
      ["ex%61mple.com", undefined],
      ["bücher.example", "xn--bcher-kva.example"],
      ["a_b.example", "a_b.example"],
      ["user@host", undefined],
      ["host:80", undefined],
      ["", undefined],
      [".", undefined],
      ["a b", undefined],
      ["a\tb", undefined],
      ["a\u3002b", "a.b"],
    ];
    for (const [text, host] of table) expect([text, normalHost(text)]).toEqual([text, host]);
  });

  it("stand with a port that is one", () => {
    expect(parseAuthority("a.test:443")).toEqual({ host: "a.test", port: 443 });
    expect(parseAuthority("[::1]:8080")).toEqual({ host: "::1", port: 8080 });
    for (const text of ["a:0", "a:65536", "a:", "a:1:2", "::1", "a:80a", "[::1", "a.test:443/", "u@a:80"])
      expect([text, parseAuthority(text)]).toEqual([text, undefined]);
  });
});

describe("paths", () => {
  it("are resolved as a careful reader would, whatever their segments", () => {
    const segment = fc.constantFrom("", ".", "..", "a", "%2e", "%2E%2e", "v1", "%61");
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 8 }), (segments) => {
        const path = `/${segments.join("/")}`;
        const normal = normalPath(path);
        if (normal.kind !== "path") return;
        // The platform resolves dot segments, encoded or not; it keeps empty ones.
        const joined = segments.filter((part, at) => part !== "" || at === segments.length - 1).join("/");
        const reader = new URL(`http://x/${joined}`).pathname.replaceAll("%61", "a").replaceAll(/\/+/g, "/");
        expect(normal.path).toBe(reader);
        expect(normalPath(normal.path)).toEqual(normal);
      }),
    );
  });

  it("are visible ASCII without a fragment", () => {
    for (const path of ["/", "/a?b=%20", "/~x;y=1,2"]) expect([path, isRequestPath(path)]).toEqual([path, true]);
    for (const path of ["", "a", "/a b", "/a#b", "/é", "/%", "/%2", "/%zz", "/\u0000"])
      expect([path, isRequestPath(path)]).toEqual([path, false]);
    expect(beginsPath("/", "/any")).toBe(true);
  });
});

describe("addresses", () => {
  it("are dialled only if they are public, in whatever form they are written", () => {
    const refused = [
      "127.0.0.1",
      "127.9.9.9",
      "0.0.0.0",
      "10.1.2.3",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.1.1",
      "169.254.169.254",
      "168.63.129.16",
      "100.64.0.1",
      "192.0.0.8",
      "192.0.2.1",
      "198.18.0.1",
      "198.51.100.1",
      "203.0.113.1",
      "224.0.0.1",
      "240.0.0.1",
      "255.255.255.255",
      "192.88.99.1",
      "::",
      "::1",
      "::7f00:1",
      "::ffff:127.0.0.1",
      "::ffff:8.8.8.8",
      "::ffff:0:7f00:1",
      "64:ff9b::7f00:1",
      "64:ff9b:1::1",
      "2002:7f00:1::",
      "2001::1",
      "2001:db8::1",
      "3fff::1",
      "fc00::1",
      "fd00:ec2::254",
      "fe80::1",
      "fe80::1%eth0",
      "fec0::1",
      "ff02::1",
      "100::1",
      "5f00::1",
      "4000::1",
      "not an address",
    ];
    for (const address of refused)
      expect([address, refusedAddress(address, false)]).toEqual([address, expect.any(String)]);
    for (const address of ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
      expect([address, refusedAddress(address, false)]).toEqual([address, undefined]);
  });

  it("may be private where the rule says so, and even then reach somebody in particular", () => {
    for (const address of ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1", "8.8.8.8"])
      expect([address, refusedAddress(address, true)]).toEqual([address, undefined]);
    for (const address of [
      "0.0.0.0",
      "::",
      "224.0.0.1",
      "255.255.255.255",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
      "::ffff:224.0.0.1",
    ])
      expect([address, refusedAddress(address, true)]).toEqual([address, expect.any(String)]);
  });

  it("are judged all of them, so that one bad one among good ones is not dialled", async () => {
    const both = async (): Promise<string[]> => ["8.8.8.8", "127.0.0.1"];
    expect(await addressesOf("a.test", { allowPrivate: false }, { resolve: both, own: () => [] })).toEqual({
      kind: "refused",
      range: "loopback",
    });
    expect(await addressesOf("a.test", { allowPrivate: false }, { resolve: async () => [], own: () => [] })).toEqual({
      kind: "unknown_host",
    });
    expect(
      await addressesOf(
        "a.test",
        { allowPrivate: false },
        { resolve: () => Promise.reject(new Error("ENOTFOUND")), own: () => [] },
      ),
    ).toEqual({
      kind: "unknown_host",
    });
    expect(await addressesOf("10.0.0.1", { allowPrivate: false }, { resolve: both, own: () => [] })).toEqual({
      kind: "refused",
      range: "private",
    });
  });

  it("are not this machine's own, public or not, unless the rule allows private ones", async () => {
    const names = {
      resolve: async () => ["1.1.1.1", "2606:4700::1111"],
      own: () => ["127.0.0.1", "2606:4700::1111"],
    };
    expect(await addressesOf("a.test", { allowPrivate: false }, names)).toEqual({ kind: "refused", range: "own" });
    expect(await addressesOf("2606:4700::1111", { allowPrivate: false }, names)).toEqual({
      kind: "refused",
      range: "own",
    });
    expect(await addressesOf("a.test", { allowPrivate: true }, names)).toMatchObject({ kind: "found" });
    expect(await addressesOf("8.8.8.8", { allowPrivate: false }, names)).toMatchObject({ kind: "found" });
    expect(systemOwn()).toContain("127.0.0.1");
  });
});
