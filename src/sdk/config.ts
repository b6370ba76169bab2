// `defineConfig`: gives `reeve.config.ts` its types. The configuration is checked when it is loaded, not here.
import type { ConfigInput } from "../abi/config.ts";

/** Use as `export default defineConfig({ … })`. Answers with what it got. */
export const defineConfig = (config: ConfigInput): ConfigInput => config;
