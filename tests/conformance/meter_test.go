// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// metered is the counters that the meter keeps.
const metered uint64 = 1<<family.AttrStatsPackets | 1<<family.AttrStatsAborted | 1<<family.AttrStatsDrop |
	1<<family.AttrStatsInvalid | 1<<family.AttrStatsPass | 1<<family.AttrStatsRedirect | 1<<family.AttrStatsTX

// meter turns the meter of dev on or off. Prog is a program to be given, or "".
func meter(w *world, c family.Control, dev string, on bool, prog string) error {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupMeter)
	v.SetEnableMeter(0)
	if on {
		v.SetEnableMeter(1)
	}
	if prog != "" {
		v.SetFD(uint32(w.progs[prog].FD))
	}
	return c.Attr().Update(w.ctx, &family.AttrKey{Ifindex: uint32(w.ns.Index(dev))}, v, family.UpdateAny)
}

// meters checks at every door which counters of dev are metered, and whether the
// meter is on.
func (w *world) meters(dev string, want uint64, on uint32) {
	w.Helper()
	index := uint32(w.ns.Index(dev))
	for _, d := range w.ways {
		var v family.Stats
		if err := w.doors[d.name].Stats().Lookup(w.ctx, &family.StatsKey{Ifindex: index}, &v); err != nil {
			w.Fatal(err)
		}
		if v.Metered != want || v.Has(family.AttrStatsMetered) != (want != 0) {
			w.Errorf("%s at the %s door: metered %#x, want %#x", dev, d.name, v.Metered, want)
		}
		var a family.Attr
		if err := w.doors[d.name].Attr().Lookup(w.ctx, &family.AttrKey{Ifindex: index}, &a); err != nil {
			w.Fatal(err)
		}
		if a.EnableMeter != on || !a.Has(family.AttrAttrEnableMeter) {
			w.Errorf("%s at the %s door: enable-meter %d, want %d", dev, d.name, a.EnableMeter, on)
		}
		comparePinned(w, "stats", family.Entry[family.StatsKey, family.Stats]{Key: family.StatsKey{Ifindex: index}, Value: v})
		comparePinned(w, "attr", family.Entry[family.AttrKey, family.Attr]{Key: family.AttrKey{Ifindex: index}, Value: a})
	}
}

// allVerdicts is what the meter makes of what is sent, in the order of sent.
var allVerdicts = []string{"packets", "aborted", "drop", "invalid", "pass", "redirect", "tx"}

// TestMeter counts every verdict in native and in generic mode, from the moment
// it is turned on.
func TestMeter(t *testing.T) { eachBackend(t, testMeter) }

func testMeter(t *testing.T, b backend) {
	for name, mode := range map[string]family.Mode{"native": native, "generic": generic} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, b, func(w *world, c family.Control) {
				w.ns.AddVeth("port0", "port1", testutil.VethOptions{})
				w.loadVerdict("port0")
				for dev, prog := range map[string]string{"veth0": "pass", "port1": "pass"} {
					if err := add(prog, native)(w, c, dev); err != nil {
						t.Fatal(err)
					}
				}
				if err := add("verdict", mode)(w, c, "veth1"); err != nil {
					t.Fatal(err)
				}
				w.send("veth0", "veth1")
				w.meters("veth1", 0, 0)
				for range 2 { // the second changes nothing
					if err := meter(w, c, "veth1", true, ""); err != nil {
						t.Fatal(err)
					}
				}
				w.meters("veth1", metered, 1)
				w.send("veth0", "veth1")
				want := times(1, verdicts)
				want["exception-aborted"], want["exception-invalid"] = 2*want["exception-aborted"], 2*want["exception-invalid"]
				w.counted("veth1", want, allVerdicts...)
				w.compareAll()
				w.queueCounts("veth1", want)
				for range 2 {
					if err := meter(w, c, "veth1", false, ""); err != nil {
						t.Fatal(err)
					}
				}
				w.meters("veth1", 0, 0)
				if mode == native {
					w.counted("veth1", times(2, verdicts))
				}
			})
		})
	}
}

// queueCounts checks that the one queue of dev has the counters of the netdev.
func (w *world) queueCounts(dev string, want map[string]uint64) {
	w.Helper()
	for _, d := range w.ways {
		var v family.Qstats
		k := &family.QstatsKey{Ifindex: uint32(w.ns.Index(dev))}
		if err := w.doors[d.name].Qstats().Lookup(w.ctx, k, &v); err != nil {
			w.Fatal(err)
		}
		got := map[string]uint64{"packets": v.Packets, "aborted": v.Aborted, "drop": v.Drop,
			"invalid": v.Invalid, "pass": v.Pass, "redirect": v.Redirect, "tx": v.TX}
		expected := make(map[string]uint64)
		for name := range got {
			expected[name] = want[name]
		}
		if diff := gocmp.Diff(expected, got); diff != "" || v.Metered != metered {
			w.Errorf("queue 0 of %s at the %s door, metered %#x, -sent +counted:\n%s", dev, d.name, v.Metered, diff)
		}
		comparePinned(w, "qstats", family.Entry[family.QstatsKey, family.Qstats]{Key: *k, Value: v})
	}
}

// TestMeterVirtio does so on a virtio_net device, whose own counters say less.
func TestMeterVirtio(t *testing.T) { eachBackend(t, testMeterVirtio) }

func testMeterVirtio(t *testing.T, b backend) {
	w := newWorld(t, b)
	from, to := w.takeVirtio(), w.takeVirtio()
	w.loadVerdict("veth0")
	for dev, prog := range map[string]string{"veth1": "pass", to: "verdict"} {
		if err := add(prog, native)(w, w.other(), dev); err != nil {
			t.Fatal(err)
		}
	}
	if err := meter(w, w.other(), to, true, ""); err != nil {
		t.Fatal(err)
	}
	want := w.since(to, verdicts) // the meter's own begin with 0
	w.send(from, to)
	w.counted(to, want, allVerdicts...)
	w.compareAll()
	if err := meter(w, w.one(), to, false, ""); err != nil {
		t.Fatal(err)
	}
}

