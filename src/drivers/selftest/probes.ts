// Payloads that are calls of the kernel: what a filter of system calls, missing rights and namespaces must refuse.
import { contained, escaped, silent, type ProbePayload } from "./payload.ts";
import { ERRNO, filtered, killed, last, late, NO_FILE, NOWHERE, probe, refused, room, words } from "./probe.ts";
import { call } from "./prober.ts";

const { EBADF } = ERRNO;

const CLONE_NEW = {
  time: 0x80,
  mounts: 0x2_0000,
  cgroup: 0x200_0000,
  uts: 0x400_0000,
  ipc: 0x800_0000,
  user: 0x1000_0000,
  pid: 0x2000_0000,
  network: 0x4000_0000,
};
const SIGCHLD = 17;

const TRACING: readonly ProbePayload[] = [
  probe(["ptrace", "attach to the first process, and to one of the machine"], filtered, ({ victim }) => [
    call("ptrace", 101, 117, 0x4206, 1),
    call("ptrace", 101, 117, 0x4206, victim),
  ]),
  probe(["process-memory", "read and write the memory of another process"], filtered, ({ victim }) => [
    call("process_vm_readv", 310, 270, victim, words(0, 0), 1, words(0, 0), 1, 0),
    call("process_vm_writev", 311, 271, 1, words(0, 0), 1, words(0, 0), 1, 0),
  ]),
  probe(["pidfd-getfd", "take an open descriptor out of another process"], last(filtered), [
    late("pidfd_open", 434, 1, 0),
    late("pidfd_getfd", 438, { result: 0 }, 0, 0),
  ]),
  probe(["kcmp", "compare what two processes hold in the kernel"], filtered, [call("kcmp", 312, 272, 1, 1, 0, 0, 0)]),
  probe(["perf", "watch the processor with performance events"], filtered, [
    call("perf_event_open", 298, 241, room(128), 0, -1, -1, 0),
  ]),
  probe(["process-madvise", "advise on the memory of another process, or reap it"], filtered, [
    late("process_madvise", 440, -1, NOWHERE, 0, 21, 0),
    late("process_mrelease", 448, -1, 0),
  ]),
];

const NAMESPACES: readonly ProbePayload[] = [
  probe(
    ["unshare", "make new namespaces, one kind after the other"],
    filtered,
    Object.entries(CLONE_NEW).map(([kind, flag]) => call(`unshare (${kind})`, 272, 97, flag)),
  ),
  probe(
    ["setns", "enter the namespaces of another process"],
    filtered,
    [
      call("setns", 308, 268, -1, 0),
      late("pidfd_open", 434, 1, 0),
      call("setns", 308, 268, { result: 1 }, CLONE_NEW.mounts),
    ].filter(({ name }) => name === "setns"),
  ),
  probe(
    ["clone-namespaces", "start a process in new namespaces"],
    filtered,
    [CLONE_NEW.user, CLONE_NEW.pid, CLONE_NEW.network, CLONE_NEW.mounts | CLONE_NEW.user].map((flags) =>
      call("clone", 56, 220, flags | SIGCHLD, 0, 0, 0, 0),
    ),
  ),
  probe(["clone3", "the same by clone3, whose flags a filter cannot see"], filtered, [
    late("clone3", 435, words(CLONE_NEW.user, 0, 0, 0, SIGCHLD, 0, 0, 0), 64),
    late("clone3", 435, NOWHERE, 0),
  ]),
];

const MOUNTS: readonly ProbePayload[] = [
  probe(["mount", "mount a file system, a folder over another, and take one away"], filtered, [
    call("mount", 165, 40, "none", NO_FILE, "tmpfs", 0, 0),
    call("mount", 165, 40, "/usr", NO_FILE, "none", 4096, 0),
    call("mount", 165, 40, "none", NO_FILE, "none", 32 | 4096, 0),
    call("umount2", 166, 39, NO_FILE, 2),
  ]),
  probe(["overmount-proc", "cover /proc with a fresh one"], filtered, [
    call("mount", 165, 40, "proc", "/proc/reeve-no-such", "proc", 0, 0),
    call("umount2", 166, 39, "/proc/reeve-no-such", 2),
  ]),
  probe(["new-mount-calls", "mount by the calls of newer kernels"], filtered, [
    late("open_tree", 428, -100, "/", 0),
    late("move_mount", 429, -1, "", -1, "", 4),
    late("fsopen", 430, "tmpfs", 0),
    late("fsconfig", 431, -1, 6, 0, 0, 0),
    late("fsmount", 432, -1, 0, 0),
    late("fspick", 433, -100, "/", 0),
  ]),
  probe(["mount-setattr", "make what is read-only writable"], filtered, [
    late("mount_setattr", 442, -100, "/", 0, words(0, 1, 0, 0), 32),
    late("open_tree_attr", 467, -100, "/", 0, words(0, 1, 0, 0), 32),
  ]),
  probe(["mount-listing", "list the mounts of the machine"], filtered, [
    late("statmount", 457, words(24, 1, 1, 0), room(512), 512, 0),
    late("listmount", 458, words(24, -1, 0, 0), room(512), 64, 0),
  ]),
  probe(["chroot", "change the root, and break out of a changed one"], filtered, [
    call("chroot", 161, 51, "/ws"),
    call("chroot", 161, 51, "."),
    call("pivot_root", 155, 41, ".", "."),
  ]),
  probe(["file-handles", "open files by handle, whatever is mounted where"], filtered, [
    call("name_to_handle_at", 303, 264, -100, "/", words(64, 0, 0, 0, 0, 0, 0, 0, 0, 0), room(8), 0),
    call("open_by_handle_at", 304, 265, -100, words(8, 0, 0), 0),
  ]),
];

