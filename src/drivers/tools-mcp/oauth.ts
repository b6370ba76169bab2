// How Reeve proves itself to an MCP server over HTTP that asks for it: OAuth 2.1 by the library, as the protocol's revision
// 2026-07-28 has it (metadata of resource and authorisation server, PKCE, resource indicators, issuers checked).
//
// Boundary: asks nobody. A person logs in by `login`, in two steps with a browser between them; until then, and when a refresh is
// refused, the error says so. A machine has a client of its own in the configuration and needs no person.
//
// Invariants:
//   A1. A token goes to the address alone for which it was got; a client and its secret to the issuer alone that they are for.
//   A2. A browser's answer counts once, within its time, with the state that was sent along, from the issuer that was asked.
//   A3. The configured headers of a source go to its server, and to no authorisation server.
//   A4. At most one refresh is under way: tokens that may be used once are not used twice.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  auth,
  type AuthOptions,
  type AuthProvider,
  computeScopeUnion,
  extractWWWAuthenticateParams,
  type FetchLike,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  validateAuthorizationResponseIssuer,
} from "@modelcontextprotocol/client";
import { OsError } from "../../abi/errors.ts";
import type { Login, LoginStep } from "../../ports/tools.ts";
import { ownWord, plain, textOf, unavailable } from "./faults.ts";
import { LoginFile } from "./login-file.ts";
import type { HttpConfig, WayOut } from "./way-out.ts";

