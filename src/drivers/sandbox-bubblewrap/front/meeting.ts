// Places that all users find, for what only Reeve finds: empty files and folders, which the front of a sandbox covers in a mount
// namespace of its own. All sandboxes share them, since none sees what another's front has put there.
import { chmodSync, mkdirSync, writeFileSync, type Stats } from "node:fs";
import { join } from "node:path";

export class Meeting {
  readonly #folder: string;

  /** `folder`: made here; all users must find what it lies in. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
    chmodSync(folder, 0o755);
  }

  /** For the source of this number among those of one start. Made again if something has tidied it away. */
  placeFor(number: number, source: Pick<Stats, "isDirectory">): string {
    const isFolder = source.isDirectory();
    const place = join(this.#folder, `${isFolder ? "folder" : "file"}-${number}`);
    if (isFolder) mkdirSync(place, { recursive: true });
    else writeFileSync(place, "");
    return place;
  }
}
