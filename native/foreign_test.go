// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestProgForeign leaves alone what somebody else attached, and says who it was.
// It is told the same whether we have a state or not.
func TestProgForeign(t *testing.T) {
	for _, withState := range []bool{false, true} {
		for _, mode := range []struct {
			name  string
			flags uint32
		}{{"native", unix.XDP_FLAGS_DRV_MODE}, {"generic", unix.XDP_FLAGS_SKB_MODE}} {
			t.Run(fmt.Sprintf("%s/%v", mode.name, withState), func(t *testing.T) {
				b := newBed(t)
				if withState {
					b.must(b.set(change{prog: "pass", queue: all}))
					b.link(testutil.DetachLink)
				}
				b.foreignNetlink(mode.name, mode.flags)
				b.foreignLink(mode.name, mode.flags)
				b.must(b.set(change{prog: "pass", queue: all}))
				b.want("*=pass/native/module")
			})
		}
	}
}

func (b *bed) foreignNetlink(mode string, flags uint32) {
	b.Helper()
	pass := b.progs["pass"]
	b.must(b.ns.SetXDP("veth0", pass.FD, flags))
	b.wantLeftAlone("*=pass/"+mode+"/netlink",
		fmt.Sprintf("the netdev is held by program %d, attached in %s mode over rtnetlink", pass.ID, mode))

	// Somebody has a link elsewhere, which looks the same but for the
	// network namespace.
	other := testutil.NewNetNS(b.T)
	for {
		other.AddVeth("a", "b", testutil.VethOptions{})
		if other.Index("a") == int(b.dev) || other.Index("b") == int(b.dev) {
			break
		}
		other.Del("a")
		if other.Index("lo") > int(b.dev) {
			b.Fatal("no netdev with the same ifindex")
		}
	}
	other.Do(func() {
		fd := testutil.CreateXDPLink(b.T, pass.FD, int(b.dev), 0)
		b.wantLeftAlone("*=pass/"+mode+"/netlink",
			fmt.Sprintf("the netdev is held by program %d, attached in %s mode over rtnetlink", pass.ID, mode))
		b.must(testutil.DetachLink(fd))
	})
	b.must(b.ns.SetXDP("veth0", -1, flags))
}

func (b *bed) foreignLink(mode string, flags uint32) {
	b.Helper()
	pass := b.progs["pass"]
	var fd int
	b.ns.Do(func() { fd = testutil.CreateXDPLink(b.T, pass.FD, int(b.dev), flags) })
	var info testutil.LinkInfo
	b.must(testutil.ObjInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info)))
	b.wantLeftAlone("*=pass/"+mode+"/link",
		fmt.Sprintf("the netdev is held by program %d, attached in %s mode by BPF link %d of somebody else", pass.ID, mode, info.ID))
	b.must(testutil.DetachLink(fd))
}

// wantLeftAlone tries to change what is somebody else's.
func (b *bed) wantLeftAlone(state, text string) {
	b.Helper()
	for _, err := range []error{
		b.set(change{prog: "drop", queue: all}),
		b.set(change{prog: "drop", queue: 1}),
		b.set(change{"drop", all, 0, "", family.UpdateNoexist}),
		b.set(change{"drop", all, 0, "pass", family.UpdateExist}),
		b.del(all),
		b.del(1),
	} {
		b.refused(err, unix.EBUSY, text)
		b.want2(state)
	}
	if _, err := b.c.placeholder(b.Context(), b.dev, true); err == nil {
		b.Error("there is a placeholder")
	} else {
		b.refused(err, unix.EBUSY, text)
	}
}

// placeholder turns the placeholder of a netdev on or off.
func (c *Control) placeholder(ctx context.Context, ifindex uint32, on bool) (id uint32, err error) {
	err = c.change(ctx, func() (err error) {
		if on {
			id, err = c.placeholderOn(ctx, ifindex)
			return err
		}
		return c.placeholderOff(ctx, ifindex)
	})
	return id, err
}

