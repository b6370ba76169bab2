// The only way out, as a driver: doors for sandboxes, and Reeve's own requests.
import { randomBytes } from "node:crypto";
import { mkdtemp, chmod, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SecureContext } from "node:tls";
import { OsError } from "../../abi/errors.ts";
import { egressBoundsSchema } from "../../abi/isolation.ts";
import type { Door, DoorSpec, Egress, HttpRequest, HttpResponse, HttpStream } from "../../ports/egress.ts";
import { type Own, type Resolve, systemOwn, systemResolve } from "./rules/addresses.ts";
import type { Parts } from "./rules/admission.ts";
import { KEPT_MS, OWN_KEPT_MS, type Times, TIMES } from "./bounds.ts";
import { ProxyDoor } from "./door/door.ts";
import { Lookups } from "./rules/lookups.ts";
import { Ledger } from "./rules/ledger.ts";
import { trust } from "./tls/machine.ts";
import { openStream, performRequest, type RequestOptions } from "./request.ts";
import { compileRules, type Rule } from "./rules/rules.ts";
import { createScrubber } from "./rules/scrub.ts";
import { openSecrets, type Secret, type SecretsOptions } from "./rules/secrets.ts";
import { sweepAfter, type Sweeper } from "./door/sweeper.ts";
import { Upstream } from "./upstream.ts";

/** On which the forwarder listens inside; nothing else has a loopback of its own there. */
const FORWARD_PORT = 3128;

const BOUNDS = egressBoundsSchema.parse({});

export type EgressOptions = SecretsOptions & {
  /** Where the folder of the doors is made; the system's temporary folder if absent. */
  readonly folder?: string;
  readonly resolve?: Resolve;
  readonly own?: Own;
  /** Authorities that are trusted beside the machine's. PEM. */
  readonly authorities?: readonly string[];
  readonly forwardPort?: number;
  readonly times?: Partial<Times>;
  /** What a door or a stream carries over its life, both ways together, where its opener names no other. Bytes. */
  readonly doorBytesMax?: number;
};

export const createEgress = (options: EgressOptions): Egress => new ProxyEgress(options);

class ProxyEgress implements Egress {
  readonly #options: EgressOptions;
  readonly #doors = new Set<ProxyDoor>();
  readonly #streams = new Set<HttpStream>();
  /** For streams: keeps their connections. */
  readonly #kept: Upstream;
  readonly #lookups: Lookups;
  #trusted: SecureContext | undefined;
  #home: Promise<{ readonly folder: string; readonly sweeper: Sweeper }> | undefined;
  #closed = false;

  constructor(options: EgressOptions) {
    this.#options = options;
    this.#lookups = new Lookups(options.resolve ?? systemResolve);
    this.#kept = this.#upstream(OWN_KEPT_MS);
  }

  async open(spec: DoorSpec): Promise<Door> {
    if (this.#closed) throw closed();
    const id = newId();
    let shut = (): void => {};
    const upstream = this.#upstream(KEPT_MS);
    const parts = await this.#parts(spec, { id, upstream, onOver: () => shut(), programs: true });
    const { folder } = await (this.#home ??= this.#makeHome());
    const door: ProxyDoor = await ProxyDoor.open({
      folder: join(folder, `${id}${randomBytes(6).toString("hex")}`),
      port: this.#options.forwardPort ?? FORWARD_PORT,
      parts,
      onClosed: () => this.#doors.delete(door),
    });
    this.#doors.add(door);
    // Whoever opened it closes it as well; a failure is theirs to see.
    shut = () => void door.close().catch(() => {});
    if (this.#closed) {
      await door.close();
      throw closed();
    }
    return door;
  }

  async request(
    request: HttpRequest,
    door: Omit<DoorSpec, "bytesMax">,
    options: RequestOptions,
  ): Promise<HttpResponse> {
    if (this.#closed) throw closed();
    const upstream = this.#upstream(KEPT_MS);
    const parts = await this.#parts({ ...door, bytesMax: Number.MAX_SAFE_INTEGER }, { id: newId(), upstream });
    try {
      return await performRequest(parts, request, options);
    } finally {
      upstream.close();
      await parts.ledger.settle();
    }
  }

  async stream(
    request: HttpRequest,
    door: DoorSpec,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<HttpStream> {
    if (this.#closed) throw closed();
    const parts = await this.#parts(door, { id: newId(), upstream: this.#kept });
    let stream: HttpStream | undefined;
    const onOver = (): void => void (stream === undefined || this.#streams.delete(stream));
    try {
      stream = await openStream(parts, request, { signal, onOver });
      this.#streams.add(stream);
      return stream;
    } catch (error) {
      await parts.ledger.settle();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const ends = await Promise.allSettled([...this.#doors, ...this.#streams].map((each) => each.close()));
    this.#kept.close();
    const home = await this.#home;
    if (home !== undefined) {
      await rm(home.folder, { recursive: true, force: true });
      home.sweeper.end();
    }
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  #upstream(keptMs: number): Upstream {
    const { own = systemOwn, authorities } = this.#options;
    const resolve = this.#lookups.asker();
    const trusted = (): SecureContext => (this.#trusted ??= trust(authorities));
    return new Upstream({ names: { resolve, own }, trusted, times: this.#times(), keptMs });
  }

  #times(): Times {
    return { ...TIMES, ...this.#options.times };
  }

  async #parts(spec: DoorSpec, { id, upstream, onOver = () => {}, programs = false }: Making): Promise<Parts> {
    const rules = compileRules(spec.rules);
    const secrets = openSecrets(spec.secrets, this.#options);
    const scrubber = createScrubber(secrets);
    const clean = (text: string): string => scrubber?.text(text) ?? text;
    const bytesMax = spec.bytesMax ?? this.#options.doorBytesMax ?? BOUNDS.doorBytesMax;
    return {
      rules,
      secrets,
      known: (name) => Object.hasOwn(this.#options.secrets, name),
      scrubber,
      ledger: new Ledger({ id, notes: spec.notes, bytesMax, clean, onOver }),
      upstream,
      authority: programs && needsLook(rules, secrets) ? await newAuthority(id) : undefined,
      times: this.#times(),
    };
  }

  /** Its folder may be entered but not listed by others. */
  async #makeHome(): Promise<{ folder: string; sweeper: Sweeper }> {
    const folder = await mkdtemp(join(this.#options.folder ?? tmpdir(), "reeve-doors-"));
    await chmod(folder, 0o711);
    return { folder, sweeper: sweepAfter(folder) };
  }
}

type Making = {
  readonly id: string;
  readonly upstream: Upstream;
  readonly onOver?: () => void;
  /** Whether programs come in by it, which have to be shown certificates. */
  readonly programs?: boolean;
};

const newId = (): string => randomBytes(6).toString("hex");

const closed = (): OsError =>
  new OsError("tool_unavailable", "The way out is closed: Reeve is ending. Nothing was performed.");

const needsLook = (rules: readonly Rule[], secrets: readonly Secret[]): boolean =>
  secrets.some(({ to }) => to.some(({ scheme }) => scheme === "https")) ||
  rules.some(
    ({ scheme, tunnel, methods, paths }) =>
      scheme === "https" && !tunnel && (methods !== undefined || paths !== undefined),
  );

/** What makes certificates is loaded when the first one is needed. */
async function newAuthority(id: string): Promise<Parts["authority"]> {
  const { Authority } = await import("./tls/authority.ts");
  return new Authority(`Reeve door ${id}`);
}
