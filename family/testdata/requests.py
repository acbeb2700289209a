#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints the requests that the kernel's own YNL library makes from our spec.

    requests.py LINUX/tools/net/ynl xdpctl.yaml > requests.txt

LINUX is a source tree of Linux 6.12. No family has to be there: the socket only
writes down what is sent. The family has id 32, and sequence numbers, which are
taken at random, are printed as 0.
"""

import json
import struct
import sys

sys.path.insert(0, sys.argv[1])

from lib import ynl  # noqa: E402

NLMSG_ERROR, NLMSG_DONE, NLM_F_DUMP = 2, 3, 0x300

REQUESTS = [
    ("dump", "type-get", {}),
    ("do", "stats-get", {"ifindex": 7}),
    ("dump", "stats-get", {}),
    ("dump", "stats-get", {"ifindex": 7}),
    ("do", "qstats-get", {"ifindex": 7, "queue": 3}),
    ("dump", "qstats-get", {}),
    ("dump", "qstats-get", {"ifindex": 7}),
    ("do", "prog-get", {"ifindex": 7, "queue": 0xFFFFFFFF}),
    ("dump", "prog-get", {}),
    ("dump", "prog-get", {"ifindex": 7}),
    ("do", "prog-set", {"ifindex": 7, "queue": 0xFFFFFFFF, "update": "noexist", "fd": 5, "mode": "native"}),
    ("do", "prog-set", {"ifindex": 7, "queue": 3, "update": "exist", "fd": 5, "expected-prog-id": 42,
                        "mode": "generic"}),
    ("do", "prog-set", {"ifindex": 7, "queue": 0xFFFFFFFF, "update": "any", "fd": 5}),
    ("do", "prog-set", {"ifindex": 7, "queue": 3, "update": "any", "fd": 5,
                        "required-features": ["basic", "rx-sg"], "required-rx-metadata-features": "hash",
                        "required-actions": ["drop", "tx"]}),
    ("do", "prog-del", {"ifindex": 7, "queue": 0xFFFFFFFF}),
    ("do", "caps-get", {"ifindex": 7}),
    ("dump", "caps-get", {}),
    ("dump", "caps-get", {"ifindex": 7}),
    ("do", "attr-get", {"ifindex": 7}),
    ("dump", "attr-get", {}),
    ("dump", "attr-get", {"ifindex": 7}),
    ("do", "attr-set", {"ifindex": 7, "update": "any", "command": "setup-redirect", "rings-num": 4, "rings-size": 512}),
    ("do", "attr-set", {"ifindex": 7, "update": "any", "command": "setup-md", "enable-md": 1}),
    ("do", "attr-set", {"ifindex": 7, "update": "any", "command": "setup-meter", "enable-meter": 0, "fd": 5}),
    ("do", "attr-del", {"ifindex": 7}),
    ("do", "port-get", {"port": 0}),
    ("dump", "port-get", {}),
    ("dump", "port-get", {"port": 1023}),
    ("do", "port-set", {"port": 0, "update": "noexist", "ifindex": 7}),
    ("do", "port-del", {"port": 1023}),
]


class Socket:
    """Stands in for a netlink socket."""

    def __init__(self, *_):
        self.sent = b""

    def setsockopt(self, *_):
        pass

    def send(self, msg, *_):
        self.sent = msg

    def recv(self, *_):
        flags, seq = struct.unpack_from("=HI", self.sent, 6)
        if flags & NLM_F_DUMP == NLM_F_DUMP:
            return struct.pack("IHHIIi", 20, NLMSG_DONE, 0, seq, 0, 0)
        return struct.pack("IHHIIi", 36, NLMSG_ERROR, 0, seq, 0, 0) + self.sent[:16]


def main():
    ynl.socket.socket = Socket
    ynl.genl_family_name_to_id = {"xdpctl": {"id": 32, "mcast": {"mgmt": 1}}}
    family = ynl.YnlFamily(sys.argv[2], schema="")
    print("# requests.py printed this; it says how.")
    for how, op, attrs in REQUESTS:
        getattr(family, how)(op, attrs)
        sent = bytearray(family.sock.sent)
        sent[8:12] = bytes(4)
        print(how, op, json.dumps(attrs, separators=(",", ":")), sent.hex())


main()
