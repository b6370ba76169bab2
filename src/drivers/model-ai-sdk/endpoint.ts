// Where a provider is reached, with which key, and the AI SDK's object that speaks its format.
//
// Boundary: the one file that sees a key. It goes to the provider's package and into `secrets`, from which failure.ts
// removes it from every message; nothing else holds it.
//
// - `openai` speaks the Responses API, at any base URL. A server that knows Chat Completions only is `openai-compatible`.
// - `openai-compatible` speaks Chat Completions and needs a key only if `keyFrom` names one (Ollama needs none).
// - OPENAI_BASE_URL and ANTHROPIC_BASE_URL hold where the configuration gives no base URL. Anthropic's own clients want the
//   latter without `/v1`, so an Anthropic base URL without a path gets it.
import { AsyncLocalStorage } from "node:async_hooks";
import type { LanguageModelV4 } from "@ai-sdk/provider";
import type { ProviderConfig } from "../../abi/config.ts";
import { OsError } from "../../abi/errors.ts";

export type RemoteConfig = Exclude<ProviderConfig, { type: "rehearsal" }>;
export type ProviderType = RemoteConfig["type"];
export type Environment = Readonly<Record<string, string | undefined>>;

export type Endpoint = {
  readonly type: ProviderType;
  readonly baseUrl: string;
  readonly headers: Record<string, string>;
  readonly key: string | undefined;
  /** The variable that the key came from; undefined if none is needed. */
  readonly keyName: string | undefined;
  /** What must appear in no message. */
  readonly secrets: readonly string[];
};

const KEY_NAMES: Record<ProviderType, readonly string[]> = {
  openai: ["OPENAI_API_KEY"],
  anthropic: ["ANTHROPIC_API_KEY"],
  google: ["GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"],
  "openai-compatible": [],
};

const FORMATS: Record<ProviderType, string> = {
  openai: "Responses API",
  anthropic: "Messages API",
  google: "Gemini API",
  "openai-compatible": "Chat Completions",
};

export const formatName = (type: ProviderType): string => FORMATS[type];

/** The names of the variables that may hold this provider's key, in the order in which they are looked at. */
export const keyNames = (config: RemoteConfig): readonly string[] =>
  config.keyFrom === undefined ? KEY_NAMES[config.type] : [config.keyFrom];

/** Throws `config_invalid`: no key, a key that cannot be sent, a base URL that holds a password or no web address. */
export function resolveEndpoint(name: string, config: RemoteConfig, env: Environment): Endpoint {
  const key = resolveKey(name, config, env);
  const headers = { ...config.headers };
  return {
    type: config.type,
    baseUrl: resolveBaseUrl(name, config, env),
    headers,
    key: key?.value,
    keyName: key?.name,
    secrets: [...(key === undefined ? [] : [key.value]), ...secretHeaders(headers)],
  };
}

function resolveKey(name: string, config: RemoteConfig, env: Environment): { name: string; value: string } | undefined {
  const wanted = keyNames(config);
  for (const variable of wanted) {
    const value = env[variable]?.trim();
    if (value === undefined || value === "") continue;
    if (!/^[\x21-\x7e]+$/.test(value)) {
      throw invalid(
        name,
        variable,
        "holds characters that no key has (a line break, a space, or others outside of ASCII)",
        `Set ${variable} to the key alone.`,
      );
    }
    return { name: variable, value };
  }
  const [first] = wanted;
  if (first === undefined) return undefined;
  const others = wanted
    .slice(1)
    .map((other) => ` (or ${other})`)
    .join("");
  throw invalid(
    name,
    first,
    "is not set in the environment",
    `Set ${first}${others} to a key for ${name}, or use another model; \`models.${name}.keyFrom\` names another variable.`,
  );
}

function invalid(name: string, variable: string, wrong: string, remedy: string): OsError {
  return new OsError("config_invalid", `The model provider ${name} cannot be asked: ${variable} ${wrong}. ${remedy}`, {
    data: { variable, issues: [`models.${name}: ${variable} ${wrong}`] },
  });
}

function resolveBaseUrl(name: string, config: RemoteConfig, env: Environment): string {
  switch (config.type) {
    case "openai":
      return checkedUrl(name, config.baseUrl ?? nonEmpty(env["OPENAI_BASE_URL"]) ?? "https://api.openai.com/v1");
    case "anthropic": {
      const url = checkedUrl(
        name,
        config.baseUrl ?? nonEmpty(env["ANTHROPIC_BASE_URL"]) ?? "https://api.anthropic.com",
      );
      return new URL(url).pathname === "/" ? `${url}/v1` : url;
    }
    case "google":
      return checkedUrl(name, config.baseUrl ?? "https://generativelanguage.googleapis.com/v1beta");
    case "openai-compatible":
      return checkedUrl(name, config.baseUrl);
  }
}

const nonEmpty = (text: string | undefined): string | undefined => (text === "" ? undefined : text);

function checkedUrl(name: string, text: string): string {
  const url = URL.parse(text);
  // The address itself is not repeated: it may hold a password.
  const wrong =
    url === null || (url.protocol !== "http:" && url.protocol !== "https:")
      ? "is no web address"
      : url.username !== "" || url.password !== ""
        ? "holds a user name or password"
        : undefined;
  if (wrong !== undefined) {
    throw new OsError(
      "config_invalid",
      `The model provider ${name} cannot be asked: its base URL ${wrong}. Give one that begins with http:// or https:// and holds no secret (a key is named by \`models.${name}.keyFrom\`).`,
      { data: { issues: [`models.${name}.baseUrl: ${wrong}`] } },
    );
  }
  return text.replace(/\/+$/, "");
}

function secretHeaders(headers: Record<string, string>): string[] {
  return Object.entries(headers)
    .filter(([header]) => /auth|key|token|secret|cookie/i.test(header))
    .flatMap(([, value]) => [value, value.replace(/^\S+\s+/, "")])
    .filter((value) => value !== "");
}

/**
 * Around a call of a package: told the headers of a good answer, by lower-case name, as soon as they have come. The packages
 * hand them on as well, but some only with the first words, and a model that thinks first keeps those back for a minute.
 */
export const headersListener = new AsyncLocalStorage<(headers: Readonly<Record<string, string>>) => void>();

/** A redirect is not followed: the key is for the address that was configured, and fetch would carry it along in headers such as x-api-key. */
const fetchHere: typeof fetch = async (input, init) => {
  const response = await fetch(input, { ...init, redirect: "manual" });
  if (response.ok) headersListener.getStore()?.(Object.fromEntries(response.headers));
  return response;
};

/** The packages are loaded when first used, so that a start that asks no model does not pay for four of them. */
export async function languageModel(name: string, endpoint: Endpoint, model: string): Promise<LanguageModelV4> {
  // Keys and addresses are always given: the packages would otherwise look in the environment themselves.
  const settings = {
    baseURL: endpoint.baseUrl,
    headers: endpoint.headers,
    fetch: fetchHere,
    apiKey: endpoint.key ?? "",
  };
  switch (endpoint.type) {
    case "openai":
      return (await import("@ai-sdk/openai")).createOpenAI(settings).responses(model);
    case "anthropic":
      return (await import("@ai-sdk/anthropic")).createAnthropic(settings).messages(model);
    case "google":
      return (await import("@ai-sdk/google")).createGoogle(settings).chat(model);
    case "openai-compatible": {
      const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
      return createOpenAICompatible({
        ...settings,
        name,
        includeUsage: true,
        supportsStructuredOutputs: true,
      }).chatModel(model);
    }
  }
}
