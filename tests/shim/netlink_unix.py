#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs a Python program whose generic netlink sockets lead to a unix socket.

    netlink_unix.py SOCKET PROGRAM [ARGUMENT]...

docs/transport.md has the protocol. What XDPCTL_FDS lists, as 3,4, is passed on
with each request, for the attributes that mean file descriptors.
"""

import array
import collections
import os
import runpy
import socket
import struct
import sys

REQUEST, RECEIVE, SYNC, SETOPT, GETOPT = range(1, 6)
HELLO, DATA, ERROR, ACK = range(0x100, 0x104)
HEADER = struct.Struct("=HHIII")
WINDOW = 2
LARGEST = 256 << 10
NETLINK_GENERIC = 16

PATH = None  # of the unix socket
FDS = [int(fd) for fd in os.environ.get("XDPCTL_FDS", "").split(",") if fd]


class Socket(socket.socket):
    """A socket; for generic netlink, one of type SOCK_SEQPACKET instead."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        self.genl = fileno is None and family == socket.AF_NETLINK and proto == NETLINK_GENERIC
        if not self.genl:
            super().__init__(family, type, proto, fileno)
            return
        super().__init__(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.received = self.room = self.id = 0
        self.early = collections.deque()
        super().connect(PATH)
        kind, version, _, self.port, _ = self._get()
        if (kind, version) != (HELLO, 1):
            raise OSError(f"{PATH}: not a server of generic netlink")

    def _put(self, kind, data=b"", id=0, fds=()):
        header = HEADER.pack(kind, WINDOW, self.received, self.room, id)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        super().sendmsg([header, data], rights)

    def _get(self, flags=0):
        b = super().recv(LARGEST, flags)
        if not b:
            raise ConnectionResetError(f"{PATH}: the server hung up")
        kind, _, id, errno, value = HEADER.unpack_from(b)
        return kind, id, errno, value, b[HEADER.size:]

    def _control(self, kind, *words):
        self.id += 1
        self._put(kind, struct.pack(f"={len(words)}I", *words), self.id)
        while True:
            got = self._get()
            if got[:2] == (ACK, self.id):
                if got[2]:
                    raise OSError(got[2], os.strerror(got[2]))
                return got[3]
            self.early.append(got)

    def setsockopt(self, level, name, value, *rest):
        if not self.genl:
            return super().setsockopt(level, name, value, *rest)
        if (level, name) == (socket.SOL_SOCKET, socket.SO_SNDBUF):
            return None
        return self._control(SETOPT, level, name, value & 0xffffffff) and None

    def getsockopt(self, level, name, *rest):
        if not self.genl:
            return super().getsockopt(level, name, *rest)
        return self._control(GETOPT, level, name)

    def bind(self, address):
        if not self.genl:
            super().bind(address)

    def getsockname(self):
        return (self.port, 0) if self.genl else super().getsockname()

    def send(self, data, flags=0):
        if not self.genl:
            return super().send(data, flags)
        self._put(REQUEST, data, fds=FDS)
        return len(data)

    def sendto(self, data, *rest):
        return self.send(data) if self.genl else super().sendto(data, *rest)

    def recv(self, size, flags=0):
        if not self.genl:
            return super().recv(size, flags)
        self.room = max(self.room, size)
        _, _, errno, _, data = self._next(flags & socket.MSG_DONTWAIT)
        self.received += 1
        self._put(RECEIVE)  # so that the next can be polled for
        if errno:
            raise OSError(errno, os.strerror(errno))
        return data[:size]

    def _next(self, dontwait):
        while self.early:
            got = self.early.popleft()
            if got[0] in (DATA, ERROR):
                return got
        asked = None
        while True:
            try:
                got = self._get(dontwait if asked is None else 0)
            except BlockingIOError:
                if asked is not None:
                    raise
                self.id += 1
                asked = self.id
                self._put(SYNC, id=asked)
                continue
            if got[0] in (DATA, ERROR):
                return got
            if asked is not None and got[:2] == (ACK, asked):
                raise BlockingIOError(11, "nothing is there")

    def recv_into(self, buffer, nbytes=0, flags=0):
        if not self.genl:
            return super().recv_into(buffer, nbytes, flags)
        data = self.recv(nbytes or len(buffer), flags)
        memoryview(buffer)[:len(data)] = data
        return len(data)


if __name__ == "__main__":
    PATH = sys.argv[1]
    sys.argv = sys.argv[2:]
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    socket.socket = Socket
    runpy.run_path(sys.argv[0], run_name="__main__")
