// Goal: one meaning of a status for all who send by HTTP. Method: the table itself.
import { expect, test } from "vitest";
import { leavesOpen } from "./http-status.ts";

test("a failure of the server or of a gateway leaves open what was done; a refusal and an answer do not", () => {
  const open = [408, 500, 502, 503, 504, 507, 508, 520, 599];
  const decided = [200, 204, 301, 400, 401, 404, 405, 409, 422, 425, 429, 451, 499, 501, 505];
  expect(open.filter((status) => !leavesOpen(status))).toEqual([]);
  expect(decided.filter((status) => leavesOpen(status))).toEqual([]);
});
