// For tests that need something which not every machine has, such as a database server or the right to mount.
import { describe, expect, it } from "vitest";

type Suite = (title: string, tests: () => void) => void;

/**
 * A `describe` for tests that need `name`. Where it is present they run. Where it is absent they are skipped under
 * a title that says what they lack; with CI set they fail instead, since a machine that judges must not pass by
 * leaving out.
 *
 *     needs("PostgreSQL at REEVE_POSTGRES", url !== undefined)("the PostgreSQL store", () => { … });
 */
export function needs(name: string, present: boolean): Suite {
  if (present) return describe;
  const lack = `needs ${name}, which is not here`;
  const remedy = "With CI set nothing is skipped: provide it, or unset CI on your own machine.";
  if (isCi(process.env.CI))
    return (title) => describe(title, () => it(lack, () => expect.fail(`${title}: ${lack}. ${remedy}`)));
  return (title, tests) => {
    console.warn(`skipped: ${title}: ${lack}`);
    describe.skipIf(!present)(`${title} (${lack})`, tests);
  };
}

/** As continuous integration sets it: `CI=true`; `CI=false` and an empty one mean no. */
const isCi = (value: string | undefined): boolean =>
  value !== undefined && value !== "" && value !== "false" && value !== "0";
