// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// request is what is sent over netlink, and what must come back.
type request struct {
	name    string
	cmd     uint8
	flags   uint16
	attrs   []byte
	errno   unix.Errno
	text    string
	bad     uint16 // attribute that is pointed at
	missing uint16 // attribute that is named as missing
}

// requests are refused by the policies, whoever asks.
func requests(ifindex, fd uint32) []request {
	u32, cat := testutil.AttrU32, slices.Concat[[]byte]
	dev, prog := u32(attrIfindex, ifindex), u32(attrFD, fd)
	set := func(more ...[]byte) []byte { return cat(append([][]byte{dev, prog}, more...)...) }
	const (
		unknown     = "Unknown attribute type"
		unsupported = "Unsupported attribute"
		length      = "invalid attribute length"
		integer     = "integer out of range"
		leftover    = "bytes leftover after parsing attributes"
		flagBits    = "ambiguous or reserved bits set in nlmsg_flags"
	)
	return []request{
		{"unknown command", 99, 0, nil, unix.EOPNOTSUPP, "", 0, 0},
		{"command 0", 0, 0, nil, unix.EOPNOTSUPP, "", 0, 0},
		{"a notification as command", 7, 0, dev, unix.EOPNOTSUPP, "", 0, 0},
		{"dump of a set", cmdProgSet, unix.NLM_F_DUMP, set(), unix.EOPNOTSUPP, "", 0, 0},
		{"dump of a delete", cmdProgDel, unix.NLM_F_DUMP, dev, unix.EOPNOTSUPP, "", 0, 0},

		{"stats-get without ifindex", cmdStatsGet, 0, nil, unix.EINVAL, "", 0, attrIfindex},
		{"qstats-get without ifindex", cmdQstatsGet, 0, u32(attrQueue, 0), unix.EINVAL, "", 0, attrIfindex},
		{"qstats-get without queue", cmdQstatsGet, 0, dev, unix.EINVAL, "", 0, attrQueue},
		{"prog-get without ifindex", cmdProgGet, 0, nil, unix.EINVAL, "", 0, attrIfindex},
		{"prog-set without ifindex", cmdProgSet, 0, prog, unix.EINVAL, "", 0, attrIfindex},
		{"prog-del without ifindex", cmdProgDel, 0, nil, unix.EINVAL, "", 0, attrIfindex},
		{"caps-get without ifindex", cmdCapsGet, 0, nil, unix.EINVAL, "", 0, attrIfindex},
		{"prog-set without fd", cmdProgSet, 0, dev, unix.EINVAL, "no program is given", 0, attrFD},
		{"type-get without id", cmdTypeGet, 0, nil, unix.EINVAL, "", 0, 1},
		{"type-get of id 0", cmdTypeGet, 0, u32(1, 0), unix.ERANGE, integer, 1, 0},
		{"type-get of id 77", cmdTypeGet, 0, u32(1, 77), unix.ERANGE, integer, 1, 0},

		{"stats-get of ifindex 0", cmdStatsGet, 0, u32(attrIfindex, 0), unix.ERANGE, integer, attrIfindex, 0},
		{"prog-set of ifindex 0", cmdProgSet, 0, cat(prog, u32(attrIfindex, 0)), unix.ERANGE, integer, attrIfindex, 0},
		{"prog-del of ifindex 0", cmdProgDel, 0, u32(attrIfindex, 0), unix.ERANGE, integer, attrIfindex, 0},
		{"dump of ifindex 0", cmdStatsGet, unix.NLM_F_DUMP, u32(attrIfindex, 0), unix.ERANGE, integer, attrIfindex, 0},
		{"update 3", cmdProgSet, 0, set(u32(attrUpdate, 3)), unix.ERANGE, integer, attrUpdate, 0},
		{"expected id 0", cmdProgSet, 0, set(u32(attrExpected, 0)), unix.ERANGE, integer, attrExpected, 0},
		{"unknown mode", cmdProgSet, 0, set(u32(attrMode, 8)), unix.EINVAL, "reserved bit set", attrMode, 0},

		{"unknown attribute", cmdStatsGet, 0, cat(dev, u32(77, 1)), unix.EINVAL, unknown, 77, 0},
		{"unknown attribute of a set", cmdProgSet, 0, set(u32(77, 1)), unix.EINVAL, unknown, 77, 0},
		{"unknown attribute of a delete", cmdProgDel, 0, cat(dev, u32(77, 1)), unix.EINVAL, unknown, 77, 0},
		{"unknown attribute of a dump", cmdCapsGet, unix.NLM_F_DUMP, u32(77, 1), unix.EINVAL, unknown, 77, 0},
		{"attribute 0", cmdStatsGet, 0, cat(dev, testutil.Attr(0, make([]byte, 4))), unix.EINVAL, unknown, attrZero, 0},
		{"queue of stats-get", cmdStatsGet, 0, cat(dev, u32(attrQueue, 0)), unix.EINVAL, unknown, attrQueue, 0},
		{"read-only attribute", cmdProgSet, 0, set(u32(attrProgID, 1)), unix.EINVAL, unsupported, attrProgID, 0},
		{"read-only tag", cmdProgSet, 0, set(testutil.Attr(attrTag, make([]byte, 8))), unix.EINVAL, unsupported, attrTag, 0},
		{"fd of a delete", cmdProgDel, 0, cat(dev, prog), unix.EINVAL, unknown, attrFD, 0},
		{"padding", cmdProgSet, 0, set(testutil.Attr(attrPad, nil)), unix.EINVAL, unsupported, attrPad, 0},

		{"short ifindex", cmdStatsGet, 0, testutil.Attr(attrIfindex, make([]byte, 2)), unix.EINVAL, length, attrIfindex, 0},
		{"long ifindex", cmdStatsGet, 0, testutil.Attr(attrIfindex, make([]byte, 8)), unix.EINVAL, length, attrIfindex, 0},
		{"empty ifindex", cmdProgDel, 0, testutil.Attr(attrIfindex, nil), unix.EINVAL, length, attrIfindex, 0},
		{"short fd", cmdProgSet, 0, cat(dev, testutil.Attr(attrFD, make([]byte, 3))), unix.EINVAL, length, attrFD, 0},
		{"long mode", cmdProgSet, 0, set(testutil.Attr(attrMode, make([]byte, 8))), unix.EINVAL, length, attrMode, 0},
		{"nested ifindex", cmdStatsGet, 0, testutil.AttrU32(attrIfindex|unix.NLA_F_NESTED, ifindex), unix.EINVAL, "NLA_F_NESTED not expected", attrIfindex, 0},

		{"half a header", cmdStatsGet, 0, cat(dev, []byte{8, 0}), unix.EINVAL, leftover, 0, 0},
		{"truncated attribute", cmdProgSet, 0, cat(set(), u32(attrMode, 2)[:6]), unix.EINVAL, leftover, 0, 0},
		{"attribute shorter than its header", cmdProgSet, 0, cat(set(), []byte{3, 0, attrMode, 0}), unix.EINVAL, leftover, 0, 0},
		{"attribute longer than the message", cmdProgDel, 0, cat(dev, []byte{200, 0, attrQueue, 0, 0, 0, 0, 0}), unix.EINVAL, leftover, 0, 0},

		{"NLM_F_REPLACE", cmdProgSet, unix.NLM_F_REPLACE, set(), unix.EINVAL, flagBits, 0, 0},
		{"NLM_F_EXCL", cmdProgSet, unix.NLM_F_EXCL, set(), unix.EINVAL, flagBits, 0, 0},
		{"NLM_F_CREATE", cmdProgSet, unix.NLM_F_CREATE, set(), unix.EINVAL, flagBits, 0, 0},
		{"NLM_F_APPEND", cmdProgSet, unix.NLM_F_APPEND, set(), unix.EINVAL, flagBits, 0, 0},
		{"NLM_F_ATOMIC", cmdStatsGet, unix.NLM_F_ATOMIC, dev, unix.EINVAL, flagBits, 0, 0},
	}
}

