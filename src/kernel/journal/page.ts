// Events with their payloads, read together: what a replay goes on, and what a process is created from.
import type { Address } from "../../abi/ids.ts";
import type { Store, StoredEvent } from "../../ports/store.ts";
import { innerAddresses } from "./encoding.ts";
import { addressOf, distantAddresses, openEvent, type Opened, payloadTexts, type SubjectKey } from "./events.ts";

export type Page = {
  readonly events: readonly { readonly stored: StoredEvent; readonly opened: Opened }[];
  /** Texts of payloads that stand outside their events. */
  readonly texts: ReadonlyMap<Address, string>;
  /** Payloads that are not what their address says. */
  readonly wrong: ReadonlySet<Address>;
  /** The events that name one of these. */
  readonly altered: ReadonlySet<number>;
};

/**
 * Opens events and reads all the payloads that a replay needs. With `checkedBy` all that they refer to are read and compared with
 * their addresses; what is not what its address says is taken out, as if it had been erased. Rejects with a SyntaxError where an event
 * is no JSON any more.
 */
export async function openPage(
  store: Store,
  stored: readonly StoredEvent[],
  checkedBy: SubjectKey | undefined,
): Promise<Page> {
  const wrong = new Set<Address>();
  const sound = ([address, text]: readonly [string, string]): boolean => {
    if (checkedBy === undefined || addressOf(checkedBy, text) === address) return true;
    wrong.add(address as Address);
    return false;
  };
  const read = async (addresses: readonly Address[]): Promise<(readonly [Address, string])[]> =>
    addresses.length === 0 ? [] : [...(await store.payloads(addresses))].filter(sound);
  const events = stored.map((event) => {
    const opened = openEvent(event);
    const inline = checkedBy === undefined ? opened.inline : soundOnly(opened.inline, sound);
    return { stored: event, opened: inline === opened.inline ? opened : { ...opened, inline } };
  });
  const texts = new Map(await read(distantAddresses(events.map(({ opened }) => opened))));
  const inner = events.map(({ opened }) => innerOf(opened, texts, checkedBy !== undefined));
  for (const [address, text] of await read(inner.flat())) texts.set(address, text);
  const altered = new Set<number>();
  for (const [at, { opened }] of wrong.size === 0 ? [] : events.entries()) {
    const named = [...Object.values(opened.addresses), ...(inner[at] ?? [])];
    if (named.some((address) => wrong.has(address))) altered.add(opened.seq);
  }
  return { events, texts, wrong, altered };
}

/** The texts that are sound: as a rule all of them, and then nothing is copied. */
function soundOnly(inline: Opened["inline"], sound: (entry: readonly [string, string]) => boolean): Opened["inline"] {
  let copy: { [address: string]: string } | undefined;
  for (const address in inline) {
    if (sound([address, inline[address] ?? ""])) continue;
    copy ??= { ...inline };
    delete copy[address];
  }
  return copy ?? inline;
}

/** Addresses inside the payloads of a model call: those that its outcome needs, or (`whole`) all. */
function innerOf(opened: Opened, texts: ReadonlyMap<Address, string>, whole: boolean): Address[] {
  const { header } = opened;
  if (!("syscall" in header) || header.syscall !== "model.generate") return [];
  const { args, value } = payloadTexts(opened, texts);
  const answer = value === undefined ? [] : innerAddresses(header.syscall, "value", value);
  if (!whole) return answer;
  const { context } = JSON.parse(value ?? "{}") as { context?: Address };
  const sent = args === undefined ? [] : innerAddresses(header.syscall, "args", args);
  return [...answer, ...sent, ...(context === undefined ? [] : [context])];
}