// TestMeterFollows keeps the meter on while programs come, are replaced under
// traffic, and go: not a verdict is missed.
func TestMeterFollows(t *testing.T) { eachBackend(t, testMeterFollows) }

func testMeterFollows(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		w.loadVerdict("lo")
		w.progs["one"] = w.progs["verdict"]
		w.loadVerdict("lo")
		if err := meter(w, c, "veth1", true, ""); err != nil {
			w.Fatal(err)
		}
		w.meters("veth1", metered, 1)
		if err := add("one", native)(w, c, "veth1"); err != nil {
			w.Fatal(err)
		}
		ctx, cancel := context.WithCancel(w.ctx)
		done := make(chan int, 1)
		go func() {
			n := 0
			for ; ctx.Err() == nil || n < 10; n++ {
				for _, prog := range []string{"verdict", "one"} {
					if err := replace(prog, native)(w, c, "veth1"); err != nil {
						w.Error(err)
					}
				}
			}
			done <- n
		}()
		s, err := traffic.NewSender(traffic.SenderOptions{NetNS: w.ns.Path(), Dev: "veth0"})
		if err != nil {
			w.Fatal(err)
		}
		defer s.Close()
		for range 20 {
			if err := s.SendAll(w.ctx, traffic.Counts{traffic.Drop: 100, traffic.Aborted: 7}); err != nil {
				w.Fatal(err)
			}
		}
		cancel()
		w.Logf("replaced %d times", 2*<-done)
		want := map[string]uint64{"packets": 2140, "drop": 2000, "aborted": 140, "exception-aborted": 140}
		w.counted("veth1", want, allVerdicts...)
		if err := c.Prog().Delete(w.ctx, progKey(w.ns.Index("veth1"))); err != nil {
			w.Fatal(err)
		}
		w.meters("veth1", metered, 1)
		w.counted("veth1", want, allVerdicts...)
	})
}

// TestMeterForeign meters programs that others have attached.
func TestMeterForeign(t *testing.T) { eachBackend(t, testMeterForeign) }

func testMeterForeign(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		w.loadVerdict("lo")
		w.progs["one"] = w.progs["verdict"]
		w.loadVerdict("lo")
		one, other := w.progs["one"], w.progs["verdict"]
		if err := w.ns.SetXDP("veth1", one.FD, unix.XDP_FLAGS_DRV_MODE); err != nil {
			w.Fatal(err)
		}
		w.refused(c, "no program", meter(w, c, "veth1", true, ""), unix.EINVAL,
			fmt.Sprintf("program %d was attached by somebody else: give its file descriptor as well (fd)", one.ID))
		w.refused(c, "another program", meter(w, c, "veth1", true, "verdict"), unix.EINVAL,
			fmt.Sprintf("program %d is given, but program %d is attached", other.ID, one.ID))
		w.meters("veth1", 0, 0)
		if err := meter(w, c, "veth1", true, "one"); err != nil {
			w.Fatal(err)
		}
		w.meters("veth1", metered, 1)
		w.send("veth0", "veth1")
		want := times(1, unsent)
		want["redirect"], want["tx"] = 41, 37 // verdicts all the same
		w.counted("veth1", want, allVerdicts...)
		// Behind our back: unknown from then on, and the driver's again.
		if err := w.ns.SetXDP("veth1", other.FD, unix.XDP_FLAGS_DRV_MODE); err != nil {
			w.Fatal(err)
		}
		w.meters("veth1", 0, 1)
		if err := meter(w, c, "veth1", true, "verdict"); err != nil {
			w.Fatal(err)
		}
		w.meters("veth1", metered, 1)
		w.send("veth0", "veth1")
		want = times(2, unsent)
		want["redirect"], want["tx"] = 82, 74
		w.counted("veth1", want, allVerdicts...)
	})
}

// refused checks an error: its errno, and its text where the door has one.
func (w *world) refused(c family.Control, what string, err error, errno unix.Errno, text string) {
	w.Helper()
	if !errors.Is(err, errno) || c.Name() == "netlink" && !strings.Contains(err.Error(), text) {
		w.Errorf("%s: got %v\nwant %v: %s", what, err, errno, text)
	}
}

// TestMeterRefused refuses what the meter cannot count, and changes nothing.
func TestMeterRefused(t *testing.T) { eachBackend(t, testMeterRefused) }

func testMeterRefused(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		w.loadVerdict("lo")
		if err := add("drop", native)(w, c, "veth1"); err != nil {
			w.Fatal(err)
		}
		none := fmt.Sprintf("the meter is for programs with BTF, and program %d has none", w.progs["drop"].ID)
		w.refused(c, "a program without BTF", meter(w, c, "veth1", true, ""), unix.EOPNOTSUPP, none)
		w.meters("veth1", 0, 0)
		if err := replace("verdict", native)(w, c, "veth1"); err != nil {
			w.Fatal(err)
		}
		if err := meter(w, c, "veth1", true, ""); err != nil {
			w.Fatal(err)
		}
		before := entries(w, c.Prog(), nil)
		w.refused(c, "one in its place", replace("drop", native)(w, c, "veth1"), unix.EOPNOTSUPP, none)
		if diff := gocmp.Diff(before, entries(w, c.Prog(), nil)); diff != "" {
			w.Errorf("-before +after:\n%s", diff)
		}
		w.meters("veth1", metered, 1)
		// The netdev goes with its meter on.
		w.ns.Del("veth1")
	})
}
