# SPDX-License-Identifier: BSD-3-Clause
"""Talks to the family with pyroute2: prints what stats-get dumps, attaches the
program that is file descriptor 3 to a netdev, prints what prog-get says, makes a
request that is refused, and detaches."""

import json
import sys

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

STATS_GET, PROG_GET, PROG_SET, PROG_DEL = 2, 4, 5, 6


class stats(genlmsg):
    prefix = "XDPCTL_A_STATS_"
    nla_map = (
        ("XDPCTL_A_STATS_UNSPEC", "none"),
        ("XDPCTL_A_STATS_IFINDEX", "uint32"),
        ("XDPCTL_A_STATS_QUEUE", "uint32"),
        ("XDPCTL_A_STATS_PAD", "hex"),
        ("XDPCTL_A_STATS_PACKETS", "uint64"),
        ("XDPCTL_A_STATS_BYTES", "uint64"),
        ("XDPCTL_A_STATS_ABORTED", "uint64"),
        ("XDPCTL_A_STATS_DROP", "uint64"),
        ("XDPCTL_A_STATS_INVALID", "uint64"),
        ("XDPCTL_A_STATS_PASS", "uint64"),
        ("XDPCTL_A_STATS_REDIRECT", "uint64"),
        ("XDPCTL_A_STATS_REDIRECT_ERRORS", "uint64"),
        ("XDPCTL_A_STATS_TX", "uint64"),
        ("XDPCTL_A_STATS_TX_ERRORS", "uint64"),
        ("XDPCTL_A_STATS_XMIT_PACKETS", "uint64"),
        ("XDPCTL_A_STATS_XMIT_BYTES", "uint64"),
        ("XDPCTL_A_STATS_XMIT_ERRORS", "uint64"),
        ("XDPCTL_A_STATS_XMIT_FULL", "uint64"),
        ("XDPCTL_A_STATS_EXCEPTION_ABORTED", "uint64"),
        ("XDPCTL_A_STATS_EXCEPTION_TX", "uint64"),
        ("XDPCTL_A_STATS_EXCEPTION_REDIRECT", "uint64"),
        ("XDPCTL_A_STATS_EXCEPTION_INVALID", "uint64"),
    )


class prog(genlmsg):
    prefix = "XDPCTL_A_PROG_"
    nla_map = (
        ("XDPCTL_A_PROG_UNSPEC", "none"),
        ("XDPCTL_A_PROG_IFINDEX", "uint32"),
        ("XDPCTL_A_PROG_QUEUE", "uint32"),
        ("XDPCTL_A_PROG_PAD", "hex"),
        ("XDPCTL_A_PROG_UPDATE", "uint32"),
        ("XDPCTL_A_PROG_FD", "uint32"),
        ("XDPCTL_A_PROG_EXPECTED_PROG_ID", "uint32"),
        ("XDPCTL_A_PROG_MODE", "uint32"),
        ("XDPCTL_A_PROG_PROG_ID", "uint32"),
        ("XDPCTL_A_PROG_LINK_ID", "uint32"),
        ("XDPCTL_A_PROG_OWNER", "uint32"),
        ("XDPCTL_A_PROG_HW_PROG_ID", "uint32"),
        ("XDPCTL_A_PROG_TAG", "hex"),
        ("XDPCTL_A_PROG_NAME", "asciiz"),
    )


def plain(msg):
    """The attributes of a message by their names in the spec."""
    prefix = len(msg.prefix)
    return {name[prefix:].lower().replace("_", "-"): value for name, value in msg["attrs"]}


class Client(GenericNetlinkSocket):
    def ask(self, cls, cmd, flags=NLM_F_ACK, **attrs):
        self.marshal.msg_map[self.prid] = cls
        msg = cls()
        msg["cmd"], msg["version"] = cmd, 1
        msg["attrs"] = [(cls.prefix + k.upper(), v) for k, v in attrs.items()]
        answer = self.nlm_request(msg, self.prid, NLM_F_REQUEST | flags)
        return [plain(m) for m in answer if m["header"]["type"] == self.prid]


def main(ifindex):
    client = Client()
    client.bind("xdpctl", stats)
    out = {"stats": client.ask(stats, STATS_GET, NLM_F_DUMP)}
    client.ask(prog, PROG_SET, ifindex=ifindex, fd=3, update=1)
    out["prog"] = client.ask(prog, PROG_GET, NLM_F_DUMP)
    try:
        client.ask(prog, PROG_SET, ifindex=ifindex, fd=3, update=1)
    except NetlinkError as e:
        out["refused"] = e.code
    client.ask(prog, PROG_DEL, ifindex=ifindex)
    print(json.dumps(out))


main(int(sys.argv[1]))
