// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Genl is a generic netlink socket that sends any bytes and hides nothing of
// the answer. It shares no code with the packages under test.
type Genl struct {
	tb     testing.TB
	fd     int
	seq    uint32
	Family uint16
	Groups map[string]uint32

	// Buffer is how much is received at once, 64 KiB if 0. The kernel makes
	// the pieces of a dump no larger.
	Buffer int
}

func (g *Genl) buffer() []byte {
	if g.Buffer == 0 {
		return make([]byte, 64<<10)
	}
	return make([]byte, g.Buffer)
}

// NewGenl opens a socket in the namespace and finds the family by name.
func (ns *NetNS) NewGenl(tb testing.TB, family string) *Genl {
	tb.Helper()
	g := &Genl{tb: tb, fd: -1, Groups: make(map[string]uint32)}
	var err error
	ns.Do(func() { g.fd, err = genlSocket() })
	if err != nil {
		tb.Fatalf("open generic netlink: %v", err)
	}
	tb.Cleanup(func() { unix.Close(g.fd) })
	g.find(family)
	return g
}

// DialGenl opens a socket for a family in the namespace of the calling thread.
func DialGenl(tb testing.TB, family uint16) (*Genl, error) {
	fd, err := genlSocket()
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	return &Genl{tb: tb, fd: fd, Family: family}, nil
}

// Close closes the socket, unless NewGenl made it.
func (g *Genl) Close() error { return unix.Close(g.fd) }

// FD is the socket.
func (g *Genl) FD() int { return g.fd }

func genlSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return -1, err
	}
	for _, opt := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	tv := unix.Timeval{Sec: 20} // an answer that is lost must not hang the run
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (g *Genl) find(family string) {
	g.tb.Helper()
	g.Family = unix.GENL_ID_CTRL
	a := g.Do(unix.CTRL_CMD_GETFAMILY, 0, Attr(unix.CTRL_ATTR_FAMILY_NAME, append([]byte(family), 0)))
	if a.Errno != 0 || len(a.Msgs) != 1 {
		g.tb.Fatalf("find family %s: %v", family, a)
	}
	attrs := Attrs(a.Msgs[0].Attrs)
	g.Family = binary.NativeEndian.Uint16(attrs[unix.CTRL_ATTR_FAMILY_ID])
	for _, grp := range Attrs(attrs[unix.CTRL_ATTR_MCAST_GROUPS]) {
		in := Attrs(grp)
		name := unix.ByteSliceToString(in[unix.CTRL_ATTR_MCAST_GRP_NAME])
		g.Groups[name] = binary.NativeEndian.Uint32(in[unix.CTRL_ATTR_MCAST_GRP_ID])
	}
}

// Attr is one attribute with its padding.
func Attr(typ uint16, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, payload...)
	return append(b, make([]byte, -len(b)&3)...)
}

// AttrU32 is an attribute of type u32.
func AttrU32(typ uint16, v uint32) []byte {
	return Attr(typ, binary.NativeEndian.AppendUint32(nil, v))
}

