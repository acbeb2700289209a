// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// poke collects what is left over.
func (b *bed) poke(c *Control) {
	b.Helper()
	b.must(c.Collect(b.Context()))
}

// TestNetdevGone takes netdevs away that have programs.
func TestNetdevGone(t *testing.T) {
	b := newBed(t)
	b.must(b.set(change{prog: "pass", queue: all}))
	b.must(b.set(change{prog: "pass", queue: 2}))
	b.ns.Del("veth0")
	b.want2("")
	b.refused(b.c.Prog().Lookup(t.Context(), b.key(all), new(family.Prog)), unix.ENOENT, "no such netdev")
	b.poke(b.c)
	b.want("")

	dev, _ := b.ns.AddVeth("veth2", "veth3", testutil.VethOptions{})
	b.dev = uint32(dev)
	must(b.c.placeholder(t.Context(), b.dev, true))
	b.must(b.set(change{prog: "pass", queue: all}))
	b.ns.Del("veth2")
	b.poke(b.c)
	b.want("")
}

// TestNetdevMoves moves a netdev to another network namespace, where it loses its
// program at the next change, and to which no other netdev with its ifindex
// succeeds.
func TestNetdevMoves(t *testing.T) {
	b := newBed(t)
	other := testutil.NewNetNS(t)
	b.must(b.set(change{prog: "pass", queue: all}))
	b.must(b.ns.Move("veth0", other))
	b.want2("")
	if other.XDP("veth0").ProgID == 0 {
		t.Error("the kernel takes the program off: this test shows nothing")
	}
	b.poke(b.c)
	if id := other.XDP("veth0").ProgID; id != 0 {
		t.Errorf("veth0 still has program %d", id)
	}
	b.want("")
}

// TestNetNSGone ends a network namespace with programs in it.
func TestNetNSGone(t *testing.T) {
	b := newBed(t)
	gone := &bed{T: t, ns: testutil.NewNetNS(t), bpffs: b.bpffs, progs: b.progs}
	c, err := Open(Options{NetNS: gone.ns.FD(), BPFFS: b.bpffs})
	b.must(err)
	gone.c = c
	dev, _ := gone.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	gone.dev = uint32(dev)
	gone.must(gone.set(change{prog: "pass", queue: all}))
	gone.must(gone.set(change{prog: "pass", queue: 0}))
	b.must(b.set(change{prog: "pass", queue: all}))
	if n := len(b.pins(c.state.root)); n != 3 {
		t.Fatalf("bpffs has %v", b.pins(c.state.root))
	}
	b.must(c.Close())
	gone.ns.Close()
	testutil.Eventually(t, 20e9, "the namespace to go", func() bool {
		b.poke(b.c)
		return len(b.pins(c.state.root)) == 2
	})
	b.want("*=pass/native/module")
}

// TestProgNetNS attaches in the namespace of the Control, whatever that of the
// caller is, and sees nothing of others.
func TestProgNetNS(t *testing.T) {
	a, b := newBed(t), newBed(t)
	if a.dev != b.dev {
		t.Skip("ifindexes differ")
	}
	b.ns.Do(func() { a.must(a.set(change{prog: "pass", queue: all})) })
	a.want("*=pass/native/module")
	b.want("")
	if id := b.ns.XDP("veth0").ProgID; id != 0 {
		t.Errorf("program %d is on the other veth0", id)
	}
	a.ns.Do(func() { b.refused(b.del(all), unix.ENOENT, "no program is attached") })
}

// TestNotAdmin changes something without CAP_NET_ADMIN, be it the owner of all
// files.
func TestNotAdmin(t *testing.T) {
	b := newBed(t)
	b.must(b.set(change{prog: "pass", queue: all}))
	testutil.WithoutCaps(t, b.ns, []int{unix.CAP_NET_ADMIN}, func() {
		b.refused(b.set(change{prog: "drop", queue: all}), unix.EPERM, "")
		b.refused(b.set(change{prog: "drop", queue: 77}), unix.EPERM, "")
		b.refused(b.del(all), unix.EPERM, "")
		_, err := Clean(t.Context(), CleanOptions{Options{NetNS: b.ns.FD(), BPFFS: b.bpffs}, true})
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("clean: got %v", err)
		}
	})
	b.want("*=pass/native/module")
}

