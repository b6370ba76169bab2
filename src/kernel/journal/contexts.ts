// The messages that a model call sends: what came before, read back from the journal's chain of contexts, and what is new.
//
// A conversation that only grows shares one list in memory, so a turn costs what it adds. The list of a context is
// read from the store when it is not at hand: after a restart, or when a program goes back to an older context. A chain
// goes back through contexts that the process has made, oldest last, so those before a link are read along with it.
import { OsError } from "../../abi/errors.ts";
import type { Address } from "../../abi/ids.ts";
import type { AssistantPart, Message } from "../../abi/messages.ts";
import type { Store } from "../../ports/store.ts";
import type { ContextNode } from "./encoding.ts";

/** What a process hears that names a context which it has not made, or which has been erased. */
export const noContext = (context: Address): OsError =>
  new OsError(
    "not_found",
    `This process has no context ${context}, or it has been erased. \`after\` takes the context that an earlier model.generate of the same process answered with.`,
    { data: { what: "context", id: context } },
  );

/** Whose contexts they are: the process, by the object that stands for it, and what its journal says that it has made, oldest first. */
export type Maker = { readonly process: object; readonly made: ReadonlySet<Address> };

/** Contexts of one process that are kept at hand. */
const KEPT = 4;
const PAGE = 500;

/** The first `length` messages of a list that others may have made longer; `next` is who made it longer first. */
type Known = { readonly list: Message[]; readonly length: number; next?: readonly Message[] };

export class Contexts {
  readonly #store: Store;
  readonly #known = new WeakMap<object, Map<Address, Known>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** All messages of a call. `after` must be a context of this process's making; rejects with `not_found` if it is not there any more. */
  async messages(maker: Maker, after: Address | undefined, added: readonly Message[]): Promise<readonly Message[]> {
    if (after === undefined) return added;
    const known = this.#of(maker.process).get(after) ?? (await this.#read(after, maker.made));
    this.#keep(maker.process, after, known);
    // The shared list is lent out only to whoever makes it longer: nothing else can follow in it while it is read.
    if (added.length > 0 && known.list.length === known.length) {
      known.list.push(...added);
      known.next = added;
      return known.list;
    }
    return [...known.list.slice(0, known.length), ...added];
  }

  /** The messages of a context, for whoever only looks. Rejects as `messages` does. */
  async history(maker: Maker, context: Address | undefined): Promise<readonly Message[]> {
    if (context === undefined) return [];
    const known = this.#of(maker.process).get(context) ?? (await this.#read(context, maker.made));
    this.#keep(maker.process, context, known);
    return known.list.slice(0, known.length);
  }

  /** Notes the context that an answer makes. */
  extend(
    process: object,
    turn: {
      readonly after: Address | undefined;
      readonly messages: readonly Message[];
      readonly answer: AssistantPart[];
      readonly context: Address;
    },
  ): void {
    const message: Message = { role: "assistant", content: turn.answer };
    const before = turn.after === undefined ? undefined : this.#of(process).get(turn.after);
    if (turn.after !== undefined && before === undefined) return;
    const list = before === undefined ? [...turn.messages] : this.#listFor(before, turn.messages);
    list.push(message);
    this.#keep(process, turn.context, { list, length: list.length });
  }

  /** The shared list, if it goes on with just these messages; else a copy that does. */
  #listFor(before: Known, messages: readonly Message[]): Message[] {
    if (before.next === messages && before.list.length === before.length + messages.length) return before.list;
    return [...before.list.slice(0, before.length), ...messages];
  }

  #of(process: object): Map<Address, Known> {
    const known = this.#known.get(process) ?? new Map<Address, Known>();
    this.#known.set(process, known);
    return known;
  }

  #keep(process: object, context: Address, known: Known): void {
    const all = this.#of(process);
    all.delete(context);
    all.set(context, known);
    const [oldest] = all.keys();
    if (all.size > KEPT && oldest !== undefined) all.delete(oldest);
  }

  /** Follows the chain to its start, then reads the messages; both in pages. */
  async #read(context: Address, made: ReadonlySet<Address>): Promise<Known> {
    const order = [...made];
    const links: (readonly Address[])[] = [];
    let page: ReadonlyMap<Address, string> = new Map();
    for (let next: Address | null = context; next !== null;) {
      if (!page.has(next)) page = await this.#store.payloads(upTo(next, order));
      const text: string | undefined = page.get(next);
      if (text === undefined) throw noContext(next);
      const node: ContextNode = JSON.parse(text) as ContextNode;
      links.push(node.messages);
      next = node.prev;
    }
    const addresses = links.reverse().flat();
    const list: Message[] = [];
    for (let at = 0; at < addresses.length; at += PAGE) {
      const wanted = addresses.slice(at, at + PAGE);
      const texts = await this.#store.payloads(wanted);
      for (const address of wanted)
        list.push(JSON.parse(texts.get(address) ?? '{"role":"user","content":"(erased)"}') as Message);
    }
    return { list, length: list.length };
  }
}

/** A context and those that were made just before it. */
function upTo(context: Address, order: readonly Address[]): readonly Address[] {
  const at = order.lastIndexOf(context);
  return at === -1 ? [context] : order.slice(Math.max(0, at + 1 - PAGE), at + 1);
}
