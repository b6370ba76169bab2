// What an interpreter that waits is started with: it reads the text of its program from descriptor 3, closes that, and does with the
// text what its flag would have done: the same names, the same output, the same exit.
//
// Whatever can be done before the text is there is done then: the parts of the interpreter that every program needs have run once.
import type { SandboxSpec } from "../../ports/sandbox.ts";

export type Interpreter = NonNullable<SandboxSpec["warm"]>;

export type Bootstrap = {
  readonly program: string;
  /** Sent behind the text. No text holds it, since no command line may. */
  readonly end: "" | "\0";
};

/**
 * It knows the text's end without the pipe's, so that it is woken once. Names that are made here are gone when the program
 * begins, and its failure is told without the frames of this text.
 *
 * The pause at the end lets go of the processor: whoever hears the answer was woken on this very one, and would otherwise wait until the
 * interpreter has taken itself apart, some two milliseconds. It is as long as hearing takes, several times over: after a shorter one the
 * interpreter is back before whoever was woken has had its turn, and by the scheduler's reckoning it goes first.
 */
const PYTHON = String.raw`
import os, sys, time
def job(sys=sys, pause=time.sleep, quit=os._exit, read=os.read, close=os.close, own=globals()):
    text = b""
    while not text.endswith(b"\0"):
        part = read(3, 65536)
        if not part: quit(125)
        text += part
    close(3)
    for name in ("os", "sys", "time", "job"): del own[name]
    streams = (sys.stdout, sys.stderr)
    try:
        exec(compile(text[:-1].decode("utf-8", "surrogateescape"), "<string>", "exec"), own)
        failed = False
    except Exception as error:
        trace = error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        failed = True
    try:
        for stream in streams: stream.flush()
    except (OSError, ValueError, AttributeError): pass
    pause(5e-4)
    if failed: sys.exit(1)
exec(compile("None", "<string>", "exec"))
job()`;

const NODE = `{
  const { readFileSync, closeSync } = require("fs");
  const text = readFileSync(3, "utf8");
  closeSync(3);
  const vm = require("vm");
  const importModuleDynamically = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  let script;
  try {
    script = new vm.Script(text, { filename: "[eval]", importModuleDynamically });
  } catch (error) {
    if (!/import|export|await/.test(error.message)) throw error;
    import("data:text/javascript," + encodeURIComponent(text));
  }
  script?.runInThisContext();
}`;

export const BOOTSTRAPS: Readonly<Record<Interpreter, Bootstrap>> = {
  shell: { program: 'eval "$(cat <&3)" 3<&-', end: "" },
  python: { program: PYTHON, end: "\0" },
  node: { program: NODE, end: "" },
};
