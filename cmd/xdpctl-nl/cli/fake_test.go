// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// fakeTable is a control type in memory.
type fakeTable[K comparable, V any] struct {
	entries map[K]V
	less    func(a, b K) bool
	match   func(filter, k K) bool
	update  func(k K, v V, how family.Update) error
	delete  func(k K) error
	err     error
}

func (t *fakeTable[K, V]) Lookup(_ context.Context, k *K, v *V) error {
	got, ok := t.entries[*k]
	switch {
	case t.err != nil:
		return t.err
	case !ok:
		return &family.Error{Op: "fake-get", Errno: unix.ENOENT}
	}
	*v = got
	return nil
}

func (t *fakeTable[K, V]) Update(_ context.Context, k *K, v *V, how family.Update) error {
	if t.update == nil {
		return errors.ErrUnsupported
	}
	return t.update(*k, *v, how)
}

func (t *fakeTable[K, V]) Delete(_ context.Context, k *K) error {
	if t.delete == nil {
		return errors.ErrUnsupported
	}
	return t.delete(*k)
}

func (t *fakeTable[K, V]) Cursor(_ context.Context, filter *K) family.Cursor[K, V] {
	c := &fakeCursor[K, V]{t: t, err: t.err}
	for k := range t.entries {
		if filter == nil || t.match(*filter, k) {
			c.keys = append(c.keys, k)
		}
	}
	sort.Slice(c.keys, func(i, j int) bool { return t.less(c.keys[i], c.keys[j]) })
	return c
}

type fakeCursor[K comparable, V any] struct {
	t    *fakeTable[K, V]
	keys []K
	err  error
}

func (c *fakeCursor[K, V]) Next(k *K, v *V) bool {
	if c.err != nil || len(c.keys) == 0 {
		return false
	}
	*k, c.keys = c.keys[0], c.keys[1:]
	*v = c.t.entries[*k]
	return true
}

func (c *fakeCursor[K, V]) Err() error   { return c.err }
func (c *fakeCursor[K, V]) Close() error { return nil }

// fakeControl is a door into nothing.
type fakeControl struct {
	stats  *fakeTable[family.StatsKey, family.Stats]
	qstats *fakeTable[family.QstatsKey, family.Qstats]
	prog   *fakeTable[family.ProgKey, family.Prog]
	caps   *fakeTable[family.CapsKey, family.Caps]
	attr   *fakeTable[family.AttrKey, family.Attr]
	port   *fakeTable[family.PortKey, family.Port]
	events []any // family.Event or error
	door   string
	closed bool
}

func (c *fakeControl) Stats() family.Table[family.StatsKey, family.Stats]    { return c.stats }
func (c *fakeControl) Qstats() family.Table[family.QstatsKey, family.Qstats] { return c.qstats }
func (c *fakeControl) Prog() family.Table[family.ProgKey, family.Prog]       { return c.prog }
func (c *fakeControl) Caps() family.Table[family.CapsKey, family.Caps]       { return c.caps }
func (c *fakeControl) Attr() family.Table[family.AttrKey, family.Attr]       { return c.attr }
func (c *fakeControl) Port() family.Table[family.PortKey, family.Port]       { return c.port }
func (c *fakeControl) Name() string                                          { return c.door }

func (c *fakeControl) Close() error {
	c.closed = true
	return nil
}

func (c *fakeControl) Types(context.Context) ([]family.Type, error) {
	var types []family.Type
	for i, d := range family.Descs() {
		var t family.Type
		t.SetID(d.Type)
		t.SetName(d.MapName)
		t.SetKeySize(uint32(d.KeySize))
		t.SetValueSize(uint32(d.ValueSize))
		t.SetOperations(d.Operations)
		if i == 0 {
			t.SetBTFID(90)
			t.SetBTFKeyTypeID(3)
			t.SetBTFValueTypeID(7)
		}
		types = append(types, t)
	}
	return types, nil
}

func (c *fakeControl) Subscribe(context.Context) (family.Subscription, error) {
	if c.door == "map" {
		return nil, errors.ErrUnsupported
	}
	return &fakeSubscription{c.events}, nil
}

type fakeSubscription struct{ events []any }

func (s *fakeSubscription) Recv(context.Context) (family.Event, error) {
	if len(s.events) == 0 {
		return family.Event{}, os.ErrClosed
	}
	ev := s.events[0]
	s.events = s.events[1:]
	if err, ok := ev.(error); ok {
		return family.Event{}, err
	}
	return ev.(family.Event), nil
}

func (s *fakeSubscription) Close() error { return nil }

