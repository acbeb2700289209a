// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Operations of family "test".
const (
	cmdEcho   = 1 // do: replies with the attributes that it gets
	cmdAdmin  = 2 // do, for administrators
	cmdOnly   = 3 // dump, for administrators; there is no do
	cmdFail   = 4 // do and dump: fails with testServer.err
	cmdNotify = 5 // do: notifies group "one"
	cmdNone   = 6 // do, without a policy
	cmdList   = 7 // dump of testServer.list
)

// testPolicy has an attribute of each kind.
var testPolicy = func() *PolicySet {
	set := &PolicySet{Attrs: []AttrPolicy{
		{1, Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: ptr(uint64(1)), MaxValue: ptr(uint64(9))}},
		{2, Policy{Type: unix.NL_ATTR_TYPE_U64, Mask: ptr(uint64(0x7))}},
		{3, Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: ptr(uint32(3))}},
		{4, Policy{Type: unix.NL_ATTR_TYPE_STRING, MaxLength: ptr(uint32(3))}},
		{5, Policy{Type: unix.NL_ATTR_TYPE_BINARY, MaxLength: ptr(uint32(3))}},
		{6, Policy{Type: unix.NL_ATTR_TYPE_BINARY, MinLength: ptr(uint32(2)), MaxLength: ptr(uint32(3))}},
		{7, Policy{Type: unix.NL_ATTR_TYPE_FLAG}},
		{8, Policy{Type: unix.NL_ATTR_TYPE_BITFIELD32, Bitfield32Mask: ptr(uint32(3))}},
		{9, Policy{Type: unix.NL_ATTR_TYPE_S8, MinSigned: ptr(int64(-2)), MaxSigned: ptr(int64(2))}},
		{10, Policy{Type: nlAttrTypeUint}},
		{11, Policy{Type: nlAttrTypeSint, MaxSigned: ptr(int64(-1))}},
		{12, Policy{Type: unix.NL_ATTR_TYPE_NESTED}},
		{13, Policy{Type: unix.NL_ATTR_TYPE_NESTED_ARRAY}},
		{14, Policy{Type: unix.NL_ATTR_TYPE_U8}},
		{16, Policy{Type: unix.NL_ATTR_TYPE_U16}},
	}}
	set.Attrs[11].Nest = set // which leads back to itself
	set.Attrs[12].Nest = set
	return set
}()

// testServer serves family "test".
type testServer struct {
	*Server
	fam  *ServedFamily
	err  error
	list func() DumpCursor

	mu        sync.Mutex
	listeners []string
}

func newTestServer(tb testing.TB, o ServerOptions) *testServer {
	tb.Helper()
	s := &testServer{Server: NewServer(o)}
	tb.Cleanup(func() { s.Close() })
	fail := HandlerFunc(func(*ReplyWriter, *ServerRequest) error { return s.err })
	s.fam = &ServedFamily{
		Name: "test", Version: 3,
		Groups: []ServedGroup{{Name: "one"}, {Name: "two", Admin: true}},
		Ops: []ServedOp{
			{Command: cmdEcho, Policy: testPolicy, Do: HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
				return w.Reply(r.Attrs)
			})},
			{Command: cmdAdmin, Flags: OpAdmin, Do: fail},
			{Command: cmdOnly, Flags: OpAdminInNets, Dump: DumpFunc(func(*ServerRequest) (DumpCursor, error) { return DumpSlice(), nil })},
			{Command: cmdFail, Policy: testPolicy, Do: fail, Dump: DumpFunc(func(*ServerRequest) (DumpCursor, error) { return nil, s.err })},
			{Command: cmdNotify, Policy: testPolicy, Do: HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
				return w.Notify("one", 77, r.Attrs)
			})},
			{Command: cmdNone, Do: fail},
			{Command: cmdList, Policy: testPolicy, Dump: DumpFunc(func(*ServerRequest) (DumpCursor, error) { return s.list(), nil })},
		},
		Listeners: func(group string, n int) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.listeners = append(s.listeners, fmt.Sprintf("%s %d", group, n))
			return nil
		},
	}
	if err := s.Register(s.fam); err != nil {
		tb.Fatal(err)
	}
	return s
}

// dial returns a socket that has extended acknowledgements.
func (s *testServer) dial(tb testing.TB) *serverSide {
	tb.Helper()
	k := newServerSide(tb, s.Server)
	k.option(netlink.ExtendedAcknowledge, true)
	k.option(netlink.CapAcknowledge, true)
	return k
}

