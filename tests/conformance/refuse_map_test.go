// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestMapCreateRefused creates maps that are no control maps.
func TestMapCreateRefused(t *testing.T) {
	r := newRaw(t)
	veth, dummy := uint32(r.ns.Index("veth0")), uint32(r.ns.Index("dummy0"))
	for _, tc := range []struct {
		name  string
		spoil func(a *testutil.MapAttr)
		errno unix.Errno
	}{
		{"unknown value size", func(a *testutil.MapAttr) { a.ValueSize = 7 }, unix.EINVAL},
		{"value one byte short", func(a *testutil.MapAttr) { a.ValueSize-- }, unix.EINVAL},
		{"value one byte long", func(a *testutil.MapAttr) { a.ValueSize++ }, unix.EINVAL},
		{"value size 0", func(a *testutil.MapAttr) { a.ValueSize = 0 }, unix.EINVAL},
		{"key of another type", func(a *testutil.MapAttr) { a.KeySize = 4 }, unix.EINVAL},
		{"key size 0", func(a *testutil.MapAttr) { a.KeySize = 0 }, unix.EINVAL},
		{"sizes swapped", func(a *testutil.MapAttr) { a.KeySize, a.ValueSize = a.ValueSize, a.KeySize }, unix.EINVAL},
		{"no entries", func(a *testutil.MapAttr) { a.MaxEntries = 0 }, unix.EINVAL},
		{"array", func(a *testutil.MapAttr) { a.Type, a.KeySize = unix.BPF_MAP_TYPE_ARRAY, 4 }, unix.EINVAL},
		{"array of this size", func(a *testutil.MapAttr) {
			a.Type, a.KeySize, a.ValueSize = unix.BPF_MAP_TYPE_ARRAY, 4, uint32(unsafe.Sizeof(family.Stats{}))
		}, unix.EINVAL},
		{"LRU hash", func(a *testutil.MapAttr) { a.Type = unix.BPF_MAP_TYPE_LRU_HASH }, unix.EINVAL},
		{"per-CPU hash", func(a *testutil.MapAttr) { a.Type = unix.BPF_MAP_TYPE_PERCPU_HASH }, unix.EINVAL},
		{"unknown map type", func(a *testutil.MapAttr) { a.Type = 999 }, unix.EINVAL},
		{"unknown flags", func(a *testutil.MapAttr) { a.Flags = 1 << 30 }, unix.EINVAL},
		{"zero seed", func(a *testutil.MapAttr) { a.Flags = unix.BPF_F_ZERO_SEED }, unix.EINVAL},
		{"no preallocation", func(a *testutil.MapAttr) { a.Flags = unix.BPF_F_NO_PREALLOC }, unix.EINVAL},
		{"read-only for programs", func(a *testutil.MapAttr) { a.Flags = unix.BPF_F_RDONLY_PROG }, unix.EINVAL},
		{"mappable", func(a *testutil.MapAttr) { a.Flags = unix.BPF_F_MMAPABLE }, unix.EINVAL},
		{"map_extra", func(a *testutil.MapAttr) { a.Extra = 1 }, unix.EINVAL},
		{"BTF key without value", func(a *testutil.MapAttr) { a.BTFKeyTypeID = 1 }, unix.EINVAL},
		{"BTF of userspace's", func(a *testutil.MapAttr) { a.BTFKeyTypeID, a.BTFValueTypeID, a.BTFFD = 1, 1, 9999 }, unix.EBADF},
		{"no such netdev", func(a *testutil.MapAttr) { a.Ifindex = 9999 }, unix.EINVAL},
		{"netdev with ndo_bpf", func(a *testutil.MapAttr) { a.Ifindex = veth }, unix.EINVAL},
		{"netdev without ndo_bpf", func(a *testutil.MapAttr) { a.Ifindex = dummy }, unix.EOPNOTSUPP},
		{"name with a slash", func(a *testutil.MapAttr) { copy(a.Name[:], "xdp/prog") }, unix.EINVAL},
	} {
		attr := testutil.ControlMapAttr("xdp_prog", r.ctl, int(unsafe.Sizeof(family.ProgKey{})), int(unsafe.Sizeof(family.Prog{})))
		tc.spoil(attr)
		r.unchanged(tc.name, func() {
			r.ns.Do(func() { r.wantMapError(tc.name, attr, tc.errno) })
		})
	}
}

