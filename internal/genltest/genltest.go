// SPDX-License-Identifier: BSD-3-Clause

// Package genltest is the other side of a generic netlink connection in tests:
// it answers what it likes, also what no kernel would. It shares no code with
// the packages under test.
package genltest

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var ne = binary.NativeEndian

const headerLen = unix.NLMSG_HDRLEN

// Request is a request as it came.
type Request struct {
	Type  uint16 // the family
	Flags uint16
	Seq   uint32
	Raw   []byte // from the netlink header on
	Body  []byte // from the generic netlink header on
}

// Attrs are the attributes, if the family has no header of its own.
func (r Request) Attrs() []byte { return r.Body[unix.GENL_HDRLEN:] }

// Fake answers requests: for each, its answer function returns the datagrams to
// send. A nil datagram hangs up.
type Fake struct {
	tb     testing.TB
	answer func(r Request) [][]byte

	mu    sync.Mutex
	dials int
	wg    sync.WaitGroup
}

// New returns a fake, all of whose connections must be closed when the test
// ends.
func New(tb testing.TB, answer func(r Request) [][]byte) *Fake {
	f := &Fake{tb: tb, answer: answer}
	tb.Cleanup(f.wg.Wait)
	return f
}

// Dial returns a socket that leads to the fake.
func (f *Fake) Dial() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	f.mu.Lock()
	f.dials++
	f.mu.Unlock()
	ours := os.NewFile(uintptr(fds[1]), "fake")
	f.wg.Go(func() {
		defer ours.Close()
		f.serve(ours)
	})
	return os.NewFile(uintptr(fds[0]), "conn"), nil
}

// Dials returns how many sockets there have been.
func (f *Fake) Dials() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

func (f *Fake) serve(s *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err != nil || n == 0 {
			if err != nil && err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				f.tb.Error(err)
			}
			return
		}
		if n < headerLen+unix.GENL_HDRLEN || int(ne.Uint32(buf)) != n {
			f.tb.Errorf("request %v", buf[:n])
			return
		}
		for _, d := range f.answer(Request{
			Type:  ne.Uint16(buf[4:]),
			Flags: ne.Uint16(buf[6:]),
			Seq:   ne.Uint32(buf[8:]),
			Raw:   buf[:n],
			Body:  buf[headerLen:n],
		}) {
			if d == nil {
				return
			}
			if _, err := s.Write(d); err != nil {
				return // the other side may have hung up
			}
		}
	}
}

// Join makes one datagram of messages.
func Join(msgs ...[]byte) []byte {
	var b []byte
	for _, m := range msgs {
		b = pad(append(b, m...))
	}
	return b
}

func pad(b []byte) []byte {
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

// Message builds a netlink message.
func Message(typ, flags uint16, seq uint32, body []byte) []byte {
	b := ne.AppendUint32(nil, uint32(headerLen+len(body)))
	b = ne.AppendUint16(b, typ)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 4711)
	return append(b, body...)
}

// Reply builds a message of the family that was asked.
func (r Request) Reply(flags uint16, attrs ...byte) []byte {
	return Message(r.Type, flags, r.Seq, append([]byte{r.Body[0], r.Body[1], 0, 0}, attrs...))
}

// Ack builds the acknowledgement that the kernel would send: with the whole
// request if it was refused. Tlvs are NLMSGERR_ATTR_*, or nil.
func (r Request) Ack(errno syscall.Errno, tlvs []byte) []byte {
	if errno == 0 {
		return r.ack(errno, unix.NLM_F_CAPPED, r.Raw[:headerLen], tlvs)
	}
	return r.ack(errno, 0, r.Raw, tlvs)
}

// Capped builds a refusal as the kernel would send it with NETLINK_CAP_ACK.
func (r Request) Capped(errno syscall.Errno, tlvs []byte) []byte {
	return r.ack(errno, unix.NLM_F_CAPPED, r.Raw[:headerLen], tlvs)
}

func (r Request) ack(errno syscall.Errno, flags uint16, request, tlvs []byte) []byte {
	body := pad(append(ne.AppendUint32(nil, uint32(-int32(errno))), request...))
	if tlvs != nil {
		flags |= unix.NLM_F_ACK_TLVS
	}
	return Message(unix.NLMSG_ERROR, flags, r.Seq, append(body, tlvs...))
}

// Done builds the end of a dump.
func (r Request) Done(flags uint16, errno syscall.Errno, tlvs []byte) []byte {
	if tlvs != nil {
		flags |= unix.NLM_F_ACK_TLVS
	}
	body := ne.AppendUint32(nil, uint32(-int32(errno)))
	return Message(unix.NLMSG_DONE, flags|unix.NLM_F_MULTI, r.Seq, append(body, tlvs...))
}
