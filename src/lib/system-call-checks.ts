// What is asked of the arguments of system calls that are allowed in part, and how refusals are answered; the names are those of
// the calls that src/lib/system-calls.ts lists as checked. Each driver writes them in the language of its own filter.

export const EPERM = 1;
export const ENOSYS = 38;
export const EPROTONOSUPPORT = 93;
export const ESOCKTNOSUPPORT = 94;
export const EAFNOSUPPORT = 97;

/** From here on calls have the same number everywhere, and libraries know how to do without them. */
export const FIRST_OF_NEW = 424;

export const NEW_NAMESPACES = 0x7e02_0080;
export const MAP_HUGETLB = 0x4_0000;
export const SHM_HUGETLB = 0x800;
export const MFD_HUGETLB = 0x4;
export const SECCOMP_NEW_LISTENER = 0x8;
export const SOCKET_FLAGS = 0x8_0800;
export const FILE_TYPE = 0o170000;
export const TERMINAL_IOCTLS = [
  0x5412, // TIOCSTI: types into the terminal
  0x541c, // TIOCLINUX: the same on a console
  0x541d, // TIOCCONS: takes the console's output
  0x5423, // TIOCSETD: loads line disciplines
];
export const PRCTL_OPTIONS = [
  1, 2, 3, 4, 7, 8, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 36, 37, 38, 39, 40, 41, 42, 47, 50, 51, 52,
  53, 54, 55, 56, 63, 64, 65, 66, 0x4155_5856, 0x5356_4d41,
];

/** Files, pipes and sockets; no devices. */
export const FILE_TYPES = [0, 0o010000, 0o100000, 0o140000];