// wantMapError creates a map, which must fail.
func (r *raw) wantMapError(what string, attr *testutil.MapAttr, errno unix.Errno) {
	r.Helper()
	fd, err := testutil.CreateMap(attr)
	if err == nil {
		unix.Close(fd)
	}
	if err != errno {
		r.Errorf("%s: got %v, want %v", what, err, errno)
	}
}

// TestMapCreateWhere creates maps from another namespace, and without
// CAP_SYS_ADMIN.
func TestMapCreateWhere(t *testing.T) {
	r := newRaw(t)
	attr := testutil.ControlMapAttr("xdp_stats", r.ctl, int(unsafe.Sizeof(family.StatsKey{})), int(unsafe.Sizeof(family.Stats{})))
	empty := testutil.NewNetNS(t)
	empty.Do(func() { r.wantMapError("in another namespace", attr, unix.EINVAL) })
	testutil.WithoutCaps(t, r.ns, []int{unix.CAP_SYS_ADMIN}, func() {
		r.wantMapError("without CAP_SYS_ADMIN", attr, unix.EPERM)
	})
	testutil.WithoutCaps(t, r.ns, testutil.AllCaps(), func() {
		r.wantMapError("without any capability", attr, unix.EPERM)
	})
}

// progAt is where the members of struct xdpctl_prog lie.
const (
	progFD       = 8
	progExpected = 12
	progMode     = 16
)

// TestMapUpdateRefused writes values that only the map door can be given.
func TestMapUpdateRefused(t *testing.T) {
	r := newRaw(t)
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	drop := uint32(r.world.progs["drop"].FD)
	u := update{uint32(r.ns.Index("dummy0")), queueAll, map[uint16]uint32{attrFD: drop}, 0}
	type spoil = func(value []byte)
	present := func(ids ...uint) spoil {
		return func(v []byte) {
			var bits uint64
			for _, id := range ids {
				bits |= 1 << id
			}
			binary.NativeEndian.PutUint64(v, bits)
		}
	}
	tests := []struct {
		name  string
		spoil spoil
		flags uint64
		errno unix.Errno
	}{
		{"flags above BPF_EXIST", present(attrFD), 3, unix.EINVAL},
		{"BPF_F_LOCK", present(attrFD), unix.BPF_F_LOCK, unix.EINVAL},
		{"nothing present, bad fd", func(v []byte) {
			present()(v)
			binary.NativeEndian.PutUint32(v[progFD:], 9999)
		}, 0, unix.EBADF},
		{"expected 0", func(v []byte) {
			present(attrFD, attrExpected)(v)
			binary.NativeEndian.PutUint32(v[progExpected:], 0)
		}, 0, unix.ERANGE},
		{"unknown mode", func(v []byte) {
			present(attrFD, attrMode)(v)
			binary.NativeEndian.PutUint32(v[progMode:], 8)
		}, 0, unix.EINVAL},
	}
	// All but fd, expected-prog-id and mode are unknown or cannot be set.
	for id := range uint(64) {
		if id != attrFD && id != attrExpected && id != attrMode {
			tests = append(tests, struct {
				name  string
				spoil spoil
				flags uint64
				errno unix.Errno
			}{"present bit", present(attrFD, id), 0, unix.EINVAL})
		}
	}
	for i, tc := range tests {
		value := u.value()
		tc.spoil(value)
		before := r.snapshot()
		if err := r.updateMap(u.key(), value, tc.flags); err != tc.errno {
			t.Errorf("%s (%d): got %v, want %v", tc.name, i, err, tc.errno)
		}
		if after := r.snapshot(); after != before {
			t.Fatalf("%s (%d): changed the state from\n%s to\n%s", tc.name, i, before, after)
		}
	}
	zero := update{0, queueAll, map[uint16]uint32{attrFD: drop}, 0}
	if err := r.updateMap(zero.key(), zero.value(), 0); !errors.Is(err, unix.ERANGE) {
		t.Errorf("ifindex 0: got %v, want %v, as over netlink", err, unix.ERANGE)
	}
}

