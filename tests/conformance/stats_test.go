// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// loadVerdict loads the program that answers frames with the verdict they ask
// for, and lets it redirect to the netdev port.
func (w *world) loadVerdict(port string) {
	w.Helper()
	s, err := bpf.OpenAndLoadVerdict(nil)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	prog := s.Programs.Verdict.Prog
	info, err := prog.Info()
	if err != nil {
		w.Fatal(err)
	}
	id, _ := info.ID()
	p := &testutil.Prog{FD: prog.FD(), ID: uint32(id), Name: info.Name}
	fmt.Sscanf(info.Tag, "%x", &p.Tag)
	w.progs["verdict"] = p
	index := uint32(w.ns.Index(port))
	w.ns.Do(func() { err = s.Maps.VerdictPorts.Put(0, index) })
	if err != nil {
		w.Fatal(err)
	}
}

// sent is what each test sends.
var sent = traffic.Counts{
	traffic.Pass: 11, traffic.Drop: 23, traffic.Tx: 37, traffic.Redirect: 41,
	traffic.Aborted: 53, traffic.Invalid: 67,
}

// send sends all that is in sent from one netdev to another.
func (w *world) send(from, to string) {
	w.Helper()
	src, err := w.ns.Link(from)
	if err != nil {
		w.Fatal(err)
	}
	dst, err := w.ns.Link(to)
	if err != nil {
		w.Fatal(err)
	}
	s, err := traffic.NewSender(traffic.SenderOptions{
		NetNS: w.ns.Path(), Dev: from, Src: src.Address, Dst: dst.Address,
	})
	if err != nil {
		w.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := s.SendAll(ctx, sent); err != nil {
		w.Fatal(err)
	}
}

// counters is the counters of v that are present, by name.
func counters(v *family.Stats) map[string]uint64 {
	out := make(map[string]uint64)
	for _, c := range []struct {
		name  string
		attr  uint16
		value uint64
	}{
		{"packets", family.AttrStatsPackets, v.Packets},
		{"aborted", family.AttrStatsAborted, v.Aborted},
		{"drop", family.AttrStatsDrop, v.Drop},
		{"invalid", family.AttrStatsInvalid, v.Invalid},
		{"pass", family.AttrStatsPass, v.Pass},
		{"redirect", family.AttrStatsRedirect, v.Redirect},
		{"redirect-errors", family.AttrStatsRedirectErrors, v.RedirectErrors},
		{"tx", family.AttrStatsTX, v.TX},
		{"tx-errors", family.AttrStatsTXErrors, v.TXErrors},
		{"xmit-packets", family.AttrStatsXmitPackets, v.XmitPackets},
		{"xmit-errors", family.AttrStatsXmitErrors, v.XmitErrors},
		{"exception-aborted", family.AttrStatsExceptionAborted, v.ExceptionAborted},
		{"exception-tx", family.AttrStatsExceptionTX, v.ExceptionTX},
		{"exception-redirect", family.AttrStatsExceptionRedirect, v.ExceptionRedirect},
		{"exception-invalid", family.AttrStatsExceptionInvalid, v.ExceptionInvalid},
	} {
		if v.Has(c.attr) {
			out[c.name] = c.value
		}
	}
	return out
}

// counted waits until every counter that dev has at every door is as in want,
// and wants those in must to be there.
func (w *world) counted(dev string, want map[string]uint64, must ...string) {
	w.Helper()
	k := &family.StatsKey{Ifindex: uint32(w.ns.Index(dev))}
	for _, d := range w.ways {
		var diff string
		var v family.Stats
		ok := testutil.Wait(patience, func() bool {
			if err := w.doors[d.name].Stats().Lookup(w.ctx, k, &v); err != nil {
				w.Fatal(err)
			}
			got, expected := counters(&v), make(map[string]uint64)
			for name := range got {
				expected[name] = want[name]
			}
			for _, name := range must {
				if !slices.Contains(w.unknown(dev), name) {
					expected[name] = want[name]
				}
			}
			diff = gocmp.Diff(expected, got)
			return diff == ""
		})
		if !ok {
			w.Errorf("counters of %s at the %s door, -sent +counted:\n%s", dev, d.name, diff)
		}
		comparePinned(w, "stats", family.Entry[family.StatsKey, family.Stats]{Key: *k, Value: v})
	}
}

// unknown are counters that the backend need not know, by the table of deviations.
func (w *world) unknown(dev string) []string {
	switch {
	case w.backend == module:
		return nil
	case strings.HasPrefix(dev, "veth"):
		return []string{"packets", "pass"}
	default: // the virtio_net devices, which have counted before
		return []string{"redirect", "tx"}
	}
}

// verdicts is what sent must be counted as.
var verdicts = map[string]uint64{
	"packets": 232, "aborted": 53, "drop": 23, "invalid": 67, "pass": 11,
	"redirect": 41, "tx": 37, "exception-aborted": 53, "exception-invalid": 67,
}

// unsent is the same where XDP_TX and XDP_REDIRECT fail.
var unsent = map[string]uint64{
	"packets": 232, "aborted": 53, "drop": 23, "invalid": 67, "pass": 11,
	"redirect-errors": 41, "tx-errors": 37, "exception-aborted": 53, "exception-invalid": 67,
}

// since adds what the counters of dev are now to counts: a virtio_net device has
// been in other tests.
func (w *world) since(dev string, counts map[string]uint64) map[string]uint64 {
	w.Helper()
	var v family.Stats
	k := &family.StatsKey{Ifindex: uint32(w.ns.Index(dev))}
	if err := w.other().Stats().Lookup(w.ctx, k, &v); err != nil {
		w.Fatal(err)
	}
	out := counters(&v)
	for name, n := range counts {
		out[name] += n
	}
	return out
}

func times(n uint64, counts map[string]uint64) map[string]uint64 {
	out := make(map[string]uint64)
	for name, count := range counts {
		out[name] = n * count
	}
	return out
}

// TestStatsVeth sends frames of every verdict through a veth in native mode.
func TestStatsVeth(t *testing.T) { eachBackend(t, testStatsVeth) }

func testStatsVeth(t *testing.T, b backend) {
	w := newWorld(t, b)
	w.ns.AddVeth("port0", "port1", testutil.VethOptions{})
	w.loadVerdict("port0")
	// XDP_TX and redirection into a veth need a peer that polls.
	for dev, prog := range map[string]string{"veth0": "pass", "port1": "pass", "veth1": "verdict"} {
		if err := add(prog, native)(w, w.other(), dev); err != nil {
			t.Fatal(err)
		}
	}
	w.counted("veth1", nil, "packets", "exception-aborted")
	w.send("veth0", "veth1")
	w.counted("veth1", verdicts, "packets", "aborted", "drop", "invalid", "redirect", "tx",
		"exception-aborted", "exception-invalid", "exception-tx")
	w.counted("port0", map[string]uint64{"xmit-packets": 41}, "xmit-packets")
	w.counted("veth0", map[string]uint64{"packets": 37, "pass": 37, "xmit-packets": 0}, "packets")
	w.compareAll()

	// Twice the same counts twice, whoever attached the program.
	w.send("veth0", "veth1")
	w.counted("veth1", times(2, verdicts))
}

// TestStatsVirtio sends the same from one virtio_net device to the other.
func TestStatsVirtio(t *testing.T) { eachBackend(t, testStatsVirtio) }

func testStatsVirtio(t *testing.T, b backend) {
	w := newWorld(t, b)
	from, to := w.takeVirtio(), w.takeVirtio()
	// Not back out of a virtio_net device: it would come round again.
	w.loadVerdict("veth0")
	for dev, prog := range map[string]string{"veth1": "pass", to: "verdict"} {
		if err := add(prog, native)(w, w.other(), dev); err != nil {
			t.Fatal(err)
		}
	}
	want := w.since(to, verdicts)
	w.send(from, to)
	// What it calls drops is more than the verdict, so there is no drop.
	w.counted(to, want, "packets", "aborted", "invalid", "redirect", "tx",
		"exception-aborted", "exception-invalid", "exception-tx")
	w.counted("veth0", map[string]uint64{"xmit-packets": 41}, "xmit-packets")
	w.compareAll()
}

// TestStatsGeneric sends the same in generic mode, where the driver counts
// nothing: what it would say must not be taken for an answer.
func TestStatsGeneric(t *testing.T) { eachBackend(t, testStatsGeneric) }

func testStatsGeneric(t *testing.T, b backend) {
	w := newWorld(t, b)
	w.ns.AddVeth("port0", "port1", testutil.VethOptions{})
	w.loadVerdict("port0")
	if err := add("verdict", generic)(w, w.one(), "veth1"); err != nil {
		t.Fatal(err)
	}
	w.send("veth0", "veth1")
	w.counted("veth1", verdicts, "exception-aborted", "exception-invalid")
	w.compareAll()
}

// TestStatsErrors makes XDP_TX and XDP_REDIRECT fail.
func TestStatsErrors(t *testing.T) { eachBackend(t, testStatsErrors) }

func testStatsErrors(t *testing.T, b backend) {
	w := newWorld(t, b)
	w.loadVerdict("lo") // takes no redirected frames
	if err := add("verdict", native)(w, w.one(), "veth1"); err != nil {
		t.Fatal(err)
	}
	w.send("veth0", "veth1") // which does not poll, so that nothing can be sent back
	w.counted("veth1", unsent, "packets", "redirect-errors", "exception-aborted", "exception-invalid")
	w.compareAll()
}

// TestStatsReplace replaces and takes away the program between two times of
// traffic: the counters are the netdev's and go on.
func TestStatsReplace(t *testing.T) { eachBackend(t, testStatsReplace) }

func testStatsReplace(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		w.loadVerdict("lo")
		for _, do := range []op{add("pass", native), replace("verdict", native)} {
			if err := do(w, c, "veth1"); err != nil {
				w.Fatal(err)
			}
		}
		w.send("veth0", "veth1")
		w.counted("veth1", unsent, "packets", "aborted", "invalid", "exception-aborted", "exception-invalid")
		for _, do := range []op{replace("pass", native), replace("verdict", native)} {
			if err := do(w, c, "veth1"); err != nil {
				w.Fatal(err)
			}
			w.counted("veth1", unsent, "packets", "aborted", "invalid", "exception-aborted", "exception-invalid")
		}
		w.send("veth0", "veth1")
		w.counted("veth1", times(2, unsent), "packets", "aborted", "invalid", "exception-aborted", "exception-invalid")
	})
}

// TestStatsMove moves a netdev that has counted to another namespace.
func TestStatsMove(t *testing.T) { eachBackend(t, testStatsMove) }

func testStatsMove(t *testing.T, b backend) {
	w, there := newWorld(t, b), emptyWorld(t, b)
	w.loadVerdict("lo")
	if err := add("verdict", native)(w, w.one(), "veth1"); err != nil {
		t.Fatal(err)
	}
	w.send("veth0", "veth1")
	if err := w.ns.Move("veth1", there.ns); err != nil {
		t.Fatal(err)
	}
	there.counted("veth1", unsent, "exception-aborted", "exception-invalid")
}
