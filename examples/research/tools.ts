// The tools of the example: TypeScript functions, each with what it does to the world.
//
// They run in Reeve's own process and may use everything that Node has; what agents may do with them, the manifests say.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { tool } from "../../src/sdk/author.ts";

const LIBRARY = join(import.meta.dirname, "library");
const REPORTS = join(import.meta.dirname, ".reeve", "reports");

export const search = tool({
  name: "search",
  description: "Finds the paragraphs of the library that hold a word.",
  input: z.object({ word: z.string().min(3) }),
  effect: "read",
  run: async ({ word }) => {
    const files = (await readdir(LIBRARY)).toSorted();
    const texts = await Promise.all(files.map((file) => readFile(join(LIBRARY, file), "utf8")));
    const found = texts.flatMap((text, at) =>
      text
        .split("\n\n")
        .filter((paragraph) => paragraph.toLowerCase().includes(word.toLowerCase()))
        .map((paragraph) => ({ file: files[at] ?? "", paragraph: paragraph.trim() })),
    );
    return { found };
  },
});

export const save = tool({
  name: "save",
  description: "Writes a report under its name, in place of an earlier one.",
  input: z.object({ name: z.string().regex(/^[a-z0-9-]{1,60}$/, "is not a name"), text: z.string() }),
  effect: "write",
  // The same report under the same name, however often: after a crash it may simply be written again.
  idempotency: "natural",
  summary: "Write the report {name}",
  run: async ({ name, text }) => {
    await mkdir(REPORTS, { recursive: true });
    const file = join(REPORTS, `${name}.md`);
    await writeFile(file, text);
    return `Written: ${file}`;
  },
});
