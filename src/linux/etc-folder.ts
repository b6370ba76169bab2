// The /etc of all sandboxes: a folder made once, with what programs look up there and nothing that this machine keeps.
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FILES: Readonly<Record<string, string>> = {
  passwd: "root:x:0:0:root:/:/usr/sbin/nologin\nagent:x:1000:1000:agent:/tmp:/bin/sh\n",
  group: "root:x:0:\nagent:x:1000:\n",
  hosts: "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
  "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
  "resolv.conf": "",
  "host.conf": "multi on\n",
};

/** Of the machine's own: the loader's cache, names of programs, authorities, time zone, services. */
const COPIED = [
  "ld.so.cache",
  "alternatives",
  "ssl/certs",
  "ssl/openssl.cnf",
  "pki/tls/certs",
  "pki/ca-trust/extracted",
  "localtime",
  "services",
  "protocols",
  "mime.types",
  "magic",
];

/** Makes it anew at `folder`. */
export function makeEtc(folder: string): void {
  const made = `${folder}.new`;
  rmSync(made, { recursive: true, force: true });
  mkdirSync(made, { recursive: true, mode: 0o755 });
  for (const path of COPIED) {
    const from = join("/etc", path);
    // Links stay as they are: they lead below /usr, which is there inside as well, or nowhere.
    if (existsSync(from)) cpSync(from, join(made, path), { recursive: true, verbatimSymlinks: true });
  }
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(made, name), text, { mode: 0o644 });
  rmSync(folder, { recursive: true, force: true });
  renameSync(made, folder);
}

/** What is in it; the fingerprint of a verdict covers this. */
export const ETC_TEXT = JSON.stringify([FILES, COPIED]);