const KERNEL: readonly ProbePayload[] = [
  probe(["bpf", "load programs into the kernel"], filtered, [call("bpf", 321, 280, 0, room(72), 72)]),
  probe(["userfaultfd", "handle page faults of the kernel"], filtered, [call("userfaultfd", 323, 282, 1)]),
  probe(["iouring", "use io_uring, past the filter"], filtered, [
    late("io_uring_setup", 425, 1, room(120)),
    late("io_uring_enter", 426, -1, 0, 0, 0, 0, 0),
    late("io_uring_register", 427, -1, 0, 0, 0),
  ]),
  probe(["keyctl", "use the keyrings of the kernel"], filtered, [
    call("keyctl", 250, 219, 0, -4, 0),
    call("add_key", 248, 217, "user", "reeve", "x", 1, -3),
    call("request_key", 249, 218, "user", "reeve", 0, 0),
  ]),
  probe(["modules", "load and unload modules of the kernel"], filtered, [
    call("init_module", 175, 105, NOWHERE, 0, ""),
    call("finit_module", 313, 273, -1, "", 0),
    call("delete_module", 176, 106, "reeve_no_such", 0),
  ]),
  probe(["kexec", "boot another kernel"], filtered, [
    call("kexec_load", 246, 104, 0, 99, 0, 0xffff),
    call("kexec_file_load", 320, 294, -1, -1, 0, "", 0xffff),
  ]),
  probe(["reboot", "restart the machine (with a wrong key)"], filtered, [call("reboot", 169, 142, 0, 0, 0, 0)]),
  probe(["swap", "use a file as swap"], filtered, [
    call("swapon", 167, 224, NO_FILE, 0),
    call("swapoff", 168, 225, NO_FILE),
  ]),
  probe(["quota", "change quotas of disks"], filtered, [
    call("quotactl", 179, 60, 0, NO_FILE, 0, 0),
    late("quotactl_fd", 443, -1, 0, 0, 0),
    call("acct", 163, 89, NO_FILE),
  ]),
  probe(["clock", "set the clock"], filtered, [
    call("clock_settime", 227, 112, 0, NOWHERE),
    call("settimeofday", 164, 170, words(1, 2_000_000), 0),
    call("adjtimex", 159, 171, NOWHERE),
    call("clock_adjtime", 305, 266, 0, NOWHERE),
  ]),
  probe(["hostname", "rename the machine"], filtered, [
    call("sethostname", 170, 161, NOWHERE, 13),
    call("setdomainname", 171, 162, NOWHERE, 13),
  ]),
  probe(["io-ports", "speak to devices by ports"], filtered, [
    call("iopl", 172, undefined, 3),
    call("ioperm", 173, undefined, 0, 1, 1),
  ]),
  probe(["fanotify", "watch all files of the machine"], filtered, [
    call("fanotify_init", 300, 262, 0, 0),
    call("fanotify_mark", 301, 263, -1, 1, 1, -100, "/"),
  ]),
  probe(["memory-placement", "move memory between nodes of the machine"], filtered, [
    call("mbind", 237, 235, 0, 4096, 1, words(1), 64, 0),
    call("set_mempolicy", 238, 237, 0, NOWHERE, 0),
    call("move_pages", 279, 239, 1, 0, 0, 0, 0, 0),
    call("migrate_pages", 256, 238, 0, 64, words(1), words(1)),
  ]),
  probe(["legacy-calls", "use calls that only old programs know"], filtered, [
    call("modify_ldt", 154, undefined, 0, room(64), 64),
    call("uselib", 134, undefined, "/usr/bin/true"),
    call("_sysctl", 156, undefined, NOWHERE),
    call("vhangup", 153, 58),
    call("lookup_dcookie", 212, 18, 0, room(64), 64),
    call("nfsservctl", 180, 42, 0, 0, 0),
  ]),
  probe(["newest-calls", "use calls of newer kernels, and of kernels to come"], filtered, [
    late("memfd_secret", 447, 0),
    late("cachestat", 451, -1, 0, 0, 0),
    late("lsm_get_self_attr", 459, 100, NOWHERE, NOWHERE, 0),
    late("lsm_set_self_attr", 460, 100, NOWHERE, 0, 0),
    late("lsm_list_modules", 461, NOWHERE, NOWHERE, 0),
    late("file_setattr", 469, -1, "", NOWHERE, 0, 0),
    late("number 480", 480),
    late("number 511", 511),
    late("number 1000", 1000),
  ]),
  probe(["syslog", "read the log of the kernel"], filtered, [
    call("syslog", 103, 116, 3, room(256), 256),
    call("syslog", 103, 116, 10, 0, 0),
  ]),
  probe(["personality", "run with an older program's weaker memory protection"], refused, [
    call("personality", 135, 92, 0x40_0000),
    call("personality", 135, 92, 0x10_0000),
  ]),
  probe(["x32-gate", "enter the kernel by the numbers of x32"], killed, [call("getpid (x32)", 0x4000_0027, undefined)]),
  probe(["32-bit-gate", "enter the kernel as a 32-bit program does"], killed, [
    { ...call("getpid (32-bit)", 20, undefined), entry: "32-bit" },
  ]),
];

