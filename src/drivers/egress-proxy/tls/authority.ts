// A door's own certificate authority: what the programs behind it trust, so that the proxy can look into their HTTPS.
//
// Boundary: keys are made here and stay in memory; only certificates are written. An authority is one door's and ends with it.
import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_kp_serverAuth,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from "@peculiar/asn1-x509";
import { CERTIFICATES_MAX } from "../bounds.ts";

const ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
const COMMON_NAME = "2.5.4.3";
const DAY_MS = 24 * 3600_000;
const AUTHORITY_DAYS = 3650;
const CERTIFICATE_DAYS = 90;
/** A certificate is made anew after so long, well before it ends. */
const CERTIFICATE_KEPT_DAYS = 30;

type Keys = { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
const newKeys = (): Keys => generateKeyPairSync("ec", { namedCurve: "P-256" });

const nameOf = (commonName: string): Name =>
  new Name([
    new RelativeDistinguishedName([
      new AttributeTypeAndValue({ type: COMMON_NAME, value: new AttributeValue({ utf8String: commonName }) }),
    ]),
  ]);

const extension = (extnID: string, critical: boolean, value: object): Extension =>
  new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });

function pemOf(
  { subject, issuer, days, extensions }: { subject: string; issuer: string; days: number; extensions: Extension[] },
  publicKey: KeyObject,
  signingKey: KeyObject,
): string {
  const algorithm = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const nowMs = Date.now();
  const serialNumber = Uint8Array.from(randomBytes(16));
  // Positive, and of full length.
  serialNumber[0] = ((serialNumber[0] ?? 0) & 0x3f) | 0x40;
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber.buffer,
    signature: algorithm,
    issuer: nameOf(issuer),
    subject: nameOf(subject),
    validity: new Validity({ notBefore: new Date(nowMs - DAY_MS), notAfter: new Date(nowMs + days * DAY_MS) }),
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: "spki", format: "der" }), SubjectPublicKeyInfo),
    extensions: new Extensions(extensions),
  });
  const signed = sign("sha256", new Uint8Array(AsnConvert.serialize(tbsCertificate)), signingKey);
  const signatureValue = Uint8Array.from(signed).buffer;
  const certificate = new Certificate({ tbsCertificate, signatureAlgorithm: algorithm, signatureValue });
  return new X509Certificate(Buffer.from(AsnConvert.serialize(certificate))).toString();
}

export class Authority {
  /** Its own certificate. */
  readonly pem: string;
  readonly #name: string;
  readonly #keys = newKeys();
  /** One for all hosts: whoever could take it could take the others as well. */
  readonly #serverKeys = newKeys();
  readonly #serverKeyPem = this.#serverKeys.privateKey.export({ type: "pkcs8", format: "pem" });
  readonly #contexts = new Map<string, { readonly context: SecureContext; readonly madeMs: number }>();

  constructor(name: string) {
    this.#name = name;
    const extensions = [
      extension(id_ce_basicConstraints, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 })),
      extension(id_ce_keyUsage, true, new KeyUsage(KeyUsageFlags.keyCertSign)),
    ];
    const form = { subject: name, issuer: name, days: AUTHORITY_DAYS, extensions };
    this.pem = pemOf(form, this.#keys.publicKey, this.#keys.privateKey);
  }

  /** A certificate for the host, signed by this authority. PEM. */
  #certificateFor(host: string): string {
    const name = isIP(host) === 0 ? new GeneralName({ dNSName: host }) : new GeneralName({ iPAddress: host });
    const extensions = [
      extension(id_ce_subjectAltName, false, new SubjectAlternativeName([name])),
      extension(id_ce_extKeyUsage, false, new ExtendedKeyUsage([id_kp_serverAuth])),
      extension(id_ce_keyUsage, true, new KeyUsage(KeyUsageFlags.digitalSignature)),
    ];
    // A common name has room for 64 characters; who checks a certificate reads the alternative name.
    const form = { subject: host.slice(0, 64), issuer: this.#name, days: CERTIFICATE_DAYS, extensions };
    return pemOf(form, this.#serverKeys.publicKey, this.#keys.privateKey);
  }

  /** What a TLS server for the host needs. PEM. */
  serverKey(host: string): { readonly cert: string; readonly key: string | Buffer } {
    return { cert: this.#certificateFor(host), key: this.#serverKeyPem };
  }

  /** What a TLS server for the host shows; made once, and again long before it runs out. */
  contextFor(host: string): SecureContext {
    const known = this.#contexts.get(host);
    if (known !== undefined && Date.now() - known.madeMs < CERTIFICATE_KEPT_DAYS * DAY_MS) return known.context;
    const context = createSecureContext(this.serverKey(host));
    this.#contexts.delete(host);
    this.#contexts.set(host, { context, madeMs: Date.now() });
    const [oldest] = this.#contexts.keys();
    if (this.#contexts.size > CERTIFICATES_MAX && oldest !== undefined) this.#contexts.delete(oldest);
    return context;
  }
}
