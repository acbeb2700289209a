// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"io"
	"slices"
	"testing"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// within tells whether data is a part of b.
func within(data, b []byte) bool {
	if len(data) == 0 {
		return true
	}
	start, first := uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	return first >= start && first+uintptr(len(data)) <= start+uintptr(len(b))
}

// newFuzzServer serves a family whose handlers look at all that they get.
func newFuzzServer(tb testing.TB) *Server {
	look := func(r *ServerRequest) error {
		for typ := range uint16(20) {
			data, ok := r.Attr(typ)
			off := r.Offset(typ)
			if ok != (off != 0) || !within(data, r.Raw()) || int(off)+attrHeaderLen+len(data) > len(r.Raw()) {
				tb.Errorf("attribute %d at %d, %d bytes, in %x", typ, off, len(data), r.Raw())
			}
			r.FD(typ)
			r.Text(typ)
			r.Uint64(typ)
		}
		for b := r.Attrs; len(b) > 0; {
			_, _, rest, ok := NextAttr(b)
			if !ok {
				tb.Errorf("broken attributes %x came through", r.Attrs)
				break
			}
			b = rest
		}
		return nil
	}
	s := NewServer(ServerOptions{Admin: func(Peer) bool { return true }})
	fam := &ServedFamily{Name: "fuzz", HeaderSize: 3, Groups: []ServedGroup{{Name: "g"}}}
	for cmd := range uint8(8) {
		fam.Ops = append(fam.Ops, ServedOp{
			Command: cmd,
			Policy:  testPolicy,
			FDs:     []uint16{1, 16},
			Do: HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
				if err := look(r); err != nil || cmd == 0 {
					return err
				}
				w.Notify("g", 1, r.Attrs)
				return w.Reply(r.Attrs)
			}),
			Dump: DumpFunc(func(r *ServerRequest) (DumpCursor, error) {
				n := int(cmd)
				return testCursor{next: func(w *DumpWriter) error {
					if n--; n < 0 {
						return io.EOF
					}
					w.Write(r.Attrs)
					return look(r)
				}}, look(r)
			}),
		})
	}
	if err := s.Register(fam); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Whatever comes, it is answered with messages, one for each request that has to
// be acknowledged, and the server goes on.
func FuzzServer(f *testing.F) {
	header := []byte{1, 2, 3, 0}
	attrs := AppendUint32(AppendNested(nil, 12, func(b []byte) []byte { return AppendUint32(b, 1, 5) }), 1, 3)
	good := request(testID, ackd, 1, slices.Concat(header, attrs))
	f.Add(good, uint8(0xff))
	f.Add(slices.Concat(good, request(testID, dmp, 5, slices.Concat(header, attrs)), request(testID, dmp, 2, header)), uint8(0))
	f.Add(request(testID, ackd|unix.NLM_F_ECHO, 1, slices.Concat(header, AppendAttr(nil, 3, []byte("ab")))), uint8(1))
	f.Add(request(unix.GENL_ID_CTRL, ackd, unix.CTRL_CMD_GETFAMILY, AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, "fuzz")), uint8(2))
	f.Add(request(unix.GENL_ID_CTRL, dmp, unix.CTRL_CMD_GETFAMILY, nil), uint8(2))
	f.Add(request(unix.GENL_ID_CTRL, dmp, unix.CTRL_CMD_GETPOLICY, AppendUint16(nil, unix.CTRL_ATTR_FAMILY_ID, testID)), uint8(4))
	f.Add(request(unix.GENL_ID_CTRL, dmp, unix.CTRL_CMD_GETPOLICY, AppendUint32(AppendUint16(nil, unix.CTRL_ATTR_FAMILY_ID, testID), unix.CTRL_ATTR_OP, 2)), uint8(4))
	f.Add(request(testID, ackd, 1, slices.Concat(header, AppendAttr(nil, 13|unix.NLA_F_NESTED, AppendAttr(nil, 1, AppendAttr(nil, 12|unix.NLA_F_NESTED, nil))))), uint8(3))
	f.Add(request(testID, 0x8000|ackd, 200, nil)[:19], uint8(3))
	f.Add([]byte{16, 0, 0, 0, 2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0}, uint8(3))

	s := newFuzzServer(f)
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, b []byte, opts uint8) {
		sock, err := s.Socket(Peer{Local: opts&1 != 0, PID: 7})
		if err != nil {
			t.Fatal(err)
		}
		defer sock.Close()
		for i, o := range []netlink.ConnOption{netlink.CapAcknowledge, netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
			sock.SetOption(o, opts&(2<<i) != 0)
		}
		sock.SetReadBuffer(1 << 30) // so that nothing is lost
		k := &serverSide{t, sock}
		err = sock.Input(b, nil)
		if (err == nil) != (len(b) > 0 && len(b) <= maxSend) {
			t.Fatalf("a datagram of %d: error %v", len(b), err)
		}
		want := mustAck(b)
		got, dumps := 0, 0
		buf := make([]byte, 64<<10)
		for {
			n, err := k.recv(buf)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for d := buf[:min(n, len(buf))]; len(d) > 0 && n <= len(buf); {
				m, rest, err := nextMessage(d)
				if err != nil {
					t.Fatalf("%x: %v", d, err)
				}
				switch m.typ() {
				case unix.NLMSG_ERROR:
					if _, err := parseAck(m.flags(), m.body()); err != nil {
						t.Errorf("acknowledgement %x: %v", m, err)
					}
					got++
				case unix.NLMSG_DONE:
					if _, err := parseDone(m.flags(), m.body()); err != nil {
						t.Errorf("end of dump %x: %v", m, err)
					}
					dumps++
				}
				d = rest
			}
			if n > len(buf) {
				got++ // a refusal with all of a large request
			}
		}
		if got+dumps < want {
			t.Errorf("%d requests had to be acknowledged, %d and %d dumps were", want, got, dumps)
		}
	})
}