// TestNoBPFFS opens a Control where there is no bpffs.
func TestNoBPFFS(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(Options{BPFFS: dir})
	if err == nil || !strings.Contains(err.Error(), "mount -t bpf bpf "+dir) {
		t.Errorf("got %v", err)
	}
	if _, err = Open(Options{BPFFS: filepath.Join(dir, "nowhere")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestClean removes the state of one network namespace, and that of all.
func TestClean(t *testing.T) {
	fill := func(b *bed) {
		b.Helper()
		b.must(b.set(change{prog: "pass", queue: all}))
		b.must(b.set(change{prog: "pass", queue: 0}))
		must(b.c.placeholder(t.Context(), b.dev, true))
	}
	a := newBed(t)
	b := &bed{T: t, ns: testutil.NewNetNS(t), bpffs: a.bpffs, progs: a.progs}
	b.c = newControl(t, b.ns, a.bpffs)
	dev, _ := b.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	b.dev = uint32(dev)
	fill(a)
	fill(b)
	clean := func(all bool) []string {
		t.Helper()
		removed, err := Clean(t.Context(), CleanOptions{Options{NetNS: a.ns.FD(), BPFFS: a.bpffs}, all})
		a.must(err)
		return removed
	}
	kinds := func(removed []string) string {
		var out []string
		for _, path := range removed {
			if !strings.HasPrefix(path, rootName+"/") {
				t.Errorf("removed %s", path)
			}
			if _, err := os.Stat(filepath.Join(a.bpffs, path)); err == nil {
				t.Errorf("%s is still there", path)
			}
			name, _, _ := strings.Cut(filepath.Base(path), "-")
			out = append(out, name)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	const one = "books link netdev netns placeholder queues"
	if got := kinds(clean(false)); got != one {
		t.Errorf("removed %s", got)
	}
	if id := a.ns.XDP("veth0").ProgID; id != 0 {
		t.Errorf("program %d is on veth0", id)
	}
	a.want2("")
	b.want("0=pass/native/module/dispatched/active *=pass/native/module/dispatched")
	fill(a)
	if got := strings.Fields(kinds(clean(true))); len(got) != 2*6+2+len(tracePins()) {
		t.Errorf("removed %s", got)
	}
	a.want("")
	b.want("")
	if slices.Contains(a.pins(a.bpffs), rootName) {
		t.Errorf("bpffs has %v", a.pins(a.c.state.root))
	}
	if got := clean(true); got != nil {
		t.Errorf("removed %v of nothing", got)
	}
}

// TestLookupWaits looks at a netdev while a program is being attached to it, whose
// link might be anybody's.
func TestLookupWaits(t *testing.T) {
	b := newBed(t)
	other := newControl(t, b.ns, b.bpffs)
	var got family.Prog
	done := make(chan error, 1)
	onStep = func(what string) {
		if what != "create link" {
			return
		}
		go func() { done <- other.Prog().Lookup(t.Context(), b.key(all), &got) }()
		select {
		case err := <-done:
			t.Errorf("got %v, and owner %v", err, got.Owner)
			done <- err
		case <-time.After(100 * time.Millisecond):
		}
		// Who makes the change itself need not wait.
		var own family.Prog
		if err := b.c.progLookup(t.Context(), b.key(all), &own); err != nil || own.Owner != family.OwnerLink {
			t.Errorf("got %v, and owner %v", err, own.Owner)
		}
	}
	defer func() { onStep = nil }()
	b.must(b.set(change{prog: "pass", queue: all}))
	if err := <-done; err != nil || got.Owner != family.OwnerModule {
		t.Errorf("got %v, and owner %v", err, got.Owner)
	}
}

// TestTogether changes the same netdevs from several Controls, one of which cleans
// up all the time: each change is made whole, or refused.
func TestTogether(t *testing.T) {
	b := newBed(t)
	var wg sync.WaitGroup
	errs := make(chan error, 1000)
	for i := range 4 {
		c := newControl(t, b.ns, b.bpffs)
		prog := b.progs[[]string{"pass", "drop", "aborted"}[i%3]]
		wg.Go(func() {
			for n := range 30 {
				var v family.Prog
				v.SetFD(uint32(prog.FD))
				k := b.key([]uint32{all, 0, 1}[n%3])
				errs <- c.Prog().Update(t.Context(), k, &v, family.UpdateAny)
				if err := c.Prog().Lookup(t.Context(), k, &v); err != nil {
					errs <- err
				} else if v.Owner != family.OwnerModule {
					errs <- fmt.Errorf("owner %v", v.Owner)
				}
				if err := c.Prog().Delete(t.Context(), b.key([]uint32{all, 0, 1}[n%2])); !errors.Is(err, unix.ENOENT) {
					errs <- err
				}
			}
		})
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for range 30 {
			_, err := Clean(t.Context(), CleanOptions{Options{NetNS: b.ns.FD(), BPFFS: b.bpffs}, true})
			errs <- err
		}
	}()
	go func() { wg.Wait(); close(errs) }()
	for err := range errs {
		// What is read or deleted may have been deleted just now.
		if err != nil && !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
	}
	for _, q := range []uint32{0, 1, all} {
		if err := b.del(q); err != nil && !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
	}
	b.want("")
}

// TestLockHeld changes something while another process holds the lock: the wait
// ends with the context, and names what is waited for.
func TestLockHeld(t *testing.T) {
	b := newBed(t)
	unlock, err := b.c.state.lock(t.Context())
	b.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = b.c.Collect(ctx)
	var path *fs.PathError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &path) || path.Path != b.c.state.dir {
		t.Errorf("got %v, want the lock of %s and %v", err, b.c.state.dir, context.DeadlineExceeded)
	}
	b.must(unlock())
	b.must(b.c.Collect(t.Context()))
}
