// `sys`: the system calls, as an agent's program sees them.
//
// Derived from the system call table, types and object alike: `tool.call` becomes `sys.tool.call({ tool, args })`, which
// answers with the call's output or rejects with an OsError of one of the codes that the row lists.
//
// Invariants:
//   S1. Calls are numbered from 0 in the order in which the program issues them; the number is taken at the call
//       itself, before anything is awaited. That order is what replay compares.
//   S2. Nothing is judged here: the kernel checks the arguments, so that every program is held to the same rules.
import type { Json } from "../abi/json.ts";
import { PROCESS_CALLS } from "../abi/syscalls.ts";
import type { Args, Input, Output, ProcessCall } from "../abi/syscalls.ts";

type NounOf<Name> = Name extends `${infer Noun}.${string}` ? Noun : never;
type VerbOf<Name, Noun extends string> = Name extends `${Noun}.${infer Verb}` ? Verb : never;
type Named<Noun extends string, Verb extends string> = Extract<ProcessCall, `${Noun}.${Verb}`>;

// A field whose schema says nothing of what it takes (any JSON value, an id) has the type that comes out of it.
type Known<In, Out> = {
  [Key in keyof In]: unknown extends In[Key] ? (Key extends keyof Out ? Out[Key] : In[Key]) : In[Key];
};

/** What a program passes to a call; fields with a default may be left out. */
export type SysInput<Name extends ProcessCall> = Known<Input<Name>, Args<Name>>;

type Method<Name extends ProcessCall> = (
  // A call that can do without arguments is called without any.
  ...input: Record<never, never> extends SysInput<Name> ? [input?: SysInput<Name>] : [input: SysInput<Name>]
) => Promise<Output<Name>>;

/** The way of a program to everything outside it: `sys.noun.verb({ … })`. */
export type Sys = {
  readonly [Noun in NounOf<ProcessCall>]: {
    readonly [Verb in VerbOf<ProcessCall, Noun>]: Method<Named<Noun, Verb>>;
  };
};

/** Carries a call to the kernel. It may throw only if the call cannot leave at all; its number is then not used up. */
export type IssueCall = (number: number, syscall: ProcessCall, args: Json) => Promise<Json>;

/** A `sys` whose calls go out by `issue`. One for each run, since it counts that run's calls. */
export function makeSys(issue: IssueCall): Sys {
  let next = 0;
  const method =
    (name: ProcessCall) =>
    (input: Json = {}): Promise<Json> => {
      try {
        const answer = issue(next, name, input);
        next += 1;
        return answer;
      } catch (error) {
        // The program sees every failure of a call in the same place: the promise.
        return Promise.reject(error);
      }
    };
  const sys: Record<string, Record<string, (input?: Json) => Promise<Json>>> = {};
  for (const name of PROCESS_CALLS) {
    const [noun = "", verb = ""] = name.split(".");
    (sys[noun] ??= {})[verb] = method(name);
  }
  return sys as unknown as Sys;
}