// TestNetlinkRefused sends requests that are wrong by themselves.
func TestNetlinkRefused(t *testing.T) {
	r := newRaw(t)
	if err := add("pass", auto)(r.world, r.other(), "veth0"); err != nil {
		t.Fatal(err)
	}
	for _, rq := range requests(uint32(r.ns.Index("veth1")), uint32(r.world.progs["pass"].FD)) {
		r.unchanged(rq.name, func() {
			a := r.do(rq.cmd, rq.flags, rq.attrs)
			r.answer(rq.name, a, rq.attrs, rq.errno, rq.text, rq.bad, rq.missing)
		})
	}
}

// TestNetlinkSpoiled sends messages whose headers are wrong.
func TestNetlinkSpoiled(t *testing.T) {
	r := newRaw(t)
	attrs := (&update{uint32(r.ns.Index("veth0")), queueAll, map[uint16]uint32{attrFD: uint32(r.world.progs["pass"].FD)}, 0}).attrs()
	for _, tc := range []struct {
		name  string
		spoil func(msg []byte) []byte
		errno unix.Errno
		text  string
	}{
		{"reserved field", func(m []byte) []byte { m[18] = 1; return m }, unix.EINVAL, "genlmsghdr.reserved field is not 0"},
		{"no generic header", func(m []byte) []byte {
			binary.NativeEndian.PutUint32(m, 16)
			return m[:16]
		}, unix.EINVAL, ""},
		{"half a generic header", func(m []byte) []byte {
			binary.NativeEndian.PutUint32(m, 18)
			return m[:18]
		}, unix.EINVAL, ""},
	} {
		r.unchanged(tc.name, func() {
			a := r.sendRaw(tc.spoil(r.genl.Message(cmdProgSet, 0, attrs)))
			r.answer(tc.name, a, nil, tc.errno, tc.text, 0, 0)
		})
	}
}

