// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

// fakeFamily is the family that a fake serves.
var fakeFamily = &Family{ID: 0x20, Name: "fake", Version: 3, Groups: []Group{{ID: 1, Name: "events"}}}

// fakeNames names its attributes: "a" and "nest", in which are "x" and "y".
type fakeNames struct{ inside bool }

func (n fakeNames) AttrName(typ uint16) string {
	names := []string{1: "a", 2: "nest"}
	if n.inside {
		names = []string{1: "x", 2: "y"}
	}
	if int(typ) < len(names) {
		return names[typ]
	}
	return ""
}

func (n fakeNames) NestNames(typ uint16) AttrNames {
	if typ == 2 && !n.inside {
		return fakeNames{inside: true}
	}
	return nil
}

func fakeRequest(attrs []byte) Request {
	return Request{Op: "fake-get", Family: fakeFamily, Command: 7, Attrs: attrs, Names: fakeNames{}}
}

// fakeRequestMessage is a request as a fake receives it.
type fakeRequestMessage struct {
	header
	raw  []byte // with its header
	body []byte
}

// fake is who answers a Conn in a test: for each request, answer returns the
// datagrams to send.
type fake struct {
	tb     testing.TB
	answer func(req fakeRequestMessage) [][]byte

	mu    sync.Mutex
	conns int
	wg    sync.WaitGroup
}

// dialFake returns a Conn to a fake.
func dialFake(tb testing.TB, o Options, answer func(req fakeRequestMessage) [][]byte) (*Conn, *fake) {
	tb.Helper()
	f := &fake{tb: tb, answer: answer}
	o.Transport = f.dial
	c, err := Dial(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		f.wg.Wait()
	})
	return c, f
}

// dial makes a pair of sockets and serves one of them.
func (f *fake) dial() (Socket, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.conns++
	f.mu.Unlock()
	ours := os.NewFile(uintptr(fds[1]), "fake")
	f.wg.Go(func() {
		defer ours.Close()
		f.serve(ours)
	})
	return os.NewFile(uintptr(fds[0]), "conn"), nil
}

func (f *fake) serve(s *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err != nil || n == 0 {
			if err != nil && err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				f.tb.Error(err)
			}
			return
		}
		h, body, rest, err := nextMessage(buf[:n])
		if err != nil || len(rest) > 0 {
			f.tb.Errorf("request %v: %v", buf[:n], err)
			return
		}
		for _, d := range f.answer(fakeRequestMessage{h, buf[:n], body}) {
			if d == nil {
				return // hang up
			}
			if _, err := s.Write(d); err != nil {
				return // the Conn may have hung up
			}
		}
	}
}

// dials returns how many sockets there have been.
func (f *fake) dials() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns
}

// join makes one datagram of messages.
func join(msgs ...[]byte) []byte {
	var b []byte
	for _, m := range msgs {
		b = appendPadding(append(b, m...), len(m))
	}
	return b
}

// message builds a netlink message.
func message(typ, flags uint16, seq uint32, body []byte) []byte {
	b := ne.AppendUint32(nil, uint32(headerLen+len(body)))
	b = ne.AppendUint16(b, typ)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 4711)
	return append(b, body...)
}

// reply builds a message of fakeFamily.
func (r fakeRequestMessage) reply(flags uint16, attrs ...byte) []byte {
	return message(fakeFamily.ID, flags, r.seq, append([]byte{7, 3, 0, 0}, attrs...))
}

// value builds a reply with one attribute.
func (r fakeRequestMessage) value(flags uint16, v uint32) []byte {
	return r.reply(flags, AppendUint32(nil, 1, v)...)
}

// ack builds the acknowledgement that the kernel would send: with the whole
// request if it was refused and capping was not asked for.
func (r fakeRequestMessage) ack(errno syscall.Errno, tlvs []byte) []byte {
	var flags uint16
	body := ne.AppendUint32(nil, uint32(-int32(errno)))
	if errno == 0 {
		flags |= unix.NLM_F_CAPPED
		body = append(body, r.raw[:headerLen]...)
	} else {
		body = append(body, r.raw...)
		body = appendPadding(body, len(body))
	}
	if tlvs != nil {
		flags |= unix.NLM_F_ACK_TLVS
		body = append(body, tlvs...)
	}
	return message(unix.NLMSG_ERROR, flags, r.seq, body)
}

// capped builds a refusal as the kernel would send it with capping.
func (r fakeRequestMessage) capped(errno syscall.Errno, tlvs []byte) []byte {
	body := ne.AppendUint32(nil, uint32(-int32(errno)))
	body = append(body, r.raw[:headerLen]...)
	return message(unix.NLMSG_ERROR, unix.NLM_F_CAPPED|unix.NLM_F_ACK_TLVS, r.seq, append(body, tlvs...))
}

// done builds the end of a dump.
func (r fakeRequestMessage) done(flags uint16, errno syscall.Errno, tlvs []byte) []byte {
	if tlvs != nil {
		flags |= unix.NLM_F_ACK_TLVS
	}
	body := ne.AppendUint32(nil, uint32(-int32(errno)))
	return message(unix.NLMSG_DONE, flags|unix.NLM_F_MULTI, r.seq, append(body, tlvs...))
}