const RIGHTS: readonly ProbePayload[] = [
  probe(["setuid", "become root"], refused, [
    call("setuid", 105, 146, 0),
    call("setresuid", 117, 147, 0, 0, 0),
    call("setgid", 106, 144, 0),
    call("setgroups", 116, 159, 1, words(0)),
  ]),
  probe(["capabilities", "gain rights: in its sets, in the ambient set, by secure bits"], refused, [
    call("capset", 126, 91, words(0x2008_0522), words(-1, -1, -1)),
    call("prctl (ambient)", 157, 167, 47, 2, 21, 0, 0),
    call("prctl (secure bits)", 157, 167, 28, 0, 0, 0, 0),
    call("prctl (no new privileges off)", 157, 167, 38, 0, 0, 0, 0),
  ]),
  probe(
    ["no-new-privs", "find that programs may give new privileges"],
    (results) => {
      if (results[0] === undefined) return silent("the question was not answered");
      return results[0] === 1 ? contained("the kernel gives none") : escaped("set-uid programs have effect");
    },
    [call("prctl", 157, 167, 39, 0, 0, 0, 0)],
  ),
  probe(["priority", "go before all others"], refused, [
    call("setpriority", 141, 140, 0, 0, -20),
    call("sched_setscheduler", 144, 119, 0, 1, words(50)),
    call("ioprio_set", 251, 30, 1, 0, 1 << 13),
  ]),
  probe(["raise-limits", "raise its own limits"], refused, [
    call("prlimit (descriptors)", 302, 261, 0, 7, words(1_048_577, 1_048_577), 0),
    call("prlimit (core)", 302, 261, 0, 4, words(-1, -1), 0),
    call("prlimit (priority)", 302, 261, 0, 13, words(40, 40), 0),
    call("prlimit (real time)", 302, 261, 0, 14, words(99, 99), 0),
  ]),
  probe(["device-nodes", "make device nodes: memory, zero, a disk"], refused, [
    call("mknodat", 259, 33, -100, "/ws/reeve-mem", 0o20666, 0x101),
    call("mknodat", 259, 33, -100, "/tmp/reeve-kmsg", 0o20666, 0x10b),
    call("mknodat", 259, 33, -100, "/ws/reeve-disk", 0o60666, 0x800),
    call("mknodat", 259, 33, -100, "/dev/shm/reeve-disk", 0o60666, 0x700),
  ]),
  probe(["tiocsti", "type into the terminal, also with rubbish in the request's upper half"], filtered, [
    call("ioctl (TIOCSTI)", 16, 29, 0, 0x5412, "x"),
    call("ioctl (TIOCSTI)", 16, 29, 0, 0x1_0000_5412n, "x"),
    call("ioctl (TIOCLINUX)", 16, 29, 0, 0x541c, "\u0003"),
  ]),
  probe(
    ["fdleak", "find open descriptors beside 0, 1 and 2"],
    (results) => {
      if (results.some((result) => result === undefined)) return silent("not all were looked at");
      const open = results.flatMap((result, at) => (result === -EBADF ? [] : [at + 3]));
      return open.length === 0 ? contained("only 0, 1 and 2 are open") : escaped(`open: ${open.join(", ")}`);
    },
    Array.from({ length: 61 }, (_, at) => call(`fcntl ${at + 3}`, 72, 25, at + 3, 1)),
  ),
  probe(
    ["kill", "end a process of Reeve by a signal"],
    // A process of its own may have that number; what counts is who is dead.
    (results) => (results[0] === undefined ? silent("no signal was sent") : contained("it met nobody outside")),
    ({ victim }) => [call("kill", 62, 129, victim, 15), call("tkill", 200, 130, victim, 15)],
    {
      control: true,
      outside: async ({ victimLives }) =>
        (await victimLives()) ? undefined : escaped("the process of Reeve was ended"),
    },
  ),
  probe(
    ["host-ipc", "find shared memory, message queues and semaphores of the machine"],
    refused,
    ({ ipcKey, queue }) => [
      call("shmget", 29, 194, ipcKey, 0, 0),
      call("msgget", 68, 186, ipcKey, 0),
      call("semget", 64, 190, ipcKey, 0, 0),
      call("mq_open", 240, 180, queue, 0, 0, 0),
    ],
  ),
];

export const KERNEL_PROBES: readonly ProbePayload[] = [...TRACING, ...NAMESPACES, ...MOUNTS, ...KERNEL, ...RIGHTS];