func TestPlaceholder(t *testing.T) {
	b := newBed(t)
	on := func() uint32 { return must(b.c.placeholder(t.Context(), b.dev, true)) }
	off := func() { must(b.c.placeholder(t.Context(), b.dev, false)) }
	id := func() (id uint32) {
		b.must(b.c.inNetNS(func() (err error) {
			id, err = b.c.placeholderID(b.dev)
			return err
		}))
		return id
	}
	const there = "*=placeholder/native/redirect"
	first := on()
	if first == 0 || id() != first || on() != first {
		t.Errorf("the placeholder is %d, then %d", first, id())
	}
	b.want(there)
	b.refused(b.del(all), unix.ENOENT, "no program is attached")
	b.refused(b.set(change{"pass", all, 0, "", family.UpdateExist}), unix.ENOENT, "no program is attached")
	b.must(b.set(change{"pass", all, 0, "", family.UpdateNoexist}))
	b.want("*=pass/native/module")
	if id() != 0 || on() != 0 {
		t.Error("the placeholder is there beside a program")
	}
	b.must(b.del(all))
	b.want(there)
	b.must(b.set(change{prog: "drop", queue: 2}))
	b.want("2=drop/native/module/dispatched/active")
	b.must(b.del(2))
	b.want(there)
	b.link(testutil.DetachLink)
	b.want2("")
	if second := on(); second == 0 || second == first {
		t.Errorf("the placeholder is %d after %d", second, first)
	}
	b.want(there)
	off()
	b.want("")
	b.must(b.set(change{prog: "pass", queue: all}))
	b.must(b.del(all))
	b.want("") // it is not kept
	off()

	// It waits until another program goes.
	b.must(b.set(change{prog: "pass", queue: all}))
	if on() != 0 {
		t.Error("the placeholder is there beside a program")
	}
	b.must(b.del(all))
	b.want(there)
	b.must(b.set(change{prog: "pass", queue: all}))
	off()
	b.must(b.del(all))
	b.want("")

	b.must(b.set(change{prog: "pass", queue: all, mode: family.ModeGeneric}))
	_, err := b.c.placeholder(t.Context(), b.dev, true)
	b.refused(err, unix.EBUSY, fmt.Sprintf("the netdev must have a program in native mode, and program %d is "+
		"attached in generic mode: detach it first", b.progs["pass"].ID))
	_, err = b.c.placeholder(t.Context(), 9999, true)
	b.refused(err, unix.ENODEV, "no such netdev")
	b.must(func() error { _, err := b.c.placeholder(t.Context(), 9999, false); return err }())
}