// conn returns a Conn to the server, and the family as it sees it.
func (s *testServer) conn(tb testing.TB, o Options) (*Conn, *Family) {
	tb.Helper()
	o.Transport = s.Dial
	c, err := Dial(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	f, err := c.Family(tb.Context(), "test")
	if err != nil {
		tb.Fatal(err)
	}
	return c, f
}

const testID = genlFirstID

// request builds a request with sequence number 9.
func request(typ, flags uint16, cmd uint8, attrs []byte) []byte {
	return rawRequest(typ, flags, append([]byte{cmd, 1, 0, 0}, attrs...))
}

func rawRequest(typ, flags uint16, body []byte) []byte {
	b := ne.AppendUint32(nil, uint32(headerLen+len(body)))
	b = ne.AppendUint16(b, typ)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, 9)
	b = ne.AppendUint32(b, 0)
	return append(b, body...)
}

// message is what describe makes of a message to us.
func described(typ, flags uint16, body ...[]byte) string {
	b := slices.Concat(body...)
	return fmt.Sprintf("len %d type %#x flags %#x seq 9 to me: %x\n", headerLen+len(b), typ, flags, b)
}

// datagram is what describe makes of a datagram of messages.
func datagram(n int, msgs ...string) string {
	return fmt.Sprintf("datagram of %d\n%s", n, strings.Join(msgs, ""))
}

// acked is an acknowledgement that is capped.
func acked(errno syscall.Errno, req []byte, tlvs []byte) string {
	flags := uint16(unix.NLM_F_CAPPED)
	if len(tlvs) > 0 {
		flags |= unix.NLM_F_ACK_TLVS
	}
	e := ne.AppendUint32(nil, uint32(-int32(errno)))
	return datagram(headerLen+4+headerLen+len(tlvs), described(unix.NLMSG_ERROR, flags, e, req[:headerLen], tlvs))
}

// Extack attributes, as the kernel puts them.
func extMsg(s string) []byte { return AppendString(nil, unix.NLMSGERR_ATTR_MSG, s) }

func extAttr(s string, off uint32, policy ...[]byte) []byte {
	b := AppendUint32(extMsg(s), unix.NLMSGERR_ATTR_OFFS, off)
	if policy == nil {
		return b
	}
	return AppendNested(b, nlmsgerrAttrPolicy, func(b []byte) []byte { return append(b, slices.Concat(policy...)...) })
}

func polType(t AttrType) []byte {
	return AppendUint32(nil, unix.NL_POLICY_TYPE_ATTR_TYPE, uint32(t))
}

func pol64(typ uint16, v ...uint64) (b []byte) {
	for i, v := range v {
		b = AppendAttr(b, typ+uint16(i), ne.AppendUint64(nil, v))
	}
	return b
}

func pol32(typ uint16, v uint32) []byte { return AppendUint32(nil, typ, v) }

const (
	req  = unix.NLM_F_REQUEST
	ackd = unix.NLM_F_REQUEST | unix.NLM_F_ACK
	dmp  = unix.NLM_F_REQUEST | unix.NLM_F_DUMP
)

