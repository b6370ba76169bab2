// What a sandbox lacks on this machine, in words.
import type { Layer } from "../ports/sandbox.ts";

/** Layers that are lacking for the same reason are named together, and the reason once. */
export function textOf(lacking: readonly Pick<Layer, "name" | "detail">[]): string {
  const byReason = Map.groupBy(lacking, ({ detail }) => detail);
  return [...byReason]
    .map(([reason, layers]) => `no ${layers.map(({ name }) => name).join(", no ")} (${reason})`)
    .join("; ");
}