// TestMapUpdateShort is what an update may leave out: with nothing present it
// means the fields that it needs.
func TestMapUpdateShort(t *testing.T) {
	r := newRaw(t)
	u := update{uint32(r.ns.Index("veth0")), queueAll, nil, 0}
	value := u.value()
	binary.NativeEndian.PutUint32(value[progFD:], uint32(r.world.progs["pass"].FD))
	if err := r.updateMap(u.key(), value, 0); err != nil {
		t.Fatal(err)
	}
	if got, want := r.state("veth0"), "native pass module link1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMapCommandsRefused uses commands and flags that control maps lack.
func TestMapCommandsRefused(t *testing.T) {
	r := newRaw(t)
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	dev := uint32(r.ns.Index("veth0"))
	key := (&update{ifindex: dev, queue: queueAll}).key()
	value := (&update{ifindex: dev, queue: queueAll, fields: map[uint16]uint32{attrFD: uint32(r.world.progs["drop"].FD)}}).value()
	stats := make([]byte, unsafe.Sizeof(family.Stats{}))
	for _, tc := range []struct {
		name  string
		do    func() error
		errno unix.Errno
	}{
		{"lookup and delete", func() error { return testutil.LookupAndDeleteElem(r.progs, key, value) }, errNotsupp},
		{"lookup batch", func() error { return testutil.Batch(unix.BPF_MAP_LOOKUP_BATCH, r.progs, key, value, 1) }, errNotsupp},
		{"lookup and delete batch", func() error {
			return testutil.Batch(unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH, r.progs, key, value, 1)
		}, errNotsupp},
		{"update batch", func() error { return testutil.Batch(unix.BPF_MAP_UPDATE_BATCH, r.progs, key, value, 1) }, errNotsupp},
		{"delete batch", func() error { return testutil.Batch(unix.BPF_MAP_DELETE_BATCH, r.progs, key, value, 1) }, errNotsupp},
		{"lookup with BPF_F_LOCK", func() error { return testutil.LookupElem(r.progs, key, value, unix.BPF_F_LOCK) }, unix.EINVAL},
		{"update stats", func() error { return testutil.UpdateElem(r.stats, key[:4], stats, 0) }, unix.EOPNOTSUPP},
		{"delete stats", func() error { return testutil.DeleteElem(r.stats, key[:4]) }, unix.EOPNOTSUPP},
		{"lookup of no netdev", func() error { return testutil.LookupElem(r.stats, make([]byte, 4), stats, 0) }, unix.ERANGE},
	} {
		r.unchanged(tc.name, func() {
			var err error
			r.ns.Do(func() { err = tc.do() })
			if err != tc.errno {
				t.Errorf("%s: got %v, want %v", tc.name, err, tc.errno)
			}
		})
	}
}

// TestMapCapability writes without CAP_NET_ADMIN to a map that was passed on,
// and reads from it.
func TestMapCapability(t *testing.T) {
	r := newRaw(t)
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	u := update{uint32(r.ns.Index("veth0")), queueAll, map[uint16]uint32{attrFD: uint32(r.world.progs["drop"].FD)}, 0}
	for _, caps := range [][]int{{unix.CAP_NET_ADMIN}, testutil.AllCaps()} {
		r.unchanged("without capabilities", func() {
			var onUpdate, onDelete, onLookup, onNext error
			testutil.WithoutCaps(t, r.ns, caps, func() {
				onUpdate = testutil.UpdateElem(r.progs, u.key(), u.value(), 0)
				onDelete = testutil.DeleteElem(r.progs, u.key())
				onLookup = testutil.LookupElem(r.progs, u.key(), u.value(), 0)
				onNext = testutil.NextKey(r.progs, nil, u.key())
			})
			if onUpdate != unix.EPERM || onDelete != unix.EPERM {
				t.Errorf("update: %v, delete: %v, want %v of both", onUpdate, onDelete, unix.EPERM)
			}
			if onLookup != nil || onNext != nil {
				t.Errorf("lookup: %v, next: %v", onLookup, onNext)
			}
		})
	}
}

// TestMapOtherNetNS writes to the map of one namespace in another, where the
// same ifindexes mean other netdevs.
func TestMapOtherNetNS(t *testing.T) {
	r, other := newRaw(t), newWorld(t, module)
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"veth0", "veth1"} {
		u := update{uint32(r.ns.Index(name)), queueAll, map[uint16]uint32{attrFD: uint32(r.world.progs["drop"].FD)}, 0}
		r.unchanged(name, func() {
			other.ns.Do(func() {
				if err := testutil.UpdateElem(r.progs, u.key(), u.value(), 0); err != unix.EXDEV {
					t.Errorf("update of %s: got %v, want %v", name, err, unix.EXDEV)
				}
				if err := testutil.DeleteElem(r.progs, u.key()); err != unix.EXDEV {
					t.Errorf("delete of %s: got %v, want %v", name, err, unix.EXDEV)
				}
			})
		})
	}
	if _, progs := other.compareAll(); len(progs) != 0 {
		t.Errorf("programs in the other namespace: %v", progs)
	}
	// Reading is about the map's namespace, wherever the reader is.
	u := update{ifindex: uint32(r.ns.Index("veth0")), queue: queueAll}
	other.ns.Do(func() {
		if err := testutil.LookupElem(r.progs, u.key(), u.value(), 0); err != nil {
			t.Errorf("lookup from another namespace: %v", err)
		}
	})
}