// Attrs is the payload of each attribute by its type, the last of a type.
func Attrs(b []byte) map[uint16][]byte {
	out := make(map[uint16][]byte)
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		out[binary.NativeEndian.Uint16(b[2:])&0x3fff] = b[4:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}

// What package unix lacks of enum nlmsgerr_attrs.
const (
	nlmsgerrAttrPolicy   = 4
	nlmsgerrAttrMissType = 5
)

// GenlMsg is one message of the family.
type GenlMsg struct {
	Cmd   uint8
	Flags uint16 // NLM_F_*
	Seq   uint32
	Attrs []byte
}

// Answer is everything that came back for a request.
type Answer struct {
	Msgs  []GenlMsg
	Errno unix.Errno // 0: acknowledged
	Acks  int        // NLMSG_ERROR and NLMSG_DONE messages

	// The extended acknowledgement.
	Message  string
	Offset   int // of the bad attribute, from the start of the message; 0: none
	MissType int // 0: none
	Policy   map[uint16][]byte
}

func (a *Answer) String() string {
	s := fmt.Sprintf("%d messages, %d acks, errno %d (%v)", len(a.Msgs), a.Acks, int(a.Errno), a.Errno)
	if a.Message != "" {
		s += fmt.Sprintf(", %q", a.Message)
	}
	if a.Offset != 0 {
		s += fmt.Sprintf(", at offset %d", a.Offset)
	}
	if a.MissType != 0 {
		s += fmt.Sprintf(", missing attribute %d", a.MissType)
	}
	return s
}

// Do sends a request with NLM_F_REQUEST|NLM_F_ACK and flags.
func (g *Genl) Do(cmd uint8, flags uint16, attrs []byte) *Answer {
	g.tb.Helper()
	return g.Raw(g.Message(cmd, flags, attrs))
}

// Message is a whole request, for tests to spoil before Raw.
func (g *Genl) Message(cmd uint8, flags uint16, attrs []byte) []byte {
	b := make([]byte, 20, 20+len(attrs))
	binary.NativeEndian.PutUint32(b, uint32(20+len(attrs)))
	binary.NativeEndian.PutUint16(b[4:], g.Family)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	b[16], b[17] = cmd, 1
	return append(b, attrs...)
}

// Raw sends bytes as they are, but for the sequence number, and collects the
// answer up to the acknowledgement.
func (g *Genl) Raw(b []byte) *Answer {
	g.tb.Helper()
	a, err := g.TryRaw(b)
	if err != nil {
		g.tb.Fatal(err)
	}
	return a
}

// TryRaw is Raw for goroutines that must not end the test.
func (g *Genl) TryRaw(b []byte) (*Answer, error) {
	seq, err := g.Send(b)
	if err != nil {
		return nil, err
	}
	return g.Collect(seq)
}

// Send sends bytes as they are, but for the sequence number, which it returns.
func (g *Genl) Send(b []byte) (uint32, error) {
	g.seq++
	binary.NativeEndian.PutUint32(b[8:], g.seq)
	if err := unix.Sendto(g.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("send: %w", err)
	}
	return g.seq, nil
}

// Collect receives what answers the request with a sequence number, up to the
// acknowledgement.
func (g *Genl) Collect(seq uint32) (*Answer, error) {
	a := &Answer{}
	buf := g.buffer()
	for a.Acks == 0 {
		n, _, err := unix.Recvfrom(g.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		a.parse(append([]byte(nil), buf[:n]...), seq)
	}
	return a, nil
}

// Join joins a multicast group.
func (g *Genl) Join(group string) {
	g.tb.Helper()
	if err := unix.SetsockoptInt(g.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g.Groups[group])); err != nil {
		g.tb.Fatalf("join %s: %v", group, err)
	}
}

// Receive returns the messages of the next datagram.
func (g *Genl) Receive() []GenlMsg {
	g.tb.Helper()
	buf := g.buffer()
	n, _, err := unix.Recvfrom(g.fd, buf, 0)
	if err != nil {
		g.tb.Fatalf("receive: %v", err)
	}
	a := &Answer{}
	a.parse(buf[:n], 0)
	return a.Msgs
}

func (a *Answer) parse(b []byte, seq uint32) {
	for len(b) >= 16 {
		n := int(binary.NativeEndian.Uint32(b))
		if n < 16 || n > len(b) {
			return
		}
		m := b[:n]
		b = b[min((n+3)&^3, len(b)):]
		flags := binary.NativeEndian.Uint16(m[6:])
		got := binary.NativeEndian.Uint32(m[8:])
		switch typ := binary.NativeEndian.Uint16(m[4:]); {
		case typ == unix.NLMSG_ERROR && got == seq:
			a.Acks++
			a.Errno = unix.Errno(-int32(binary.NativeEndian.Uint32(m[16:])))
			tlv := 20 + 16
			if flags&unix.NLM_F_CAPPED == 0 {
				tlv = 20 + int(binary.NativeEndian.Uint32(m[20:])+3)&^3
			}
			a.extack(m, flags, tlv)
		case typ == unix.NLMSG_DONE && got == seq:
			a.Acks++
			a.Errno = unix.Errno(-int32(binary.NativeEndian.Uint32(m[16:])))
			a.extack(m, flags, 20)
		case got != seq && got != 0 && seq != 0:
			// The core goes on with a dump that it said had failed for
			// want of memory.
		case typ >= unix.NLMSG_MIN_TYPE && n >= 20:
			a.Msgs = append(a.Msgs, GenlMsg{Cmd: m[16], Flags: flags, Seq: got, Attrs: m[20:]})
		}
	}
}

func (a *Answer) extack(m []byte, flags uint16, at int) {
	if flags&unix.NLM_F_ACK_TLVS == 0 || at > len(m) {
		return
	}
	attrs := Attrs(m[at:])
	a.Message = unix.ByteSliceToString(attrs[unix.NLMSGERR_ATTR_MSG])
	if b := attrs[unix.NLMSGERR_ATTR_OFFS]; len(b) == 4 {
		a.Offset = int(binary.NativeEndian.Uint32(b))
	}
	if b := attrs[nlmsgerrAttrMissType]; len(b) == 4 {
		a.MissType = int(binary.NativeEndian.Uint32(b))
	}
	if b := attrs[nlmsgerrAttrPolicy]; b != nil {
		a.Policy = Attrs(b)
	}
}