// fakeNetdevs are three netdevs.
type fakeNetdevs struct{}

var fakeNames = map[uint32]string{1: "lo", 2: "veth0", 3: "veth1"}

func (fakeNetdevs) index(name string) (uint32, error) {
	for i, n := range fakeNames {
		if n == name {
			return i, nil
		}
	}
	return 0, os.ErrNotExist
}

func (fakeNetdevs) name(i uint32) (string, error) {
	if n, ok := fakeNames[i]; ok {
		return n, nil
	}
	return "", os.ErrNotExist
}

func (fakeNetdevs) names() ([]string, error) { return []string{"lo", "veth0", "veth1"}, nil }
func (fakeNetdevs) Close() error             { return nil }

// newFake is a door with some things behind it.
func newFake() *fakeControl {
	c := &fakeControl{
		stats: &fakeTable[family.StatsKey, family.Stats]{
			less:    func(a, b family.StatsKey) bool { return a.Ifindex < b.Ifindex },
			match:   func(f, k family.StatsKey) bool { return f.Ifindex == k.Ifindex },
			entries: map[family.StatsKey]family.Stats{},
		},
		qstats: &fakeTable[family.QstatsKey, family.Qstats]{
			less:    func(a, b family.QstatsKey) bool { return a.Queue < b.Queue },
			match:   func(f, k family.QstatsKey) bool { return f.Ifindex == k.Ifindex },
			entries: map[family.QstatsKey]family.Qstats{},
		},
		prog: &fakeTable[family.ProgKey, family.Prog]{
			less: func(a, b family.ProgKey) bool {
				return a.Ifindex < b.Ifindex || a.Ifindex == b.Ifindex && a.Queue < b.Queue
			},
			match:   func(f, k family.ProgKey) bool { return f.Ifindex == k.Ifindex },
			entries: map[family.ProgKey]family.Prog{},
		},
		caps: &fakeTable[family.CapsKey, family.Caps]{
			less:    func(a, b family.CapsKey) bool { return a.Ifindex < b.Ifindex },
			match:   func(f, k family.CapsKey) bool { return f.Ifindex == k.Ifindex },
			entries: map[family.CapsKey]family.Caps{},
		},
		attr: &fakeTable[family.AttrKey, family.Attr]{
			less:    func(a, b family.AttrKey) bool { return a.Ifindex < b.Ifindex },
			match:   func(f, k family.AttrKey) bool { return f.Ifindex == k.Ifindex },
			entries: map[family.AttrKey]family.Attr{},
		},
		port: &fakeTable[family.PortKey, family.Port]{
			less:    func(a, b family.PortKey) bool { return a.Port < b.Port },
			match:   func(f, k family.PortKey) bool { return f.Port == k.Port },
			entries: map[family.PortKey]family.Port{},
		},
	}
	c.fillStats()
	c.fillProg()
	c.fillCaps()
	c.fillAttr()
	c.attr.update = c.updateAttr
	c.attr.delete = c.deleteAttr
	c.port.update = c.updatePort
	c.port.delete = c.deletePort
	c.prog.update = c.updateProg
	c.prog.delete = c.deleteProg
	return c
}

func (c *fakeControl) fillStats() {
	var s family.Stats
	s.SetPackets(1200)
	s.SetBytes(72000)
	s.SetDrop(200)
	s.SetPass(900)
	s.SetTX(5)
	s.SetTXErrors(0)
	s.SetXmitPackets(7)
	s.SetExceptionAborted(1)
	c.stats.entries[family.StatsKey{Ifindex: 2}] = s
	c.stats.entries[family.StatsKey{Ifindex: 3}] = family.Stats{}
	for q := range uint32(2) {
		var v family.Qstats
		v.SetPackets(600 + uint64(q))
		if q == 1 {
			v.SetMetered(1<<family.AttrStatsPackets | 1<<family.AttrStatsPass)
		}
		c.qstats.entries[family.QstatsKey{Ifindex: 2, Queue: q}] = v
	}
}