export type OAuthOptions = {
  readonly source: string;
  readonly config: HttpConfig;
  /** Where logins are kept. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly wayOut: WayOut;
};

/** A login that waits for its browser. */
type Pending = {
  readonly redirect: string;
  readonly state: string;
  readonly sinceMs: number;
  verifier?: string;
  address?: URL;
  discovery?: OAuthDiscoveryState;
  client?: StoredOAuthClientInformation;
};

const PENDING_MS_MAX = 15 * 60_000;
const PENDING_MAX = 8;

export class OAuth {
  readonly #options: OAuthOptions;
  readonly #file: LoginFile;
  readonly #pending = new Map<string, Pending>();
  #renewing: Promise<void> | undefined;

  constructor(options: OAuthOptions) {
    this.#options = options;
    this.#file = new LoginFile(join(options.folder, `${options.source}.json`), options.config.url);
  }

  /** What the transport asks for tokens. Rejects with `tool_unavailable` where somebody has to log in. */
  readonly provider: AuthProvider = {
    token: async () => this.#file.read().tokens?.access_token,
    onUnauthorized: async ({ response }) => {
      const { scope, resourceMetadataUrl } = extractWWWAuthenticateParams(response);
      await this.#renew(scope, resourceMetadataUrl);
    },
  };

  /** The server asks for more than was granted. A machine gets it and may try again; for a person the error says what to do. */
  async widen(scope: string | undefined, resourceMetadataUrl: URL | undefined): Promise<void> {
    const kept = this.#file.read();
    const union = computeScopeUnion(this.#options.config.oauth.scope, kept.tokens?.scope, scope);
    if (this.#options.config.oauth.grant === "client_credentials") return this.#renew(union, resourceMetadataUrl);
    this.#file.write({ ...kept, ...(union !== undefined && { wantedScope: union }) });
    throw this.#needsLogin(
      `asks for more rights than were granted${scope === undefined ? "" : ` (${plain(scope, 200)})`}`,
    );
  }

  async login({ redirect, answer }: Login): Promise<LoginStep> {
    const { grant, scope: wanted } = this.#options.config.oauth;
    if (grant === "client_credentials") {
      const { scope, resourceMetadataUrl } = await this.#challenge();
      await this.#renew(wanted ?? scope, resourceMetadataUrl);
      return { address: null };
    }
    if (answer === undefined) return { address: (await this.#begin(redirect)).href };
    await this.#end(redirect, new URLSearchParams(answer));
    return { address: null };
  }

  logout(): boolean {
    this.#pending.clear();
    return this.#file.remove();
  }

  /** One run of the library's. It does not always tell what kept it from asking, so that is kept here: thrown if the run fails. */
  async #run(provider: OAuthClientProvider, options: Omit<AuthOptions, "serverUrl" | "fetchFn">): Promise<void> {
    const { config, wayOut } = this.#options;
    let refusal: OsError | undefined;
    const fetchFn: FetchLike = async (url, init) => {
      try {
        // An authorisation server that does not answer has as long as a server to start.
        return await wayOut.fetchForLogin(url, { ...init, signal: AbortSignal.timeout(config.startTimeoutMs) });
      } catch (error) {
        refusal ??= ownWord(error);
        throw error;
      }
    };
    try {
      await auth(provider, { ...options, serverUrl: config.url, fetchFn });
    } catch (error) {
      throw refusal ?? error;
    }
  }

  /** What the server says to somebody whom it does not know: which rights he needs, and where its metadata stand. */
  async #challenge(): Promise<{ readonly scope?: string; readonly resourceMetadataUrl?: URL }> {
    const { source, wayOut, config } = this.#options;
    const { url, headers, startTimeoutMs } = config;
    try {
      const response = await wayOut.fetchForLogin(url, {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json, text/event-stream", ...headers },
        body: JSON.stringify({ jsonrpc: "2.0", id: 0, method: "server/discover" }),
        signal: AbortSignal.timeout(startTimeoutMs),
      });
      await response.body?.cancel();
      return response.status === 401 ? extractWWWAuthenticateParams(response) : {};
    } catch (error) {
      const remedy = "Check that it answers there.";
      throw ownWord(error) ?? unavailable(source, `could not be asked for its login: ${textOf(error)}`, remedy, error);
    }
  }

  #needsLogin(why: string): OsError {
    const { source } = this.#options;
    return unavailable(source, why, `Log in with \`reeve tools login ${source}\`.`);
  }

  /** New tokens without a person, or the error that one is needed. Whoever comes meanwhile waits for the same. */
  async #renew(scope: string | undefined, resourceMetadataUrl: URL | undefined): Promise<void> {
    this.#renewing ??= this.#renewed(scope, resourceMetadataUrl).finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #renewed(scope: string | undefined, resourceMetadataUrl: URL | undefined): Promise<void> {
    const { source, config } = this.#options;
    const isMachine = config.oauth.grant === "client_credentials";
    if (!isMachine && this.#file.read().tokens?.refresh_token === undefined)
      throw this.#needsLogin("asks who calls (HTTP 401), and nobody has logged in there");
    try {
      await this.#run(isMachine ? this.#machine() : this.#quiet(), {
        ...(scope !== undefined && { scope }),
        ...(resourceMetadataUrl && { resourceMetadataUrl }),
      });
    } catch (error) {
      if (OsError.is(error)) throw error;
      const remedy = isMachine
        ? `Check tools.${source}.oauth in the configuration.`
        : `Log in again with \`reeve tools login ${source}\`.`;
      throw unavailable(source, `gave no new token: ${textOf(error)}`, remedy, error);
    }
  }

  async #begin(redirect: string): Promise<URL> {
    const { source, config } = this.#options;
    this.#forgetLate();
    const pending: Pending = { redirect, state: randomBytes(32).toString("base64url"), sinceMs: performance.now() };
    const { wantedScope, tokens } = this.#file.read();
    try {
      const challenge = await this.#challenge();
      const { resourceMetadataUrl } = challenge;
      const scope = computeScopeUnion(config.oauth.scope ?? challenge.scope, wantedScope ?? tokens?.scope);
      await this.#run(this.#interactive(pending), {
        forceReauthorization: true,
        ...(scope !== undefined && { scope }),
        ...(resourceMetadataUrl && { resourceMetadataUrl }),
      });
    } catch (error) {
      if (OsError.is(error)) throw error;
      throw unavailable(source, `could not be logged in at: ${textOf(error)}`, "Ask whoever runs it.", error);
    }
    const { address } = pending;
    if (address === undefined || !this.#isSafe(address))
      throw unavailable(source, "names no address to log in at that can be trusted", "Ask whoever runs it.");
    this.#pending.set(pending.state, pending);
    return address;
  }

  async #end(redirect: string, answer: URLSearchParams): Promise<void> {
    const { source } = this.#options;
    this.#forgetLate();
    const pending = this.#pending.get(answer.get("state") ?? "");
    if (pending === undefined || pending.redirect !== redirect)
      throw this.#denied("the answer belongs to no login that was begun here, or came too late");
    this.#pending.delete(pending.state);
    const iss = answer.get("iss") ?? undefined;
    const metadata = pending.discovery?.authorizationServerMetadata;
    try {
      // Also an answer that refuses must come from who was asked.
      validateAuthorizationResponseIssuer({
        iss,
        expectedIssuer: metadata?.issuer,
        issParameterSupported: metadata?.["authorization_response_iss_parameter_supported"] === true,
      });
    } catch (error) {
      throw this.#denied(textOf(error), error);
    }
    const code = answer.get("code");
    if (code === null || answer.has("error")) {
      const why = [answer.get("error") ?? "no code came", answer.get("error_description") ?? ""];
      throw this.#denied(plain(why.filter((part) => part !== "").join(": "), 300));
    }
    try {
      await this.#run(this.#interactive(pending), {
        authorizationCode: code,
        ...(iss !== undefined && { iss }),
      });
    } catch (error) {
      if (OsError.is(error)) throw error;
      throw this.#denied(textOf(error), error);
    }
    if (this.#file.read().tokens === undefined) throw unavailable(source, "gave no token", "Ask whoever runs it.");
  }

  #denied(why: string, cause?: unknown): OsError {
    const { source } = this.#options;
    return new OsError(
      "denied",
      `The login at "${source}" was refused: ${why}. Nothing was kept; begin again with \`reeve tools login ${source}\`.`,
      { data: { rule: "login", reason: why }, ...(cause === undefined ? {} : { cause }) },
    );
  }

  /** Whether a person may be sent there: with plain http only where the operator says so, for a browser reaches what we do not. */
  #isSafe(address: URL): boolean {
    return address.protocol === "https:" || this.#options.wayOut.isTrusted(address);
  }

  #forgetLate(): void {
    for (const [state, { sinceMs }] of this.#pending)
      if (performance.now() - sinceMs > PENDING_MS_MAX || this.#pending.size >= PENDING_MAX)
        this.#pending.delete(state);
  }

  /** A client that is named in the configuration, with its secret from the environment. */
  #configured(): StoredOAuthClientInformation | undefined {
    const { config, environment, source } = this.#options;
    const { clientId, clientSecretFrom, issuer } = config.oauth;
    if (clientId === undefined) return undefined;
    const secret = clientSecretFrom === undefined ? undefined : environment[clientSecretFrom];
    if (clientSecretFrom !== undefined && (secret === undefined || secret === ""))
      throw unavailable(
        source,
        `cannot be logged in at: the environment variable ${clientSecretFrom} is not set`,
        `Set it, or change tools.${source}.oauth.clientSecretFrom.`,
      );
    return { client_id: clientId, ...(secret && { client_secret: secret }), ...(issuer && { issuer }) };
  }

  #interactive(pending: Pending): OAuthClientProvider {
    const { oauth } = this.#options.config;
    const configured = this.#configured();
    return {
      redirectUrl: pending.redirect,
      ...(oauth.clientMetadataUrl !== undefined && { clientMetadataUrl: oauth.clientMetadataUrl }),
      clientMetadata: {
        client_name: "Reeve",
        redirect_uris: [pending.redirect],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        token_endpoint_auth_method: "none",
      },
      state: () => pending.state,
      // Each login has a redirect of its own, so what was registered for another one is of no use.
      clientInformation: () => configured ?? pending.client,
      ...(configured === undefined && {
        saveClientInformation: (client: StoredOAuthClientInformation) => void (pending.client = client),
      }),
      tokens: () => undefined,
      saveTokens: (tokens) => {
        const { client } = pending;
        this.#file.write({ tokens, ...(client !== undefined && { client }) });
      },
      redirectToAuthorization: (address) => void (pending.address = address),
      saveCodeVerifier: (verifier) => void (pending.verifier = verifier),
      codeVerifier: () => pending.verifier ?? "",
      discoveryState: () => pending.discovery,
      saveDiscoveryState: (discovery) => {
        const methods = discovery.authorizationServerMetadata?.code_challenge_methods_supported;
        if (methods?.includes("S256") !== true)
          throw new Error(`${discovery.authorizationServerUrl} does not say that it knows PKCE with S256`);
        pending.discovery = discovery;
      },
    };
  }

  /** Refreshes, and begins nothing that would need a person. */
  #quiet(): OAuthClientProvider {
    const configured = this.#configured();
    const needed = (): never => {
      throw this.#needsLogin("does not take the login any more");
    };
    return {
      redirectUrl: "http://127.0.0.1/callback",
      clientMetadata: { redirect_uris: ["http://127.0.0.1/callback"] },
      clientInformation: () => configured ?? this.#file.read().client ?? needed(),
      ...(configured === undefined && {
        saveClientInformation: (client: StoredOAuthClientInformation) =>
          this.#file.write({ ...this.#file.read(), client }),
      }),
      tokens: () => this.#file.read().tokens,
      saveTokens: (tokens) => this.#file.write({ ...this.#file.read(), tokens }),
      redirectToAuthorization: needed,
      saveCodeVerifier: () => {},
      codeVerifier: needed,
      invalidateCredentials: () => {
        const { wantedScope } = this.#file.read();
        this.#file.write(wantedScope === undefined ? {} : { wantedScope });
      },
    };
  }

  #machine(): OAuthClientProvider {
    const { oauth } = this.#options.config;
    return {
      redirectUrl: undefined,
      clientMetadata: {
        redirect_uris: [],
        grant_types: ["client_credentials"],
        ...(oauth.scope !== undefined && { scope: oauth.scope }),
      },
      clientInformation: () => this.#configured(),
      tokens: () => this.#file.read().tokens,
      saveTokens: (tokens) => this.#file.write({ tokens }),
      redirectToAuthorization: () => {
        throw this.#needsLogin("asks for a person");
      },
      saveCodeVerifier: () => {},
      codeVerifier: () => "",
      prepareTokenRequest: (scope) =>
        new URLSearchParams({ grant_type: "client_credentials", ...(scope && { scope }) }),
    };
  }
}
