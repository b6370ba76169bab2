// Every failure of the medium has a reason from the closed list, and says what to do.
import { describe, expect, it } from "vitest";
import { OsError } from "../../abi/errors.ts";
import { faultOf } from "./faults.ts";

const sqlite = (errcode: number): Error =>
  Object.assign(new Error("what SQLite says"), { code: "ERR_SQLITE_ERROR", errcode });
const system = (code: string): Error =>
  Object.assign(new Error(`${code}: what the system says`), { code, syscall: "mkdir" });

describe("a failure of the medium", () => {
  for (const [what, error, reason, retryable] of [
    ["SQLITE_FULL", sqlite(13), "full", true],
    ["SQLITE_IOERR_SHMSIZE", sqlite(4874), "full", true],
    ["SQLITE_READONLY_DIRECTORY", sqlite(1544), "read_only", false],
    ["SQLITE_CORRUPT", sqlite(11), "corrupt", false],
    ["SQLITE_CORRUPT_INDEX", sqlite(779), "corrupt", false],
    ["SQLITE_NOTADB", sqlite(26), "corrupt", false],
    ["SQLITE_IOERR_FSYNC", sqlite(1034), "io", true],
    ["SQLITE_CANTOPEN", sqlite(14), "io", true],
    ["SQLITE_BUSY", sqlite(5), "io", true],
    ["ENOSPC", system("ENOSPC"), "full", true],
    ["EROFS", system("EROFS"), "read_only", false],
    ["EACCES", system("EACCES"), "read_only", false],
    ["EIO", system("EIO"), "io", true],
  ] as const)
    it(`${what} is ${reason}`, () => {
      const fault = faultOf(error, "/data/folder");
      expect(fault).toMatchObject({
        code: "store_failed",
        retryable,
        data: { reason, folder: "/data/folder" },
        cause: error,
      });
      expect(fault.message).toMatch(/\/data\/folder.*says.*\. \w.*\.$/s);
    });

  it("is passed on as it is if it was named before", () => {
    const named = new OsError("store_busy", "busy");
    expect(faultOf(named, "/data/folder")).toBe(named);
  });

  it("is told from a fault of our own", () => {
    for (const error of [new TypeError("x is not a function"), sqlite(1), "thrown text", null])
      expect(faultOf(error, "/data/folder")).toMatchObject({ code: "internal" });
  });
});