// Requests that do not come as far as attributes.
func TestServerHeaderChecks(t *testing.T) {
	short := func(typ, flags uint16, n int) []byte { return rawRequest(typ, flags, make([]byte, n)) }
	long := request(testID, ackd, cmdNone, nil)
	ne.PutUint32(long, uint32(len(long)+1))
	tiny := request(testID, ackd, cmdNone, nil)
	ne.PutUint32(tiny, headerLen-1)
	reserved := request(testID, req, cmdNone, nil)
	reserved[headerLen+3] = 1

	tests := []struct {
		name    string
		kernel  string // "": on both
		req     []byte
		refused syscall.Errno
		tlvs    []byte
		silent  bool
	}{
		{name: "done", req: request(testID, ackd, cmdNone, nil)},
		{name: "done without ack", req: request(testID, req, cmdNone, nil), silent: true},
		{name: "not a request", req: request(testID, unix.NLM_F_ACK, 99, nil)},
		{name: "not a request, no ack", req: request(testID, 0, 99, nil), silent: true},
		{name: "control message", req: short(unix.NLMSG_MIN_TYPE-1, ackd, 0)},
		{name: "length beyond the end", req: long, silent: true},
		{name: "length within the header", req: tiny, silent: true},
		{name: "no header", req: make([]byte, headerLen-1), silent: true},
		{name: "no such family", req: short(unix.GENL_MIN_ID+2, req, 4), refused: unix.ENOENT},
		{name: "no such type", req: short(unix.GENL_MAX_ID+1, req, 4), refused: unix.ENOENT},
		{name: "no genetlink header", req: short(testID, req, 3), refused: unix.EINVAL},
		{name: "reserved field", req: reserved, refused: unix.EINVAL, tlvs: extMsg("genlmsghdr.reserved field is not 0")},
		{name: "reserved flag", req: request(testID, req|0x800, cmdNone, nil), refused: unix.EINVAL,
			tlvs: extMsg("ambiguous or reserved bits set in nlmsg_flags")},
		{name: "half a dump", req: request(testID, req|unix.NLM_F_ROOT, cmdNone, nil), refused: unix.EINVAL,
			tlvs: extMsg("ambiguous or reserved bits set in nlmsg_flags")},
		{name: "no such command", req: request(testID, req, 99, nil), refused: unix.EOPNOTSUPP},
		{name: "no such dump", req: request(testID, dmp, cmdNone, nil), refused: unix.EOPNOTSUPP},
		{name: "no do", req: request(testID, req, cmdList, nil), refused: unix.EOPNOTSUPP},
		{name: "not for everybody", req: request(testID, req, cmdAdmin, nil), refused: unix.EPERM},
		{name: "no do, not for everybody", kernel: "6.1", req: request(testID, req, cmdOnly, nil), refused: unix.EPERM},
		{name: "no do, not for everybody", kernel: "6.12", req: request(testID, req, cmdOnly, nil), refused: unix.EOPNOTSUPP},
		{name: "dump not for everybody", req: request(testID, dmp, cmdOnly, nil), refused: unix.EPERM},
		{name: "attribute without a policy", req: request(testID, req, cmdNone, AppendUint32(nil, 1, 1)), refused: unix.EINVAL,
			tlvs: extAttr("Attribute failed policy validation", 20)},
		{name: "another without a policy", req: request(testID, req, cmdNone, AppendUint32(nil, 2, 1)), refused: unix.EINVAL,
			tlvs: extAttr("Unknown attribute type", 20)},
	}
	for _, kernel := range []string{"6.1", "6.12"} {
		s := newTestServer(t, ServerOptions{Kernel: kernel, Admin: func(Peer) bool { return false }})
		k := s.dial(t)
		for _, tt := range tests {
			if tt.kernel != "" && tt.kernel != kernel {
				continue
			}
			t.Run(kernel+" "+tt.name, func(t *testing.T) {
				var want []string
				if !tt.silent {
					want = []string{acked(tt.refused, tt.req, tt.tlvs)}
				}
				if diff := cmp.Diff(want, answer(t, k, tt.req, 8192)); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Attributes that are refused.
func TestServerPolicies(t *testing.T) {
	const invalid = "Attribute failed policy validation"
	nested := func(typ uint16, inside ...[]byte) []byte {
		return AppendNested(nil, typ, func(b []byte) []byte { return append(b, slices.Concat(inside...)...) })
	}
	deep := func(n int) []byte {
		b := AppendAttr(nil, 7, nil)
		for range n {
			b = nested(12, b)
		}
		return b
	}
	bits := func(v, sel uint32) []byte { return AppendAttr(nil, 8, ne.AppendUint32(ne.AppendUint32(nil, v), sel)) }
	data := func(typ uint16, s string) []byte { return AppendAttr(nil, typ, []byte(s)) }
	u32 := slices.Concat(pol64(unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U, 1, 9), polType(unix.NL_ATTR_TYPE_U32))
	u64 := slices.Concat(pol64(unix.NL_POLICY_TYPE_ATTR_MASK, 7), polType(unix.NL_ATTR_TYPE_U64))
	nulString := slices.Concat(pol32(unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH, 3), polType(unix.NL_ATTR_TYPE_NUL_STRING))
	str := slices.Concat(pol32(unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH, 3), polType(unix.NL_ATTR_TYPE_STRING))
	binary := slices.Concat(pol32(unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH, 3), polType(unix.NL_ATTR_TYPE_BINARY))
	ranged := slices.Concat(pol32(unix.NL_POLICY_TYPE_ATTR_MIN_LENGTH, 2), pol32(unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH, 3), polType(unix.NL_ATTR_TYPE_BINARY))
	bitfield := slices.Concat(pol32(unix.NL_POLICY_TYPE_ATTR_BITFIELD32_MASK, 3), polType(unix.NL_ATTR_TYPE_BITFIELD32))
	minus := func(n uint64) uint64 { return -n }
	s8 := slices.Concat(pol64(unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_S, minus(2), 2), polType(unix.NL_ATTR_TYPE_S8))
	uintPol := slices.Concat(pol64(unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U, 0, minus(1)), polType(nlAttrTypeUint))
	sint := slices.Concat(pol64(unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_S, 1<<63, minus(1)), polType(nlAttrTypeSint))

	tests := []struct {
		name  string
		attrs []byte
		errno syscall.Errno // 0: accepted
		tlvs  []byte
	}{
		{"least", AppendUint32(nil, 1, 1), 0, nil},
		{"below", AppendUint32(nil, 1, 0), unix.ERANGE, extAttr("integer out of range", 20, u32)},
		{"above", AppendUint32(nil, 1, 10), unix.ERANGE, extAttr("integer out of range", 20, u32)},
		{"second of two", AppendUint32(AppendUint32(nil, 1, 5), 1, 10), unix.ERANGE, extAttr("integer out of range", 28, u32)},
		{"short number", data(1, "ab"), unix.EINVAL, extAttr("invalid attribute length", 20, u32)},
		{"long number", data(1, "abcdefgh"), unix.EINVAL, extAttr("invalid attribute length", 20, u32)},
		{"flagged nested", AppendAttr(nil, 1|unix.NLA_F_NESTED, make([]byte, 4)), unix.EINVAL, extAttr("NLA_F_NESTED not expected", 20, u32)},
		{"byte order", AppendUint32(nil, 1|unix.NLA_F_NET_BYTEORDER, 5), 0, nil},
		{"mask", AppendAttr(nil, 2, ne.AppendUint64(nil, 7)), 0, nil},
		{"beyond the mask", AppendAttr(nil, 2, ne.AppendUint64(nil, 8)), unix.EINVAL, extAttr("reserved bit set", 20)},
		{"short u64", AppendUint32(nil, 2, 1), unix.EINVAL, extAttr("invalid attribute length", 20, u64)},
		{"string", data(3, "abc\x00"), 0, nil},
		{"string with more behind", data(3, "a\x00\x00"), 0, nil},
		{"no NUL", data(3, "abc"), unix.EINVAL, extAttr(invalid, 20, nulString)},
		{"NUL too late", data(3, "abcd\x00"), unix.EINVAL, extAttr(invalid, 20, nulString)},
		{"empty string", data(3, ""), unix.EINVAL, extAttr(invalid, 20, nulString)},
		{"too much behind NUL", data(3, "a\x00cdef"), unix.ERANGE, extAttr(invalid, 20, nulString)},
		{"string without NUL", data(4, "abc"), 0, nil},
		{"string without NUL, empty", data(4, ""), unix.ERANGE, extAttr(invalid, 20, str)},
		{"string without NUL, long", data(4, "abcd"), unix.ERANGE, extAttr(invalid, 20, str)},
		{"binary", data(5, "abc"), 0, nil},
		{"long binary", data(5, "abcd"), unix.ERANGE, extAttr(invalid, 20, binary)},
		{"binary in range", data(6, "ab"), 0, nil},
		{"short binary", data(6, "a"), unix.ERANGE, extAttr("binary attribute size out of range", 20, ranged)},
		{"flag", data(7, ""), 0, nil},
		{"flag with a value", data(7, "a"), unix.ERANGE, extAttr(invalid, 20, polType(unix.NL_ATTR_TYPE_FLAG))},
		{"bits", bits(1, 3), 0, nil},
		{"bits not selected", bits(3, 1), unix.EINVAL, extAttr(invalid, 20, bitfield)},
		{"bits that are none", bits(4, 4), unix.EINVAL, extAttr(invalid, 20, bitfield)},
		{"selector that is none", bits(0, 4), unix.EINVAL, extAttr(invalid, 20, bitfield)},
		{"short bits", AppendUint32(nil, 8, 1), unix.ERANGE, extAttr(invalid, 20, bitfield)},
		{"signed", data(9, "\xfe"), 0, nil},
		{"signed below", data(9, "\xfd"), unix.ERANGE, extAttr("integer out of range", 20, s8)},
		{"uint of 4", AppendUint32(nil, 10, 1), 0, nil},
		{"uint of 8", AppendAttr(nil, 10, make([]byte, 8)), 0, nil},
		{"uint of 2", AppendUint16(nil, 10, 1), unix.EINVAL, extAttr("invalid attribute length", 20, uintPol)},
		{"sint of 4", AppendUint32(nil, 11, 0xffffffff), 0, nil},
		{"sint above", AppendUint32(nil, 11, 0), unix.ERANGE, extAttr("integer out of range", 20, sint)},
		{"nest", nested(12, AppendUint32(nil, 1, 1)), 0, nil},
		{"empty nest", nested(12), 0, nil},
		{"in a nest", nested(12, data(7, ""), AppendUint32(nil, 1, 0)), unix.ERANGE, extAttr("integer out of range", 28, u32)},
		{"unknown in a nest", nested(12, data(17, "")), unix.EINVAL, extAttr("Unknown attribute type", 24)},
		{"not flagged", AppendAttr(nil, 12, AppendUint32(nil, 1, 1)), unix.EINVAL, extAttr("NLA_F_NESTED is missing", 20, polType(unix.NL_ATTR_TYPE_NESTED))},
		{"short nest", AppendAttr(nil, 12|unix.NLA_F_NESTED, []byte{1}), unix.ERANGE, extAttr(invalid, 20, polType(unix.NL_ATTR_TYPE_NESTED))},
		{"bytes left in a nest", AppendAttr(nil, 12|unix.NLA_F_NESTED, append(data(7, ""), 1, 2)), unix.EINVAL, extMsg("bytes leftover after parsing attributes")},
		{"as deep as can be", deep(9), 0, nil},
		{"too deep", deep(10), unix.EINVAL, extMsg("allowed policy recursion depth exceeded")},
		{"array", nested(13, nested(1, data(7, "")), nested(9, data(7, ""))), 0, nil},
		{"array of nothing", nested(13, nested(1)), 0, nil},
		{"array with a short one", nested(13, data(1, "ab")), unix.ERANGE, extAttr("Array element too short", 24)},
		{"in an array", nested(13, nested(1, AppendUint32(nil, 1, 0))), unix.ERANGE, extAttr("integer out of range", 28, u32)},
		{"hole", data(15, ""), unix.EINVAL, extAttr("Unsupported attribute", 20)},
		{"type 0", data(0, ""), unix.EINVAL, extAttr("Unknown attribute type", 20)},
		{"unknown", data(17, ""), unix.EINVAL, extAttr("Unknown attribute type", 20)},
		{"bytes left", append(data(7, ""), 1, 2, 3), unix.EINVAL, extMsg("bytes leftover after parsing attributes")},
		{"attribute beyond the end", []byte{9, 0, 7, 0}, unix.EINVAL, extMsg("bytes leftover after parsing attributes")},
		{"attribute of less than a header", []byte{3, 0, 7, 0}, unix.EINVAL, extMsg("bytes leftover after parsing attributes")},
	}
	s := newTestServer(t, ServerOptions{})
	k := s.dial(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(testID, ackd, cmdEcho, tt.attrs)
			want := []string{acked(tt.errno, r, tt.tlvs)}
			if tt.errno == 0 {
				reply := described(testID, 0, []byte{cmdEcho, 3, 0, 0}, tt.attrs)
				want = []string{datagram(headerLen+genlHeaderLen+len(tt.attrs), reply), acked(0, r, nil)}
			}
			if diff := cmp.Diff(want, answer(t, k, r, 8192)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// What a handler's error becomes.
func TestServerErrors(t *testing.T) {
	full := &Error{
		Op: "not told", Errno: unix.EBUSY, Message: "in use", Offset: 20, MissType: 7, MissNest: 24,
		Policy: &Policy{Type: unix.NL_ATTR_TYPE_FLAG}, Cookie: []byte("biscuit of more than twenty bytes"),
	}
	tlvs := extMsg("in use")
	tlvs = AppendAttr(tlvs, unix.NLMSGERR_ATTR_COOKIE, []byte("biscuit of more than"))
	tlvs = AppendUint32(tlvs, unix.NLMSGERR_ATTR_OFFS, 20)
	tlvs = AppendNested(tlvs, nlmsgerrAttrPolicy, func(b []byte) []byte { return append(b, polType(unix.NL_ATTR_TYPE_FLAG)...) })
	tlvs = AppendUint32(tlvs, nlmsgerrAttrMissType, 7)
	tlvs = AppendUint32(tlvs, nlmsgerrAttrMissNest, 24)

	tests := []struct {
		name  string
		err   error
		errno syscall.Errno
		tlvs  []byte
	}{
		{"errno", unix.ENODEV, unix.ENODEV, nil},
		{"errno inside", fmt.Errorf("netdev 7: %w", unix.ENODEV), unix.ENODEV, nil},
		{"all that there is", full, unix.EBUSY, tlvs},
		{"inside", fmt.Errorf("because: %w", full), unix.EBUSY, tlvs},
		{"offsets beyond the request", &Error{Errno: unix.EINVAL, Offset: 28, MissType: 1, MissNest: 400}, unix.EINVAL, AppendUint32(nil, nlmsgerrAttrMissType, 1)},
		{"no errno", errors.New("out of luck"), unix.EIO, extMsg("out of luck")},
		{"given up", fmt.Errorf("read: %w", context.Canceled), unix.ECANCELED, extMsg("read: context canceled")},
		{"too late", context.DeadlineExceeded, unix.ETIMEDOUT, extMsg("context deadline exceeded")},
		{"interrupted", unix.EINTR, unix.EINTR, nil},
		{"warning", &Error{Message: "old"}, 0, extMsg("old")},
	}
	attrs := AppendAttr(nil, 7, nil)
	attrs = AppendAttr(attrs, 7, nil)
	s := newTestServer(t, ServerOptions{Kernel: "6.12"})
	k := s.dial(t)
	for _, tt := range tests {
		for _, kind := range []uint16{ackd, ackd | dmp} {
			t.Run(fmt.Sprintf("%s %#x", tt.name, kind), func(t *testing.T) {
				s.err = tt.err
				r := request(testID, kind, cmdFail, attrs)
				want := []string{acked(tt.errno, r, tt.tlvs)}
				if kind&dmp == dmp && tt.errno == 0 {
					want = []string{datagram(doneLen, described(unix.NLMSG_DONE, unix.NLM_F_MULTI, make([]byte, 4)))}
				}
				if diff := cmp.Diff(want, answer(t, k, r, 8192)); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		}
	}

	t.Run("options", func(t *testing.T) {
		s.err = full
		r := request(testID, req, cmdFail, attrs)
		k := newServerSide(t, s.Server)
		busy := -int32(unix.EBUSY)
		body := slices.Concat(ne.AppendUint32(nil, uint32(busy)), r)
		want := []string{datagram(headerLen+len(body), described(unix.NLMSG_ERROR, 0, body))}
		if diff := cmp.Diff(want, answer(t, k, r, 8192)); diff != "" {
			t.Errorf("answer without options (-want +got):\n%s", diff)
		}
		k.option(netlink.ExtendedAcknowledge, true)
		body = append(body, tlvs...)
		want = []string{datagram(headerLen+len(body), described(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, body))}
		if diff := cmp.Diff(want, answer(t, k, r, 8192)); diff != "" {
			t.Errorf("answer with ExtendedAcknowledge (-want +got):\n%s", diff)
		}
	})
	t.Run("dump on 6.1", func(t *testing.T) {
		s := newTestServer(t, ServerOptions{Kernel: "6.1"})
		s.err = full
		r := request(testID, ackd|dmp, cmdFail, attrs)
		if diff := cmp.Diff([]string{acked(unix.EBUSY, r, nil)}, answer(t, s.dial(t), r, 8192)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
}

// A request that does not end at a border is padded where it is sent back.
func TestServerErrorPadding(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	k := newServerSide(t, s.Server)
	k.option(netlink.ExtendedAcknowledge, true)
	r := request(testID, req, cmdEcho, []byte{5, 0, 17, 0, 1})
	errno := -int32(unix.EINVAL)
	body := slices.Concat(ne.AppendUint32(nil, uint32(errno)), r, []byte{0, 0, 0}, extAttr("Unknown attribute type", 20))
	want := []string{datagram(headerLen+len(body), described(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, body))}
	if diff := cmp.Diff(want, answer(t, k, r, 8192)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// Old commands may have what is reserved set, and no policy.
func TestServerLoose(t *testing.T) {
	s := NewServer(ServerOptions{Kernel: "6.12"})
	defer s.Close()
	do := HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
		_, ok := r.Attr(1)
		return w.Reply([]byte(fmt.Sprint(ok)))
	})
	err := s.Register(&ServedFamily{Name: "old", LooseBelow: 3, Ops: []ServedOp{
		{Command: 1, Do: do},
		{Command: 2, Do: do, Policy: testPolicy, Validate: DontValidateStrict},
		{Command: 3, Do: do},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, op := range s.Family("old").Ops {
		told = append(told, op.Flags.String())
	}
	if want := []string{"do", "do,haspol", "do,haspol"}; !slices.Equal(told, want) {
		t.Errorf("got flags %q, want %q", told, want)
	}

	k := newServerSide(t, s)
	k.option(netlink.ExtendedAcknowledge, true)
	k.option(netlink.CapAcknowledge, true)
	long := AppendAttr(nil, 1, []byte{5, 0, 0, 0, 1, 2, 3, 4})
	reply := func(cmd byte, s string) string {
		return datagram(20+len(s), described(testID, 0, []byte{cmd, 0, 0, 0}, []byte(s)))
	}
	tests := []struct {
		name  string
		flags uint16
		cmd   uint8
		attrs []byte
		want  func(r []byte) []string
	}{
		{"no policy", 0x800, 1, long, func([]byte) []string { return []string{reply(1, "false")} }},
		{"attribute that is long", 0x800, 2, long, func([]byte) []string { return []string{reply(2, "true")} }},
		{"unknown attribute", 0, 2, AppendAttr(nil, 99, nil), func([]byte) []string { return []string{reply(2, "false")} }},
		{"bytes left", unix.NLM_F_ACK, 2, append(slices.Clone(long), 1), func(r []byte) []string {
			return []string{reply(2, "true"), acked(0, r, extMsg("bytes leftover after parsing attributes"))}
		}},
		{"short number", 0, 2, AppendAttr(nil, 1, []byte{5}), func(r []byte) []string {
			u32 := slices.Concat(pol64(unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U, 1, 9), polType(unix.NL_ATTR_TYPE_U32))
			return []string{acked(unix.ERANGE, r, extAttr("Attribute failed policy validation", 20, u32))}
		}},
		{"first that is not old", 0x800, 3, nil, func(r []byte) []string {
			return []string{acked(unix.EINVAL, r, extMsg("ambiguous or reserved bits set in nlmsg_flags"))}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(testID, req|tt.flags, tt.cmd, tt.attrs)
			if diff := cmp.Diff(tt.want(r), answer(t, k, r, 8192)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// Several messages in a datagram are handled in turn, up to one that is broken.
func TestServerManyMessages(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	k := s.dial(t)
	good := request(testID, ackd, cmdEcho, AppendAttr(nil, 5, []byte("a"))[:5])
	ne.PutUint32(good, uint32(len(good)))
	bad := request(testID, ackd, 99, nil)
	broken := request(testID, ackd, 99, nil)
	ne.PutUint32(broken, 4)
	all := slices.Concat(good, []byte{0, 0, 0}, bad, good, []byte{0, 0, 0}, broken, good)
	reply := datagram(25, described(testID, 0, []byte{cmdEcho, 3, 0, 0}, good[20:]))
	want := []string{
		reply, acked(0, good, nil),
		acked(unix.EOPNOTSUPP, bad, nil),
		reply, acked(0, good, nil),
	}
	if diff := cmp.Diff(want, answer(t, k, all, 8192)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}

	var errno syscall.Errno
	if err := k.t.Send(t.Context(), nil, nil); !errors.As(err, &errno) || errno != unix.ENODATA {
		t.Errorf("an empty datagram: got error %v", err)
	}
	if err := k.t.Send(t.Context(), make([]byte, maxSend+1), nil); !errors.As(err, &errno) || errno != unix.EMSGSIZE {
		t.Errorf("a large datagram: got error %v", err)
	}
}

func TestServerRegister(t *testing.T) {
	do := HandlerFunc(func(*ReplyWriter, *ServerRequest) error { return nil })
	tests := []struct {
		name string
		fam  *ServedFamily
		want error
	}{
		{"good", &ServedFamily{Name: "a", Ops: []ServedOp{{Command: 1, Do: do}}}, nil},
		{"no operations", &ServedFamily{Name: "b"}, nil},
		{"twice", &ServedFamily{Name: "test"}, os.ErrExist},
		{"nlctrl", &ServedFamily{Name: "nlctrl"}, os.ErrExist},
		{"no name", &ServedFamily{}, unix.EINVAL},
		{"long name", &ServedFamily{Name: "a-name-of-16-byt"}, unix.EINVAL},
		{"name with NUL", &ServedFamily{Name: "a\x00b"}, unix.EINVAL},
		{"group without a name", &ServedFamily{Name: "c", Groups: []ServedGroup{{}}}, unix.EINVAL},
		{"operation that is none", &ServedFamily{Name: "d", Ops: []ServedOp{{Command: 1}}}, unix.EINVAL},
		{"operation twice", &ServedFamily{Name: "e", Ops: []ServedOp{{Command: 1, Do: do}, {Command: 1, Do: do}}}, unix.EINVAL},
		{"unchecked", &ServedFamily{Name: "f", Ops: []ServedOp{{Command: 1, Do: do, Validate: DontValidateStrict}}}, unix.EINVAL},
		{"old and unchecked", &ServedFamily{Name: "g", LooseBelow: 2, Ops: []ServedOp{{Command: 1, Do: do, Validate: DontValidateStrict}}}, nil},
		{"policy of no type", &ServedFamily{Name: "h", Ops: []ServedOp{{Command: 1, Do: do, Policy: &PolicySet{Attrs: []AttrPolicy{{1, Policy{Type: 99}}}}}}}, unix.EINVAL},
	}
	s := newTestServer(t, ServerOptions{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.Register(tt.fam); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
	if err := s.Unregister("no-such"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unregister: got error %v, want %v", err, os.ErrNotExist)
	}
	if err := s.Unregister("nlctrl"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unregister nlctrl: got error %v, want %v", err, os.ErrNotExist)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Dial(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("dial after close: got error %v, want %v", err, os.ErrClosed)
	}
}

// Groups get the ids that the kernel would give them, and ids are not used again
// at once.
func TestServerIDs(t *testing.T) {
	s := NewServer(ServerOptions{})
	defer s.Close()
	register := func(name string, groups int) *Family {
		f := &ServedFamily{Name: name}
		for i := range groups {
			f.Groups = append(f.Groups, ServedGroup{Name: fmt.Sprint(i)})
		}
		if err := s.Register(f); err != nil {
			t.Fatal(err)
		}
		return s.Family(name)
	}
	first := func(f *Family) uint32 { return f.Groups[0].ID }
	a, b := register("a", 3), register("b", 14)
	if a.ID != 0x13 || first(a) != 2 || b.ID != 0x14 || first(b) != 19 {
		t.Errorf("got ids %#x and %#x, groups %d and %d", a.ID, b.ID, first(a), first(b))
	}
	if err := s.Unregister("a"); err != nil {
		t.Fatal(err)
	}
	if c := register("c", 2); c.ID != 0x15 || first(c) != 2 {
		t.Errorf("got id %#x, group %d", c.ID, first(c))
	}
	if d := register("d", 100); first(d) != 33 {
		t.Errorf("got group %d", first(d))
	}
	k := newServerSide(t, s)
	if err := k.t.JoinGroup(132); err != nil {
		t.Error(err)
	}
	for _, id := range []uint32{0, 1000, 1 << 31} {
		if err := k.t.JoinGroup(id); !errors.Is(err, unix.EINVAL) {
			t.Errorf("join group %d: got error %v", id, err)
		}
		if err := k.t.LeaveGroup(id); !errors.Is(err, unix.EINVAL) {
			t.Errorf("leave group %d: got error %v", id, err)
		}
	}
}

// The client that speaks to the kernel speaks to a server.
func TestServerConn(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	var warned []Warning
	c, f := s.conn(t, Options{Warn: func(w Warning) { warned = append(warned, w) }})
	want := s.Family("test")
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("family (-want +got):\n%s", diff)
	}
	list, err := c.Families(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "nlctrl" {
		t.Errorf("got families %v, error %v", list, err)
	}
	ops, err := c.Policies(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if len(ops) != len(s.fam.Ops) {
		t.Errorf("got policies of %d operations", len(ops))
	}
	got := ops[0].Do
	if got.Attrs[11].Nest != got || len(got.Attrs) != len(testPolicy.Attrs) {
		t.Errorf("got policies %+v", got)
	}

	s.err = &Error{Message: "mind the gap"}
	if err := c.Do(t.Context(), Request{Op: "x", Family: f, Command: cmdNone}, nil); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]Warning{{Op: "x", Message: "mind the gap"}}, warned); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}

	n := 0
	s.list = func() DumpCursor {
		n++
		return DumpSlice(AppendUint32(nil, 1, 1), AppendUint32(nil, 1, 2))
	}
	cur := c.Dump(t.Context(), Request{Op: "list", Family: f, Command: cmdList})
	defer cur.Close()
	var values []uint32
	for cur.Next() {
		values = append(values, ne.Uint32(cur.Message().Attrs[4:]))
	}
	if err := cur.Err(); err != nil || !slices.Equal(values, []uint32{1, 2}) || n != 1 {
		t.Errorf("got %v, error %v, in %d dumps", values, err, n)
	}
}