// TestNetlinkNotThere asks for what does not exist.
func TestNetlinkNotThere(t *testing.T) {
	r := newRaw(t)
	none, dummy := testutil.AttrU32(attrIfindex, 9999), testutil.AttrU32(attrIfindex, uint32(r.ns.Index("dummy0")))
	for _, rq := range []request{
		{"stats-get", cmdStatsGet, 0, none, unix.ENOENT, "no such netdev", 0, 0},
		{"caps-get", cmdCapsGet, 0, none, unix.ENOENT, "no such netdev", 0, 0},
		{"prog-get", cmdProgGet, 0, none, unix.ENOENT, "no such netdev", 0, 0},
		{"prog-del", cmdProgDel, 0, none, unix.ENOENT, "no such netdev", 0, 0},
		{"qstats-get", cmdQstatsGet, 0, slices.Concat(none, testutil.AttrU32(attrQueue, 0)), unix.ENOENT, "no such netdev", 0, 0},
		{"qstats-get of a queue", cmdQstatsGet, 0, slices.Concat(dummy, testutil.AttrU32(attrQueue, 77)), unix.ENOENT, "no such queue", 0, 0},
		{"prog-get without a program", cmdProgGet, 0, dummy, unix.ENOENT, "no program is attached", 0, 0},
		{"prog-del without a program", cmdProgDel, 0, dummy, unix.ENOENT, "no program is attached", 0, 0},
	} {
		r.answer(rq.name, r.do(rq.cmd, rq.flags, rq.attrs), rq.attrs, rq.errno, rq.text, rq.bad, rq.missing)
	}
}

// TestNetlinkCapability changes things without CAP_NET_ADMIN, and reads.
func TestNetlinkCapability(t *testing.T) {
	r := newRaw(t)
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	dev := testutil.AttrU32(attrIfindex, uint32(r.ns.Index("veth0")))
	set := slices.Concat(dev, testutil.AttrU32(attrFD, uint32(r.world.progs["drop"].FD)))
	r.unchanged("without capabilities", func() {
		var answers [4]*testutil.Answer
		testutil.WithoutCaps(t, r.ns, testutil.AllCaps(), func() {
			g, err := testutil.DialGenl(t, r.genl.Family)
			if err != nil {
				t.Error(err)
				return
			}
			defer g.Close()
			for i, m := range [][]byte{
				g.Message(cmdProgSet, 0, set), g.Message(cmdProgDel, 0, dev),
				g.Message(cmdProgGet, 0, dev), g.Message(cmdStatsGet, unix.NLM_F_DUMP, nil),
			} {
				if answers[i], err = g.TryRaw(m); err != nil {
					t.Error(err)
					return
				}
			}
		})
		if t.Failed() {
			t.FailNow()
		}
		r.answer("prog-set", answers[0], set, unix.EPERM, "", 0, 0)
		r.answer("prog-del", answers[1], dev, unix.EPERM, "", 0, 0)
		for _, a := range answers[2:] {
			if a.Errno != 0 || len(a.Msgs) == 0 {
				t.Errorf("reading without capabilities: %v", a)
			}
		}
	})
	// A socket of somebody who may, used by somebody who may not.
	r.unchanged("with a passed-on socket", func() {
		var a *testutil.Answer
		var err error
		testutil.WithoutCaps(t, r.ns, []int{unix.CAP_NET_ADMIN}, func() {
			a, err = r.genl.TryRaw(r.genl.Message(cmdProgDel, 0, dev))
		})
		if err != nil {
			t.Fatal(err)
		}
		r.answer("prog-del", a, dev, unix.EPERM, "", 0, 0)
	})
}

// TestNetlinkOtherNetNS uses the socket of one namespace in another, where the
// same ifindexes mean other netdevs.
func TestNetlinkOtherNetNS(t *testing.T) {
	r, other := newRaw(t), newWorld(t, module)
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	const text = "the caller is in another network namespace than its socket"
	for _, name := range []string{"veth0", "veth1"} {
		dev := testutil.AttrU32(attrIfindex, uint32(r.ns.Index(name)))
		set := slices.Concat(dev, testutil.AttrU32(attrFD, uint32(r.world.progs["drop"].FD)))
		r.unchanged(name, func() {
			var onSet, onDel *testutil.Answer
			other.ns.Do(func() {
				onSet = r.genl.Do(cmdProgSet, 0, set)
				onDel = r.genl.Do(cmdProgDel, 0, dev)
			})
			r.answer("prog-set of "+name, onSet, set, unix.EXDEV, text, 0, 0)
			r.answer("prog-del of "+name, onDel, dev, unix.EXDEV, text, 0, 0)
		})
		if got := other.state(name); got != "-" {
			t.Errorf("the other %s has %q", name, got)
		}
	}
	if _, progs := other.compareAll(); len(progs) != 0 {
		t.Errorf("programs in the other namespace: %v", progs)
	}
	// Reading is about the socket's namespace, wherever the reader is.
	var a *testutil.Answer
	other.ns.Do(func() { a = r.genl.Do(cmdProgGet, unix.NLM_F_DUMP, nil) })
	if a.Errno != 0 || len(a.Msgs) != 1 {
		t.Errorf("dump from another namespace: %v", a)
	}
}
