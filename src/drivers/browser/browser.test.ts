// Goal: the first answer of a browser is told, whatever else asks at the port, and nothing listens afterwards.
// Method: requests to the port as a browser makes them.
import { expect, test } from "vitest";
import { waitForBrowser } from "./browser.ts";

test("the first query at the address counts, and what is none does not", async () => {
  const waiting = await waitForBrowser();
  expect((await fetch(new URL("/favicon.ico", waiting.redirect))).status).toBe(404);
  expect((await fetch(waiting.redirect)).status).toBe(404);
  const page = await fetch(`${waiting.redirect}?code=a%20b&state=s`);
  expect(page.status).toBe(200);
  expect(await page.text()).toContain("close this page");
  await fetch(`${waiting.redirect}?code=other`);
  expect(await waiting.answer).toBe("code=a%20b&state=s");
  waiting.close();
  await expect(fetch(waiting.redirect)).rejects.toThrow("fetch failed");
});
