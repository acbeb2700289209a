// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// bed is a network namespace with a veth pair of four queues, veth0 and veth1,
// and three programs.
type bed struct {
	*testing.T
	ns    *testutil.NetNS
	bpffs string
	c     *Control
	dev   uint32
	progs map[string]*testutil.Prog
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{T: t, ns: testutil.NewNetNS(t), bpffs: newBPFFS(t), progs: make(map[string]*testutil.Prog)}
	b.c = newControl(t, b.ns, b.bpffs)
	dev, _ := b.ns.AddVeth("veth0", "veth1", testutil.VethOptions{Queues: 4})
	b.dev = uint32(dev)
	for name, action := range map[string]int32{"pass": 2, "drop": 1, "aborted": 0} {
		b.progs[name] = testutil.NewXDP(t, name, action)
	}
	return b
}

// key is the key of a queue of veth0.
func (b *bed) key(queue uint32) *family.ProgKey {
	return &family.ProgKey{Ifindex: b.dev, Queue: queue}
}

// change is an update.
type change struct {
	prog   string
	queue  uint32
	mode   family.Mode
	expect string
	how    family.Update
}

func (b *bed) set(ch change) error {
	var v family.Prog
	v.SetFD(uint32(b.progs[ch.prog].FD))
	if ch.mode != 0 {
		v.SetMode(ch.mode)
	}
	if ch.expect != "" {
		v.SetExpectedProgID(b.progs[ch.expect].ID)
	}
	return b.c.Prog().Update(b.Context(), b.key(ch.queue), &v, ch.how)
}

func (b *bed) del(queue uint32) error { return b.c.Prog().Delete(b.Context(), b.key(queue)) }

const all = family.QueueAll

// must fails the test at an error.
func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// refused fails the test unless err is a refusal.
func (b *bed) refused(err error, errno unix.Errno, text string) {
	b.Helper()
	var e *family.Error
	if !errors.As(err, &e) || e.Errno != errno || e.Message != text {
		b.Errorf("got %v, want %v: %s", err, errno, text)
	}
}

// state describes the programs of all netdevs, one a word, and fails the test if
// dump and lookup tell different things.
func (b *bed) state() string {
	b.Helper()
	snap := make(map[family.ProgKey]family.Prog)
	b.must(b.c.inNetNS(func() error {
		devs, err := b.c.netdevs()
		if err != nil {
			return err
		}
		return b.c.snapshotProgs(b.Context(), devs, snap)
	}))
	var words []string
	for e, err := range family.All(b.Context(), b.c.Prog(), nil) {
		b.must(err)
		if snap[e.Key] != e.Value {
			b.Errorf("the snapshot has %+v of %+v, the dump %+v", snap[e.Key], e.Key, e.Value)
		}
		delete(snap, e.Key)
		words = append(words, b.describe(&e.Key, &e.Value))
	}
	if len(snap) > 0 {
		b.Errorf("the snapshot has more: %+v", snap)
	}
	return strings.Join(words, " ")
}

// describe says what an entry is: its queue, program, mode and owner.
func (b *bed) describe(k *family.ProgKey, v *family.Prog) string {
	b.Helper()
	s := "*"
	if k.Queue != all {
		s = fmt.Sprint(k.Queue)
	}
	name := fmt.Sprintf("id%d", v.ProgID)
	for n, p := range b.progs {
		if p.ID == v.ProgID {
			name = n
			if v.Tag != family.Bytes8(p.Tag) || unix.ByteSliceToString(v.Name[:]) != n {
				b.Errorf("program %s has tag %x, name %s", n, v.Tag, v.Name)
			}
		}
	}
	if v.ProgID != 0 && v.Owner == family.OwnerRedirect {
		name = "placeholder"
	}
	s += fmt.Sprintf("=%s/%s/%s", name, v.Mode, v.Owner)
	if v.Has(family.AttrProgDispatcherProgID) {
		s += "/dispatched"
	}
	if v.Has(family.AttrProgState) {
		s += "/" + v.State.String()
	}
	if v.Has(family.AttrProgRequiredActions) {
		s += "/needs-" + v.RequiredActions.String()
	}
	if (v.Owner != family.OwnerNetlink) != (v.LinkID != 0) {
		b.Errorf("owner %s has link %d", v.Owner, v.LinkID)
	}
	return s
}

// want fails the test unless the programs are those.
func (b *bed) want(state string) {
	b.Helper()
	if got := b.state(); got != state {
		b.Fatalf("got %q, want %q", got, state)
	}
	b.wantTidy()
}

// wantTidy fails the test if there is more in bpffs than the state needs.
func (b *bed) wantTidy() {
	b.Helper()
	devs := must(b.c.state.devs())
	for _, dev := range devs {
		dir := b.c.state.dev(dev)
		names := b.pins(dir)
		if !slices.Contains(names, pinLink) && !slices.Contains(names, pinPlaceholder) {
			b.Errorf("netdev %d has no link, and %v", dev, names)
		}
		queues := 0
		for _, name := range names {
			if strings.HasPrefix(name, pinQueues) {
				queues++
			}
		}
		if slices.Contains(names, pinComing) || queues > 1 {
			b.Errorf("netdev %d has %v", dev, names)
		}
	}
	if b.state() == "" && len(devs) == 0 && len(b.pins(b.c.state.root)) > 1 {
		b.Errorf("there is no program, and in bpffs %v", b.pins(b.c.state.root))
	}
}