// TestProgRefused makes updates that are wrong in themselves.
func TestProgRefused(t *testing.T) {
	b := newBed(t)
	drop := b.progs["drop"]
	file := must(os.Open(os.DevNull))
	defer file.Close()
	linkFD := 0
	b.ns.Do(func() { linkFD = testutil.CreateXDPLink(t, drop.FD, b.ns.Index("veth1"), 0) })
	filter := testutil.NewProg(t, testutil.ProgAttr{Type: unix.BPF_PROG_TYPE_SOCKET_FILTER}, testutil.Return(0))
	cpumap := testutil.NewProg(t, testutil.ProgAttr{Type: unix.BPF_PROG_TYPE_XDP, ExpectedType: unix.BPF_XDP_CPUMAP}, testutil.Return(2))
	untyped := testutil.NewProg(t, testutil.ProgAttr{Type: unix.BPF_PROG_TYPE_XDP}, testutil.Return(2))
	lo := uint32(b.ns.Index("lo"))
	fd := func(fd int) func(v *family.Prog) { return func(v *family.Prog) { v.SetFD(uint32(fd)) } }
	with := func(f func(v *family.Prog)) func(v *family.Prog) {
		return func(v *family.Prog) { v.SetFD(uint32(drop.FD)); f(v) }
	}
	mode := func(m family.Mode) func(v *family.Prog) { return with(func(v *family.Prog) { v.SetMode(m) }) }
	expect := func(id uint32) func(v *family.Prog) {
		return with(func(v *family.Prog) { v.SetExpectedProgID(id) })
	}
	b.must(b.set(change{prog: "pass", queue: all}))
	for _, tc := range []struct {
		name    string
		ifindex uint32
		queue   uint32
		fill    func(v *family.Prog)
		how     family.Update
		errno   unix.Errno
		text    string
	}{
		{"no netdev", 9999, all, fd(drop.FD), 0, unix.ENODEV, "no such netdev"},
		{"ifindex -1", 0xffffffff, all, fd(drop.FD), 0, unix.ENODEV, "no such netdev"},
		{"a queue that is none", lo, 7, fd(drop.FD), 0, unix.EINVAL, "the netdev has 1 RX queues, from 0 to 0"},
		{"fd -1", lo, all, fd(-1), 0, unix.EBADF, "no such file descriptor"},
		{"fd not open", lo, all, fd(99999), 0, unix.EBADF, "no such file descriptor"},
		{"fd of a file", lo, all, fd(int(file.Fd())), 0, unix.EINVAL, "not an XDP program"},
		{"fd of a link", lo, all, fd(linkFD), 0, unix.EINVAL, "not an XDP program"},
		{"fd of a socket filter", lo, all, fd(filter.FD), 0, unix.EINVAL, "not an XDP program"},
		{"fd of a cpumap program", lo, all, fd(cpumap.FD), 0, unix.EINVAL, "the program is for an entry of a devmap or cpumap, not for a netdev"},
		{"no fd", lo, all, func(*family.Prog) {}, 0, unix.EINVAL, "no program is given"},
		{"two modes", lo, all, mode(3), 0, unix.EINVAL, "only one XDP mode can be set"},
		{"offload", lo, all, mode(4), 0, unix.EOPNOTSUPP, "offload mode cannot be set"},
		{"unknown mode", lo, all, mode(8), 0, unix.EINVAL, "unknown XDP mode"},
		{"unknown feature", lo, all, with(func(v *family.Prog) { v.SetRequiredFeatures(1 << 7) }), 0, unix.EINVAL, "unknown feature is required"},
		{"unknown action", lo, all, with(func(v *family.Prog) { v.SetRequiredActions(1 << 5) }), 0, unix.EINVAL, "unknown feature is required"},
		{"expected with noexist", lo, all, expect(1), family.UpdateNoexist, unix.EINVAL, "an expected program id goes with a replace"},
		{"expected where none is", lo, all, expect(1), 0, unix.ENOENT, "no program is attached"},
		{"native where none is", lo, all, mode(1), 0, unix.EOPNOTSUPP, "the driver does not support XDP in native mode in its present settings"},
		{"another attach type", b.dev, all, fd(untyped.FD), 0, unix.EINVAL,
			fmt.Sprintf("program %d was loaded with another expected attach type: detach it first", b.progs["pass"].ID)},
		{"another attach type for a queue", b.dev, 1, fd(untyped.FD), 0, unix.EINVAL,
			fmt.Sprintf("program %d was loaded with another expected attach type: detach it first", b.progs["pass"].ID)},
	} {
		before := b.state()
		var v family.Prog
		tc.fill(&v)
		err := b.c.Prog().Update(t.Context(), &family.ProgKey{Ifindex: tc.ifindex, Queue: tc.queue}, &v, tc.how)
		var e *family.Error
		if !errors.As(err, &e) || e.Errno != tc.errno || e.Message != tc.text || e.Op != "prog-set" {
			t.Errorf("%s: got %v, want %v: %s", tc.name, err, tc.errno, tc.text)
		}
		if (tc.text == "no program is given") != (e != nil && e.MissAttr == ".fd") {
			t.Errorf("%s: got %+v", tc.name, e)
		}
		b.want(before)
	}
	err := b.c.Prog().Delete(t.Context(), &family.ProgKey{Ifindex: 9999, Queue: all})
	b.refused(err, unix.ENOENT, "no such netdev")
}

