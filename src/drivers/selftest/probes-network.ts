// Payloads that open sockets: of families that nobody inside needs, and connections to anything outside.
import { contained, escaped, type ProbePayload } from "./payload.ts";
import { each, ERRNO, filtered, type Judge, nameOf, probe } from "./probe.ts";
import { call, type Call } from "./prober.ts";

const SOCK = { stream: 1, datagram: 2, raw: 3, sequence: 5 };
const socket = (name: string, family: number, type: number, protocol: number): Call =>
  call(`socket (${name})`, 41, 198, family, type, protocol);

/** Families of sockets that no program inside has a use for, by their number. */
const FAMILIES: readonly (readonly [string, number])[] = [
  ["AX.25", 3],
  ["IPX", 4],
  ["AppleTalk", 5],
  ["X.25", 9],
  ["key", 15],
  ["RDS", 21],
  ["PPPoX", 24],
  ["CAN", 29],
  ["TIPC", 30],
  ["Bluetooth", 31],
  ["phonet", 35],
  ["IEEE 802.15.4", 36],
  ["NFC", 39],
  ["KCM", 41],
  ["QIPCRTR", 42],
  ["SMC", 43],
  ["MCTP", 45],
];

const SOCKETS: readonly ProbePayload[] = [
  probe(["rawsock", "open raw sockets: IP, ICMP, of all versions"], filtered, [
    socket("raw", 2, SOCK.raw, 255),
    socket("raw ICMP", 2, SOCK.raw, 1),
    socket("raw IPv6", 10, SOCK.raw, 58),
    socket("ping", 2, SOCK.datagram, 1),
  ]),
  probe(["packet-socket", "open sockets below IP: packets, express data path"], filtered, [
    socket("packet", 17, SOCK.raw, 0x300),
    socket("packet", 17, SOCK.datagram, 0x300),
    socket("XDP", 44, SOCK.raw, 0),
  ]),
  probe(["vsock", "speak to the machine below this one"], filtered, [
    socket("vsock", 40, SOCK.stream, 0),
    socket("vsock", 40, SOCK.datagram, 0),
  ]),
  probe(["crypto-socket", "use the cryptography of the kernel"], filtered, [socket("ALG", 38, SOCK.sequence, 0)]),
  probe(
    ["rare-sockets", "open sockets of families that nobody uses"],
    filtered,
    FAMILIES.flatMap(([name, family]) => [SOCK.stream, SOCK.raw].map((type) => socket(name, family, type, 0))),
  ),
  probe(["netlink", "speak to the firewall, the audit and other parts of the kernel over netlink"], filtered, [
    ...[4, 6, 9, 10, 12, 15, 16, 21].map((protocol) => socket(`netlink ${protocol}`, 16, SOCK.raw, protocol)),
  ]),
];

/** `sockaddr`s; a port is in network order. */
const port = (number: number): number[] => [number >> 8, number & 0xff];
const inet = (address: string, number: number): Uint8Array =>
  Uint8Array.from([2, 0, ...port(number), ...address.split(".").map(Number), 0, 0, 0, 0, 0, 0, 0, 0]);
const inet6 = (groups: readonly number[], number: number): Uint8Array =>
  Uint8Array.from([10, 0, ...port(number), 0, 0, 0, 0, ...groups.flatMap(port), 0, 0, 0, 0]);
const unix = (path: string): Uint8Array =>
  Uint8Array.from([1, 0, ...Buffer.from(path), ...(path.startsWith("\0") ? [] : [0])]);

const NONBLOCK = 0o4000;
/** What would not be answered at once is not waited for: that it is under way tells that there is a way. */
const ASIDE = SOCK.stream | NONBLOCK;
/** Each: a socket, and its connection; only connections count. */
const connections = (...list: readonly (readonly [string, number, number, Uint8Array])[]): readonly Call[] =>
  list.flatMap(([name, family, type, address], at) => [
    socket(name, family, type, 0),
    call(`connect (${name})`, 42, 203, { result: at * 2 }, address, address.length),
  ]);

const reached: Judge = (results, calls) => {
  const pairs = calls.flatMap((made, at) => (made.name.startsWith("connect") ? [{ made, result: results[at] }] : []));
  const { EINPROGRESS } = ERRNO;
  const judge = each((result, { name }) =>
    result >= 0 || result === -EINPROGRESS ? escaped(`${name} found a way`) : contained(nameOf(result)),
  );
  return judge(
    pairs.map(({ result }) => result),
    pairs.map(({ made }) => made),
  );
};

const NETWORK: readonly ProbePayload[] = [
  probe(
    ["loopback", "connect to a port of the machine's loopback, by IPv4 and IPv6"],
    reached,
    ({ port: at }) =>
      connections(
        ["IPv4", 2, SOCK.stream, inet("127.0.0.1", at)],
        ["IPv6", 10, SOCK.stream, inet6([0, 0, 0, 0, 0, 0, 0, 1], at)],
        ["mapped", 10, SOCK.stream, inet6([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], at)],
      ),
    { control: true },
  ),
  probe(["outside", "connect to another network, by TCP and UDP, IPv4 and IPv6"], reached, () =>
    connections(
      ["TCP", 2, ASIDE, inet("192.0.2.1", 443)],
      ["UDP", 2, SOCK.datagram, inet("192.0.2.1", 443)],
      ["TCP over IPv6", 10, ASIDE, inet6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 443)],
      ["UDP over IPv6", 10, SOCK.datagram, inet6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 443)],
    ),
  ),
  probe(["metadata", "connect to a cloud's metadata, and to private networks"], reached, () =>
    connections(
      ["metadata", 2, ASIDE, inet("169.254.169.254", 80)],
      ["10/8", 2, SOCK.datagram, inet("10.0.0.1", 80)],
      ["192.168/16", 2, SOCK.datagram, inet("192.168.0.1", 80)],
      ["broadcast", 2, SOCK.datagram, inet("255.255.255.255", 67)],
    ),
  ),
  probe(["dns", "ask a server of names"], reached, () =>
    connections(["UDP", 2, SOCK.datagram, inet("192.0.2.53", 53)], ["TCP", 2, ASIDE, inet("192.0.2.53", 53)]),
  ),
  probe(
    ["abstract", "connect to a socket of the machine that has a name and no file"],
    reached,
    ({ abstract }) => connections(["abstract", 1, SOCK.stream, unix(`\0${abstract}`)]),
    { control: true },
  ),
  probe(
    ["hostsock", "connect to a socket file of the machine"],
    reached,
    ({ socket: path }) => connections(["file", 1, SOCK.stream, unix(path)]),
    { control: true },
  ),
];

export const NETWORK_PROBES: readonly ProbePayload[] = [...SOCKETS, ...NETWORK];
