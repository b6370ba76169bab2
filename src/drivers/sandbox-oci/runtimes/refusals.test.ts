// Goal: whoever reads why a container did not start learns what to do. Method: words of runtimes, as they wrote them.
import { expect, test } from "vitest";
import { engineUnavailable } from "./engine.ts";
import { ask } from "./programs.ts";
import { explain } from "./refusals.ts";

test("a runtime's refusal is told by its last word, with the remedy where one is known", () => {
  const runtime = { kind: "crun" } as const;
  const log = '{"level":"info","msg":"x"}\n{"level":"error","msg":"cgroups in hybrid mode \\"not supported\\""}\n';
  expect(explain(runtime, log)).toBe('cgroups in hybrid mode "not supported"');
  expect(explain(runtime, log.replaceAll('\\"', ""))).toContain("Use runc");
  expect(explain(runtime, "")).toBe("crun ended without a word");
  const refusal = "docker: Error response from daemon: no.\n";
  for (const advice of [
    "See 'docker run --help'.",
    "\nRun 'docker run --help' for more information",
    'level=error msg="error waiting for container: context canceled"',
  ])
    expect(explain({ kind: "docker" }, `${refusal}${advice}\n`)).toBe(refusal.trim());
});

test("where user namespaces are forbidden, that is told, and not only what podman says last", async () => {
  const said =
    "cannot clone: Operation not permitted\nuser namespaces are not enabled in /proc/sys/x\nError: cannot re-exec";
  const answer = await ask("/bin/sh", ["-c", 'echo "$1" >&2; exit 1', "sh", said]);
  expect(answer).toEqual({ failed: "Error: cannot re-exec", log: `${said}\n` });
  expect(explain({ kind: "podman" }, `${said}\n`)).toMatch(
    /^Error: cannot re-exec\. This machine forbids user namespaces/,
  );
});

test("a full disk is told from namespaces that are used up", () => {
  const full = "docker: Error response from daemon: write /data/x: no space left on device.";
  expect(explain({ kind: "docker" }, full)).toContain("Make room");
  expect(explain({ kind: "runc" }, "nsexec: failed to unshare: No space left on device")).toContain("namespaces");
});

test("an engine that does not tell its containers is refused with the same remedies, in whole sentences", () => {
  const said =
    'Error: command required for rootless mode with multiple IDs: exec: "newuidmap": executable file not found in $PATH';
  const { message } = engineUnavailable("podman does not tell its containers", explain({ kind: "podman" }, said));
  expect(message).toMatch(
    /^podman does not tell its containers: Error: .* in \$PATH\. .*the package `uidmap`.*[^.]\.$/,
  );
});