// TestQueueRefused shares a netdev between programs that cannot.
func TestQueueRefused(t *testing.T) {
	b := newBed(t)
	attr := testutil.XDPProgAttr("frags")
	attr.Flags = bpfFXDPHasFrags
	b.progs["frags"] = testutil.NewProg(t, attr, testutil.Return(2))
	attr = testutil.XDPProgAttr("bound")
	attr.Flags, attr.Ifindex = 1<<6, b.dev // BPF_F_XDP_DEV_BOUND_ONLY
	b.ns.Do(func() {
		if fd, err := testutil.LoadProg(attr, testutil.Return(2)); err == nil {
			unix.Close(fd)
			b.progs["bound"] = testutil.NewProg(t, attr, testutil.Return(2))
		}
	})
	pass, frags := b.progs["pass"].ID, b.progs["frags"].ID
	b.must(b.set(change{prog: "pass", queue: all}))
	b.refused(b.set(change{prog: "frags", queue: 1}), unix.EOPNOTSUPP, fmt.Sprintf(
		"programs %d and %d cannot share the netdev by RX queue: the one has multi-buffer support, the other is an ordinary one", frags, pass))
	b.want("*=pass/native/module")
	b.must(b.set(change{prog: "drop", queue: 1}))
	disp := b.ns.XDP("veth0").DrvProgID
	for _, queue := range []uint32{1, 2, all} {
		b.refused(b.set(change{prog: "frags", queue: queue}), unix.EOPNOTSUPP, fmt.Sprintf(
			"programs %d and %d cannot share the netdev by RX queue: the one has multi-buffer support, the other is an ordinary one", frags, disp))
	}
	b.want("1=drop/native/module/dispatched/active *=pass/native/module/dispatched")
	b.must(b.del(all))
	b.must(b.del(1))
	b.must(b.set(change{prog: "frags", queue: 1}))
	b.want("1=frags/native/module/dispatched/active")
	b.must(b.del(1))
	if bound := b.progs["bound"]; bound != nil {
		b.refused(b.set(change{prog: "bound", queue: 1}), unix.EOPNOTSUPP, fmt.Sprintf(
			"program %d cannot be that of an RX queue: it is bound to a device", bound.ID))
		b.must(b.set(change{prog: "bound", queue: all}))
		b.refused(b.set(change{prog: "pass", queue: 1}), unix.EOPNOTSUPP, fmt.Sprintf(
			"programs %d and %d cannot share the netdev by RX queue: the one is an ordinary one, the other is bound to a device", pass, bound.ID))
		b.want("*=bound/native/module")
	} else if testutil.KernelAtLeast(6, 3) {
		t.Error("no program is bound to a device")
	}
}