// TestMapFrozen freezes a map, which then only reads.
func TestMapFrozen(t *testing.T) {
	r := newRaw(t)
	u := update{uint32(r.ns.Index("veth0")), queueAll, map[uint16]uint32{attrFD: uint32(r.world.progs["drop"].FD)}, 0}
	if err := testutil.FreezeMap(r.progs); err != nil {
		t.Fatal(err)
	}
	r.unchanged("frozen", func() {
		if err := r.updateMap(u.key(), u.value(), 0); err != unix.EPERM {
			t.Errorf("update: got %v, want %v", err, unix.EPERM)
		}
	})
}

// TestMapWithoutDevice uses a map whose control device is gone.
func TestMapWithoutDevice(t *testing.T) {
	r := newRaw(t)
	u := update{uint32(r.ns.Index("veth0")), queueAll, map[uint16]uint32{attrFD: uint32(r.world.progs["drop"].FD)}, 0}
	r.ns.Del("xdpctl0")
	for name, err := range map[string]error{
		"lookup": testutil.LookupElem(r.progs, u.key(), u.value(), 0),
		"next":   testutil.NextKey(r.progs, nil, u.key()),
		"update": r.updateMap(u.key(), u.value(), 0),
		"delete": testutil.DeleteElem(r.progs, u.key()),
	} {
		if err != unix.ENODEV {
			t.Errorf("%s: got %v, want %v", name, err, unix.ENODEV)
		}
	}
	if got := r.ns.XDP("veth0"); got != (testutil.XDPState{}) {
		t.Errorf("veth0 has %+v", got)
	}
}

// TestControlDevice does to the control device what it must not bear.
func TestControlDevice(t *testing.T) {
	r := newRaw(t)
	other := testutil.NewNetNS(t)
	prog := r.world.progs["pass"]
	offload := testutil.XDPProgAttr("offload")
	offload.Ifindex = uint32(r.ctl)
	for _, tc := range []struct {
		name  string
		do    func() error
		errno unix.Errno
	}{
		{"ip link set xdp", func() error { return r.ns.SetXDP("xdpctl0", prog.FD, 0) }, unix.EOPNOTSUPP},
		{"ip link set xdpdrv", func() error { return r.ns.SetXDP("xdpctl0", prog.FD, unix.XDP_FLAGS_DRV_MODE) }, unix.EOPNOTSUPP},
		{"ip link set netns", func() error { return r.ns.Move("xdpctl0", other) }, unix.EINVAL},
		{"a second one", func() error { return r.ns.NewLink("xdpctl1", "xdpctl", nil) }, unix.EEXIST},
		{"prog load dev", func() (err error) {
			r.ns.Do(func() { err = loadAndClose(offload) })
			return err
		}, unix.EOPNOTSUPP},
	} {
		r.unchanged(tc.name, func() {
			if err := tc.do(); !errors.Is(err, tc.errno) {
				t.Errorf("%s: got %v, want %v", tc.name, err, tc.errno)
			}
		})
	}
	// A program that is bound to the device and runs on the host is no
	// offload. It must not keep the device from going, nor outlive it.
	offload.Flags = bpfFXDPDevBoundOnly
	r.ns.Do(func() {
		if fd, err := testutil.LoadProg(offload, testutil.Return(2)); err == nil {
			t.Cleanup(func() { unix.Close(fd) })
		}
	})
	r.ns.Del("xdpctl0")
	r.ns.AddControl("xdpctl0")
}

// bpfFXDPDevBoundOnly is for programs that use metadata of one netdev, since
// 6.3.
const bpfFXDPDevBoundOnly = 1 << 6

func loadAndClose(a testutil.ProgAttr) error {
	fd, err := testutil.LoadProg(a, testutil.Return(2))
	if err == nil {
		unix.Close(fd)
	}
	return err
}