func (b *bed) pins(dir string) (names []string) {
	b.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		b.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestProg(t *testing.T) {
	b := newBed(t)
	b.want("")
	b.refused(b.del(all), unix.ENOENT, "no program is attached")
	b.refused(b.set(change{"pass", all, 0, "", family.UpdateExist}), unix.ENOENT, "no program is attached")
	b.must(b.set(change{"pass", all, 0, "", family.UpdateNoexist}))
	b.want("*=pass/native/module")
	id := b.progs["pass"].ID
	b.refused(b.set(change{"drop", all, 0, "", family.UpdateNoexist}), unix.EEXIST, fmt.Sprintf("program %d is attached already", id))
	b.refused(b.set(change{"drop", all, 0, "drop", 0}), unix.EEXIST,
		fmt.Sprintf("active program %d does not match expected %d", id, b.progs["drop"].ID))
	b.refused(b.set(change{"drop", all, family.ModeGeneric, "", 0}), unix.EINVAL,
		fmt.Sprintf("program %d is attached in native mode, which a replace cannot change: detach it first", id))
	b.must(b.set(change{"drop", all, 0, "pass", family.UpdateExist}))
	b.want("*=drop/native/module")
	b.must(b.set(change{"drop", all, 0, "", 0}))
	b.want("*=drop/native/module")
	if got := b.ns.XDP("veth0").DrvProgID; got != b.progs["drop"].ID {
		t.Errorf("rtnetlink says %d", got)
	}
	b.must(b.del(all))
	b.want("")
	b.must(b.set(change{"pass", all, family.ModeGeneric, "", 0}))
	b.want("*=pass/generic/module")
	b.must(b.del(all))
	b.want("")
}

// link opens our link on veth0.
func (b *bed) link(do func(fd int) error) {
	b.Helper()
	for e, err := range family.All(b.Context(), b.c.Prog(), b.key(all)) {
		b.must(err)
		fd, err := testutil.LinkByID(e.Value.LinkID)
		b.must(err)
		defer unix.Close(fd)
		b.must(do(fd))
		return
	}
	b.Fatal("there is no program")
}

func TestBehindOurBack(t *testing.T) {
	b := newBed(t)
	b.must(b.set(change{prog: "pass", queue: all}))
	b.link(testutil.DetachLink)
	b.want2("")
	b.refused(b.del(all), unix.ENOENT, "no program is attached")
	b.must(b.set(change{prog: "pass", queue: 2}))
	b.want("2=pass/native/module/dispatched/active")
	drop := b.progs["drop"]
	b.link(func(fd int) error { return testutil.UpdateLink(fd, drop.FD) })
	b.want2("*=drop/native/module")
	b.refused(b.set(change{prog: "pass", queue: 2}), unix.EBUSY,
		fmt.Sprintf("somebody else put program %d into the link: attach one to the whole netdev first", drop.ID))
	b.must(b.set(change{"aborted", all, 0, "drop", family.UpdateExist}))
	b.want("*=aborted/native/module")
	b.must(b.del(all))
	b.want("")
}

// want2 is want where the books are not right yet.
func (b *bed) want2(state string) {
	b.Helper()
	if got := b.state(); got != state {
		b.Fatalf("got %q, want %q", got, state)
	}
}

func TestQueues(t *testing.T) {
	b := newBed(t)
	const q0, q3 = "/native/module/dispatched/active", "/native/module/dispatched"
	b.must(b.set(change{prog: "pass", queue: 1}))
	b.want("1=pass" + q0)
	b.refused(b.set(change{"drop", 1, 0, "", family.UpdateNoexist}), unix.EEXIST, fmt.Sprintf("program %d is attached already", b.progs["pass"].ID))
	b.refused(b.set(change{"drop", 2, 0, "", family.UpdateExist}), unix.ENOENT, "the RX queue has no program of its own")
	b.refused(b.set(change{prog: "drop", queue: 4}), unix.EINVAL, "the netdev has 4 RX queues, from 0 to 3")
	b.refused(b.del(77), unix.ENOENT, "the RX queue has no program of its own")
	b.refused(b.del(all), unix.ENOENT, "no program is attached")
	b.must(b.set(change{prog: "drop", queue: all}))
	b.want("1=pass" + q0 + " *=drop" + q3)
	b.must(b.set(change{"aborted", 1, 0, "pass", family.UpdateExist}))
	b.must(b.set(change{prog: "pass", queue: 3}))
	b.must(b.set(change{prog: "pass", queue: all}))
	b.want("1=aborted" + q0 + " 3=pass" + q0 + " *=pass" + q3)
	b.must(b.del(all))
	b.want("1=aborted" + q0 + " 3=pass" + q0)
	b.must(b.set(change{"drop", all, 0, "", family.UpdateNoexist}))
	b.must(b.del(1))
	b.must(b.del(3))
	b.want("*=drop/native/module")
	b.must(b.set(change{prog: "aborted", queue: 0}))
	b.want("0=aborted" + q0 + " *=drop" + q3)
	b.must(b.del(all))
	b.must(b.del(0))
	b.want("")
}