func (c *fakeControl) fillProg() {
	var p family.Prog
	p.SetMode(family.ModeGeneric)
	p.SetProgID(17)
	p.SetLinkID(4)
	p.SetOwner(family.OwnerModule)
	p.SetTag(family.Bytes8{0x3b, 0x18, 0x51, 0x87, 0xf1, 0x85, 0x5c, 0x4c})
	p.SetName("xdp_pass")
	c.prog.entries[family.ProgKey{Ifindex: 2, Queue: family.QueueAll}] = p
	var n family.Prog
	n.SetMode(family.ModeNative)
	n.SetProgID(9)
	n.SetOwner(family.OwnerNetlink)
	c.prog.entries[family.ProgKey{Ifindex: 3, Queue: family.QueueAll}] = n
	var q family.Prog
	q.SetMode(family.ModeGeneric)
	q.SetProgID(21)
	q.SetOwner(family.OwnerModule)
	q.SetState(family.StateInactive)
	q.SetDispatcherProgID(30)
	q.SetRequiredFeatures(family.XDPActBasic)
	q.SetRequiredActions(family.ActionDrop | family.ActionTX)
	c.prog.entries[family.ProgKey{Ifindex: 2, Queue: 5}] = q
}

func (c *fakeControl) fillCaps() {
	var v family.Caps
	v.SetXDPFeatures(family.XDPActBasic | family.XDPActRedirect)
	v.SetXDPRXMetadataFeatures(family.XDPRXMetadataHash)
	v.SetSource(family.SourceKernel)
	v.SetRXQueues(1)
	v.SetTXQueues(1)
	v.SetMaxRXQueues(4)
	v.SetMaxTXQueues(4)
	v.SetDriver("veth")
	v.SetActions(family.ActionAborted | family.ActionDrop | family.ActionPass | family.ActionRedirect)
	c.caps.entries[family.CapsKey{Ifindex: 2}] = v
	var lo family.Caps
	lo.SetRXQueues(1)
	lo.SetSource(family.SourceDerived)
	c.caps.entries[family.CapsKey{Ifindex: 1}] = lo
}

func (c *fakeControl) fillAttr() {
	var v family.Attr
	v.SetRingsNum(2)
	v.SetRingsSize(256)
	v.SetPlaceholderProgID(12)
	v.SetEnableMD(1)
	v.SetMDUsers(1)
	v.SetMDBTFID(90)
	v.SetMDTypeID(44)
	v.SetMDFeatures(family.XDPRXMetadataHash | family.XDPRXMetadataVLANTag)
	v.SetEnableMeter(1)
	c.attr.entries[family.AttrKey{Ifindex: 2}] = v
	var off family.Attr
	off.SetRingsNum(0)
	off.SetEnableMD(0)
	off.SetEnableMeter(0)
	c.attr.entries[family.AttrKey{Ifindex: 3}] = off
	for port, ifindex := range map[uint32]uint32{0: 2, 7: 3} {
		c.port.entries[family.PortKey{Port: port}] = fakePort(ifindex)
	}
}

func fakePort(ifindex uint32) family.Port {
	var p family.Port
	p.SetIfindex(ifindex)
	p.SetDevmapID(60)
	p.SetIndexMapID(61)
	return p
}

// updateAttr keeps what an update sets, and refuses metadata on lo.
func (c *fakeControl) updateAttr(k family.AttrKey, v family.Attr, _ family.Update) error {
	n := c.attr.entries[k]
	switch {
	case v.Command == family.CommandSetupMD && k.Ifindex == 1:
		return &family.Error{Op: "attr-set", Errno: unix.EOPNOTSUPP, Message: "the driver has no RX metadata"}
	case v.Has(family.AttrAttrFD) && v.FD != 77:
		return &family.Error{Op: "attr-set", Errno: unix.EBADF, Message: "no such file descriptor"}
	case v.Command == family.CommandSetupRedirect:
		n.SetRingsNum(v.RingsNum)
		n.SetRingsSize(max(v.RingsSize, 256))
	case v.Command == family.CommandSetupMD:
		n.SetEnableMD(v.EnableMD)
	case v.Command == family.CommandSetupMeter:
		n.SetEnableMeter(v.EnableMeter)
	}
	c.attr.entries[k] = n
	return nil
}

func (c *fakeControl) deleteAttr(k family.AttrKey) error {
	if _, ok := c.attr.entries[k]; !ok {
		return &family.Error{Op: "attr-del", Errno: unix.ENOENT}
	}
	delete(c.attr.entries, k)
	return nil
}

func (c *fakeControl) updatePort(k family.PortKey, v family.Port, how family.Update) error {
	_, there := c.port.entries[k]
	switch {
	case there && how == family.UpdateNoexist:
		return &family.Error{Op: "port-set", Errno: unix.EEXIST, Message: "the port is bound"}
	case !there && how == family.UpdateExist:
		return &family.Error{Op: "port-set", Errno: unix.ENOENT, Message: "the port is free"}
	}
	c.port.entries[k] = fakePort(v.Ifindex)
	return nil
}