// mustAck counts the messages that ask for an acknowledgement.
func mustAck(b []byte) (n int) {
	for len(b) >= headerLen && len(b) <= maxSend {
		m, rest, err := nextMessage(b)
		if err != nil {
			break
		}
		if m.flags()&unix.NLM_F_ACK != 0 {
			n++
		}
		b = rest
	}
	return n
}

// A policy that a server tells is the policy that a client learns, and the same
// attributes fit it.
func FuzzPolicy(f *testing.F) {
	f.Add(uint32(unix.NL_ATTR_TYPE_U32), uint64(1), uint64(9), uint8(3))
	f.Add(uint32(unix.NL_ATTR_TYPE_BINARY), uint64(2), uint64(4), uint8(12))
	f.Add(uint32(unix.NL_ATTR_TYPE_NUL_STRING), uint64(0), uint64(15), uint8(8))
	f.Add(uint32(unix.NL_ATTR_TYPE_U64), uint64(7), uint64(0), uint8(16))
	f.Add(uint32(unix.NL_ATTR_TYPE_U32), uint64(1), uint64(9), uint8(19))
	f.Add(uint32(unix.NL_ATTR_TYPE_S16), uint64(7), uint64(900), uint8(3))
	f.Add(uint32(unix.NL_ATTR_TYPE_BITFIELD32), uint64(7), uint64(900), uint8(0))
	f.Fuzz(func(t *testing.T, typ uint32, lo, hi uint64, which uint8) {
		p := &Policy{Type: AttrType(typ), Bitfield32Mask: ptr(uint32(lo))}
		if which&1 != 0 {
			p.MinValue, p.MinSigned = &lo, ptr(int64(lo))
		}
		if which&2 != 0 {
			p.MaxValue, p.MaxSigned = &hi, ptr(int64(hi))
		}
		if which&4 != 0 {
			p.MinLength = ptr(uint32(lo) & 0xffff)
		}
		if which&8 != 0 {
			p.MaxLength = ptr(uint32(hi) & 0xffff)
		}
		if which&16 != 0 {
			p.Mask = &lo
		}
		a := compileAttr(p)
		if a.kind == kindUnspec {
			return
		}
		_, data, rest, ok := NextAttr(a.append(nil, 4, nil))
		if !ok || len(rest) > 0 {
			t.Fatalf("%+v is told as %x, then %x", p, data, rest)
		}
		learned, err := parsePolicy(data)
		if err != nil {
			t.Fatalf("%+v is told as %x: %v", p, data, err)
		}
		again := compileAttr(learned)
		if a.kind == kindBinary && a.check == checkRange && a.min == 0 {
			// Told as the other way to bound it from above.
			a.check, a.length, a.max = checkNone, int(a.max), 0
			again.length = a.length
		}
		if *again != *a {
			t.Errorf("%+v became %+v", a, again)
		}
	})
}