// TestRequired attaches programs that need something.
func TestRequired(t *testing.T) {
	b := newBed(t)
	caps := family.Caps{}
	caps.XDPFeatures = family.XDPActBasic | family.XDPActRedirect
	caps.Actions = family.ActionPass | family.ActionDrop
	b.c.caps.ops.lookup = func(_ context.Context, k *family.CapsKey, v *family.Caps) error {
		*v = caps
		return nil
	}
	need := func(f family.XDPAct, a family.Action, m family.XDPRXMetadata, mode family.Mode) error {
		var v family.Prog
		v.SetFD(uint32(b.progs["pass"].FD))
		v.SetRequiredFeatures(f)
		v.SetRequiredActions(a)
		if m != 0 {
			v.SetRequiredRXMetadataFeatures(m)
		}
		if mode != 0 {
			v.SetMode(mode)
		}
		return b.c.Prog().Update(t.Context(), b.key(all), &v, 0)
	}
	b.refused(need(family.XDPActNDOXmit, family.ActionTX, family.XDPRXMetadataHash, family.ModeNative), unix.EOPNOTSUPP,
		"the netdev lacks in native mode: ndo-xmit, tx, hash")
	b.refused(need(family.XDPActNDOXmit, family.ActionTX, family.XDPRXMetadataHash, 0), unix.EOPNOTSUPP,
		"the netdev lacks in native mode: ndo-xmit, tx, hash")
	b.refused(need(family.XDPActNDOXmit, family.ActionTX, family.XDPRXMetadataHash, family.ModeGeneric), unix.EOPNOTSUPP,
		"the netdev lacks in generic mode: ndo-xmit, hash")
	b.must(need(family.XDPActRXSG, family.ActionTX, 0, 0))
	b.want("*=pass/generic/module/needs-tx")
	var v family.Prog
	b.must(b.c.Prog().Lookup(t.Context(), b.key(all), &v))
	if v.RequiredFeatures != family.XDPActRXSG || v.RequiredActions != family.ActionTX || v.Has(family.AttrProgRequiredRXMetadataFeatures) {
		t.Errorf("got %+v", v)
	}
	b.refused(need(family.XDPActNDOXmit, family.ActionTX, 0, 0), unix.EOPNOTSUPP, "the netdev lacks in generic mode: ndo-xmit")
	b.must(b.set(change{prog: "drop", queue: all}))
	b.must(b.c.Prog().Lookup(t.Context(), b.key(all), &v))
	if v.Has(family.AttrProgRequiredFeatures) || v.Has(family.AttrProgRequiredActions) {
		t.Errorf("got %+v", v)
	}
	b.must(b.del(all))
	caps.XDPRXMetadataFeatures = family.XDPRXMetadataHash
	b.must(need(family.XDPActBasic, 0, family.XDPRXMetadataHash, 0))
	b.want("*=pass/native/module/needs-0")
}

// TestFollow undoes a change when what goes with it cannot be.
func TestFollow(t *testing.T) {
	b := newBed(t)
	refusal := refuse(unix.EOPNOTSUPP, "", "the program has no BTF")
	var follows []string
	fail := false
	testMeterFollow = func(ifindex uint32) error {
		follows = append(follows, fmt.Sprint(ifindex == b.dev))
		if fail && len(follows) == 1 {
			return refusal
		}
		return nil
	}
	defer func() { testMeterFollow = nil }()
	try := func(want string, do func() error) {
		t.Helper()
		before := b.state()
		follows, fail = nil, true
		b.refused(do(), refusal.Errno, refusal.Message)
		if got := strings.Join(follows, " "); got != "true true" {
			t.Errorf("follows: %s", got)
		}
		b.want(before)
		follows, fail = nil, false
		b.must(do())
		if got := strings.Join(follows, " "); got != "true" {
			t.Errorf("follows: %s", got)
		}
		b.want(want)
	}
	set := func(prog string, queue uint32) func() error {
		return func() error { return b.set(change{prog: prog, queue: queue}) }
	}
	del := func(queue uint32) func() error { return func() error { return b.del(queue) } }
	const q, d = "/native/module/dispatched/active", "/native/module/dispatched"
	try("*=pass/native/module", set("pass", all))
	try("*=drop/native/module", set("drop", all))
	try("1=pass"+q+" *=drop"+d, set("pass", 1))
	try("1=drop"+q+" *=drop"+d, set("drop", 1))
	try("1=drop"+q+" 2=pass"+q+" *=drop"+d, set("pass", 2))
	try("1=drop"+q+" *=drop"+d, del(2))
	try("1=drop"+q, del(all))
	try("1=drop"+q+" *=pass"+d, set("pass", all))
	try("*=pass/native/module", del(1))
}
