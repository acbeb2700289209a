// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
)

// TestTraceRace turns the probes on and off from several sides at once.
func TestTraceRace(t *testing.T) {
	b := newStatsBed(t)
	var wg sync.WaitGroup
	for range 4 {
		c := newControl(t, b.ns, b.dir)
		wg.Go(func() {
			for range 3 {
				if err := c.change(t.Context(), c.traceOn); err != nil {
					t.Error(err)
				}
				if err := c.ExceptionsError(); err != nil {
					t.Error(err)
				}
				c.Stats().Lookup(t.Context(), &family.StatsKey{Ifindex: 1}, new(family.Stats))
			}
		})
	}
	wg.Wait()
	dir := b.c.state.traceDir()
	names := func() (out []string) {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			out = append(out, e.Name())
		}
		return out
	}
	want := slices.Sorted(slices.Values(append(tracePins(), pinTypes)))
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("pins, -want +got:\n%s", diff)
	}
	// A process that died before the commit point leaves what the next one
	// begins anew, wherever it died.
	for n := range tracePins() {
		for _, name := range tracePins()[:n+1] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		b.counted("lo", map[string]uint64{})
		b.trace()
		b.counted("lo", quiet)
		if diff := cmp.Diff(want, names()); diff != "" {
			t.Errorf("pins after a death, -want +got:\n%s", diff)
		}
	}
}

// TestTraceGone takes note of a netdev that is not there.
func TestTraceGone(t *testing.T) {
	b := newStatsBed(t)
	if err := b.c.change(t.Context(), func() error { return b.c.traceDev(999) }); err != nil {
		t.Error(err)
	}
}

// TestTraceVersion finds maps that another version has made.
func TestTraceVersion(t *testing.T) {
	b := newStatsBed(t)
	b.trace()
	path := filepath.Join(b.c.state.traceDir(), bpf.ExceptionLost)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
	err = b.c.Stats().Lookup(t.Context(), &family.StatsKey{Ifindex: 1}, new(family.Stats))
	if err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("got %v", err)
	}
}

// TestTraceNames prints the maps with bpftool.
func TestTraceNames(t *testing.T) {
	if _, err := exec.LookPath("bpftool"); err != nil {
		t.Skip("no bpftool")
	}
	b := newStatsBed(t)
	_, verdict := b.load("lo")
	b.trace("veth1")
	b.attach(verdict, link.XDPGenericMode, "veth1")
	b.send("veth0", "veth1")
	for name, want := range map[string][]string{
		bpf.ExceptionCounts:  {`"device"`, `"generic"`, `"aborted": 53`, `"invalid": 67`, `"redirect_errors"`, `"ifindex": ` + strconv.Itoa(b.ns.Index("veth1"))},
		bpf.ExceptionDevices: {`"device"`, `"address"`},
		bpf.ExceptionLost:    {`"exceptions": 0`},
		pinWitness:           {`"device"`, `"asleep"`, `"rx_queues": 1`},
	} {
		out, err := exec.Command("bpftool", "map", "dump", "pinned", filepath.Join(b.c.state.traceDir(), name)).CombinedOutput()
		if err != nil {
			t.Errorf("bpftool map dump %s: %v\n%s", name, err, out)
		}
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("bpftool map dump %s has no %s:\n%s", name, w, out)
			}
		}
	}
}

// traceOff stops counting exceptions, and forgets those that were counted. It
// leaves no trace.
func (s *state) traceOff() error {
	dir := s.traceDir()
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	unlock, err := s.lockTrace()
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(dir, pinTypes)), removeTrace(dir), unlock())
}
