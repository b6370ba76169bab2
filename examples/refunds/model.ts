// Which model plays the agent: the one place where that is chosen.
//
// With a key in the environment it is a real model of that provider, without one the rehearsal: a script
// (refunds.yaml) in the model's place. REFUNDS_MODEL=provider/model overrules both.

export const REHEARSAL = "rehearsal/refunds";

/** The first whose key is set is taken. */
const REAL_MODELS = [
  { keyFrom: "OPENAI_API_KEY", model: "openai/gpt-5.4-mini" },
  { keyFrom: "ANTHROPIC_API_KEY", model: "anthropic/claude-sonnet-4-6" },
  { keyFrom: "GOOGLE_GENERATIVE_AI_API_KEY", model: "google/gemini-3.5-flash" },
] as const;

export const KEY_NAMES = REAL_MODELS.map(({ keyFrom }) => keyFrom);

type Environment = Readonly<Record<string, string | undefined>>;

const isSet = (value: string | undefined): value is string => value !== undefined && value !== "";

export function chooseModel(environment: Environment): string {
  const wanted = environment["REFUNDS_MODEL"];
  if (isSet(wanted)) return wanted;
  return REAL_MODELS.find(({ keyFrom }) => isSet(environment[keyFrom]))?.model ?? REHEARSAL;
}
