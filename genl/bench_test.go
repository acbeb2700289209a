// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"testing"
	"unsafe"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The same request is made in four ways, to compare: through Conn; on a bare
// file descriptor, which is what C would do; and through genetlink's Execute,
// with its default buffer and with the one that its documentation advises.
//
// "do" asks nlctrl for itself, and "dump" for all families.

func BenchmarkDo(b *testing.B) {
	req := familyRequest("family nlctrl")
	req.Attrs = AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, "nlctrl")

	b.Run("conn", func(b *testing.B) {
		c := dialKernel(b)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			err := c.Do(b.Context(), req, func(m Message) error {
				n += len(m.Attrs)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("conn-one-reply", func(b *testing.B) {
		c := dialKernel(b)
		req := req
		req.OneReply = true
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Do(b.Context(), req, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw-one-reply", func(b *testing.B) {
		r := newRawSocket(b)
		b.ReportAllocs()
		for b.Loop() {
			r.send(&req, 0)
			r.recv()
		}
	})
	b.Run("raw", func(b *testing.B) {
		r := newRawSocket(b)
		b.ReportAllocs()
		for b.Loop() {
			r.send(&req, unix.NLM_F_ACK)
			for r.recv() != unix.NLMSG_ERROR {
			}
		}
	})
	benchmarkExecute(b, &req, netlink.Request)
}

func BenchmarkDump(b *testing.B) {
	req := familyRequest("families")

	b.Run("conn", func(b *testing.B) {
		c := dialKernel(b)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			cur := c.Dump(b.Context(), req)
			for cur.Next() {
				n += len(cur.Message().Attrs)
			}
			if err := cur.Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		r := newRawSocket(b)
		b.ReportAllocs()
		for b.Loop() {
			r.send(&req, unix.NLM_F_ACK|unix.NLM_F_DUMP)
			for r.recv() != unix.NLMSG_DONE {
			}
		}
	})
	benchmarkExecute(b, &req, netlink.Request|netlink.Dump)
}

func benchmarkExecute(b *testing.B, req *Request, flags netlink.HeaderFlags) {
	for name, size := range map[string]int{"execute": 0, "execute-32k": 32 << 10} {
		b.Run(name, func(b *testing.B) {
			c, err := genetlink.Dial(&netlink.Config{Strict: true, MessageBufferSize: size})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			m := genetlink.Message{
				Header: genetlink.Header{Command: req.Command, Version: req.Family.Version},
				Data:   req.Attrs,
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Execute(m, req.Family.ID, flags); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// rawSocket is a bare netlink socket, used as C would use it.
type rawSocket struct {
	b   *testing.B
	fd  int
	seq uint32
	out []byte
	in  []byte
}

func newRawSocket(b *testing.B) *rawSocket {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	return &rawSocket{b: b, fd: fd, in: make([]byte, 32<<10)}
}

func (r *rawSocket) send(req *Request, flags uint16) {
	r.seq++
	r.out = appendRequest(r.out[:0], req, flags, r.seq)
	r.call(unix.SYS_SENDTO, r.out)
}

// recv receives a datagram and returns the type of the last message in it.
func (r *rawSocket) recv() (typ uint16) {
	b := r.in[:r.call(unix.SYS_RECVFROM, r.in)]
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil || m.seq() != r.seq {
			r.b.Fatal("unexpected message", m, err)
		}
		typ, b = m.typ(), rest
	}
	return typ
}

func (r *rawSocket) call(nr uintptr, b []byte) int {
	n, _, errno := unix.RawSyscall6(nr, uintptr(r.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		r.b.Fatal(errno)
	}
	return int(n)
}