func (c *fakeControl) deletePort(k family.PortKey) error {
	if _, ok := c.port.entries[k]; !ok {
		return &family.Error{Op: "port-del", Errno: unix.ENOENT, Message: "the port is free"}
	}
	delete(c.port.entries, k)
	return nil
}

// updateProg refuses as the kernel does.
func (c *fakeControl) updateProg(k family.ProgKey, v family.Prog, how family.Update) error {
	refuse := func(errno unix.Errno, msg string) error {
		return &family.Error{Op: "prog-set", Errno: errno, Message: msg}
	}
	old, there := c.prog.entries[k]
	switch {
	case there && old.Owner != family.OwnerModule:
		return refuse(unix.EBUSY, "device is held by program 9, attached over netlink")
	case there && how == family.UpdateNoexist:
		return refuse(unix.EEXIST, "a program is attached already (id 17)")
	case !there && how == family.UpdateExist:
		return refuse(unix.ENOENT, "no program is attached")
	case v.Has(family.AttrProgExpectedProgID) && v.ExpectedProgID != old.ProgID:
		return refuse(unix.EEXIST, "active program 17 does not match expected 5")
	case v.RequiredRXMetadataFeatures != 0:
		return refuse(unix.EOPNOTSUPP, "the netdev lacks in native mode: "+v.RequiredRXMetadataFeatures.String())
	case v.FD != 77:
		return refuse(unix.EBADF, "no such file descriptor")
	}
	var n family.Prog
	if v.Has(family.AttrProgRequiredFeatures) {
		n.SetRequiredFeatures(v.RequiredFeatures)
	}
	if v.Has(family.AttrProgRequiredActions) {
		n.SetRequiredActions(v.RequiredActions)
	}
	n.SetProgID(18)
	n.SetOwner(family.OwnerModule)
	n.SetMode(family.ModeNative)
	if v.Has(family.AttrProgMode) {
		n.SetMode(v.Mode)
	}
	c.prog.entries[k] = n
	return nil
}

func (c *fakeControl) deleteProg(k family.ProgKey) error {
	if _, ok := c.prog.entries[k]; !ok {
		return &family.Error{Op: "prog-del", Errno: unix.ENOENT, Message: "no program is attached"}
	}
	delete(c.prog.entries, k)
	return nil
}

// fakeFamily is the family as the kernel would tell of it.
func fakeFamily(name string) *familyInfo {
	one, most, mask := uint64(1), uint64(1<<32-1), uint64(3)
	set := &genl.PolicySet{Index: 1, Attrs: []genl.AttrPolicy{
		{Attr: family.AttrProgIfindex, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: &one, MaxValue: &most}},
		{Attr: family.AttrProgMode, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_U32, Mask: &mask}},
	}}
	return &familyInfo{
		server: serverKernel,
		family: &genl.Family{
			ID: 0x21, Name: name, Version: 1,
			Ops: []genl.Op{
				{ID: uint32(family.CmdProgGet), Flags: genl.OpDo | genl.OpDump | genl.OpPolicies},
				{ID: uint32(family.CmdProgSet), Flags: genl.OpDo | genl.OpAdminInNets | genl.OpPolicies},
				{ID: 99},
			},
			Groups: []genl.Group{{ID: 8, Name: "mgmt"}},
		},
		policies: []genl.OpPolicy{
			{Op: uint32(family.CmdProgGet), Do: set, Dump: set},
			{Op: uint32(family.CmdProgSet), Do: set},
		},
	}
}

// result is what a run of the tool did.
type result struct {
	status         int
	stdout, stderr string
}

// runFake runs the tool on a fake machine.
func runFake(ctx context.Context, c *fakeControl, args ...string) result {
	var stdout, stderr bytes.Buffer
	a := newApp(&stdout, &stderr)
	a.getenv = func(string) string { return "" }
	a.openControl = func(a *app) (opened, error) {
		if c == nil {
			return opened{}, &hinted{errors.New("open: " + os.ErrNotExist.Error()), "Load it."}
		}
		c.door = a.via
		return opened{c, cmp.Or(a.server, serverKernel)}, nil
	}
	a.openNetdevs = func(*os.File) (netdevs, error) { return fakeNetdevs{}, nil }
	a.describe = func(_ context.Context, _ *app, name string) (*familyInfo, error) { return fakeFamily(name), nil }
	now := time.Date(2026, 11, 20, 18, 25, 0, 0, time.UTC)
	a.now = func() time.Time {
		now = now.Add(time.Second)
		return now
	}
	status := a.run(ctx, slices.Clone(args))
	return result{status, stdout.String(), stderr.String()}
}
