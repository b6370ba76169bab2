// The models of this system: finds the provider that a `provider/model` string names.
//
// Boundary: knows names only. How a provider is asked is its driver's affair.
import { OsError } from "../abi/errors.ts";
import type { ModelProvider, Models } from "../ports/model.ts";

type Found = { readonly name: string; readonly model: string; readonly provider: ModelProvider };

/**
 * Joins providers, by the name that stands before the slash. Everything after the first slash is the provider's own affair,
 * so `openrouter/meta/llama` is the model `meta/llama` of `openrouter`.
 * Fails with `invalid_argument` for a string of another form, `not_found` for a provider that is not here.
 */
export function createModels(options: {
  readonly providers: ReadonlyMap<string, ModelProvider>;
  readonly defaultModel: string | undefined;
}): Models {
  const { providers, defaultModel } = options;

  const find = (reference: string): Found => {
    const slash = reference.indexOf("/");
    const name = reference.slice(0, Math.max(slash, 0));
    const model = reference.slice(slash + 1);
    if (name === "" || model === "") {
      throw new OsError(
        "invalid_argument",
        `"${reference}" does not name a model: the form is provider/model, as in openai/gpt-5. Providers here: ${listed(providers)}.`,
        { data: { issues: ["model: is not provider/model"] } },
      );
    }
    const provider = providers.get(name);
    if (provider === undefined) {
      throw new OsError(
        "not_found",
        `There is no model provider "${name}" (asked for as ${reference}). Providers here: ${listed(providers)}. ` +
          `Name one of these, or add "${name}" to \`models\` in the configuration.`,
        { data: { what: "model provider", id: name, known: [...providers.keys()] } },
      );
    }
    return { name, model, provider };
  };

  return {
    defaultModel,
    resource(reference) {
      const { name, provider } = find(reference);
      provider.ready();
      return { name: `model:${name}`, concurrency: provider.concurrency };
    },
    async generate(request, generateOptions) {
      const { model, provider } = find(request.model);
      return provider.generate(model, request, generateOptions);
    },
    checks: () => [...providers.values()].map((provider) => provider.check()),
  };
}

const listed = (providers: ReadonlyMap<string, ModelProvider>): string =>
  providers.size === 0 ? "none" : [...providers.keys()].join(", ");
