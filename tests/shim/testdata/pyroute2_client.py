# SPDX-License-Identifier: BSD-3-Clause
"""Talks to the family of shim.yaml with pyroute2: prints what a do, a dump and
a request that is refused come to."""

import json

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

THING_GET, THING_SET = 1, 2


class thing(genlmsg):
    nla_map = (
        ("UNSPEC", "none"),
        ("ID", "uint32"),
        ("NAME", "asciiz"),
        ("COLOUR", "uint32"),
        ("FD", "uint32"),
        ("SIZE", "uint64"),
    )


class Client(GenericNetlinkSocket):
    def ask(self, cmd, flags=NLM_F_ACK, **attrs):
        msg = thing()
        msg["cmd"], msg["version"] = cmd, 1
        msg["attrs"] = [(k.upper(), v) for k, v in attrs.items()]
        answer = self.nlm_request(msg, self.prid, NLM_F_REQUEST | flags)
        return [{k.lower(): v for k, v in m["attrs"]} for m in answer if m["header"]["type"] == self.prid]


client = Client()
client.bind("shim", thing)
client.ask(THING_SET, id=2, name="two", colour=2)
out = {"do": client.ask(THING_GET, id=2), "dump": client.ask(THING_GET, NLM_F_DUMP)}
try:
    client.ask(THING_GET, id=99)
except NetlinkError as e:
    out["refused"] = e.code
client.close()
print(json.dumps(out))
