// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/skel"
)

func TestCounts(t *testing.T) {
	for _, tt := range []struct {
		name          string
		a, b          Counts
		equal, exceed bool
		text          string
	}{
		{"empty", nil, Counts{Drop: 0}, true, false, "none"},
		{"same", Counts{Drop: 2, Pass: 3}, Counts{Pass: 3, Drop: 2}, true, false, "2 drop, 3 pass"},
		{"fewer", Counts{Drop: 1}, Counts{Drop: 2}, false, false, "1 drop"},
		{"more", Counts{Invalid: 1}, nil, false, true, "1 invalid"},
		{"other", Counts{7: 1}, Counts{7: 1}, true, false, "1 verdict 0x7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Equal(tt.b); got != tt.equal {
				t.Errorf("Equal: %v", got)
			}
			if got := tt.a.exceeds(tt.b); got != tt.exceed {
				t.Errorf("exceeds: %v", got)
			}
			if got := tt.a.String(); got != tt.text {
				t.Errorf("String: %q, want %q", got, tt.text)
			}
		})
	}
}

func TestUntil(t *testing.T) {
	calls := 0
	err := Until(t.Context(), "the third call", func() (bool, error) { calls++; return calls == 3, nil })
	if err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err = Until(ctx, "rain", func() (bool, error) { return false, nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait for rain") {
		t.Errorf("got %v", err)
	}
}

// run runs an external command of the test's set-up and returns its output.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// bed is two namespaces and two veth pairs between them. Frames from left's in
// reach right's in, where the verdicts are; redirected ones leave by right's
// out and reach left's out.
type bed struct{ left, right string }

func newBed(t *testing.T) bed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	pid := os.Getpid()
	b := bed{fmt.Sprintf("xdpctl-l%d", pid), fmt.Sprintf("xdpctl-r%d", pid)}
	for _, ns := range []string{b.left, b.right} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "ip", "netns", "del", ns) })
		run(t, "ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
	}
	for _, dev := range []string{"in", "out"} {
		run(t, "ip", "-n", b.left, "link", "add", dev, "type", "veth", "peer", "name", dev, "netns", b.right)
		for _, ns := range []string{b.left, b.right} {
			run(t, "ip", "-n", ns, "link", "set", dev, "arp", "off", "up")
		}
	}
	return b
}

func path(ns string) string { return "/run/netns/" + ns }

// attach attaches a program to dev of namespace ns.
func attach(t *testing.T, ns, dev string, p *skel.XDPProgram) {
	t.Helper()
	err := InNetNS(path(ns), func() error {
		index, err := ifindex(dev)
		if err != nil {
			return err
		}
		_, err = p.Attach(t.Context(), skel.XDPOptions{Ifindex: uint32(index), Mode: family.ModeNative})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ethtool returns the XDP counters of dev, without their queue.
func ethtool(t *testing.T, ns, dev string) map[string]uint64 {
	t.Helper()
	re := regexp.MustCompile(`(?m)^ *([rt]x)_queue_\d+_(\w+): (\d+)$`)
	sum := map[string]uint64{}
	for _, m := range re.FindAllStringSubmatch(run(t, "ip", "netns", "exec", ns, "ethtool", "-S", dev), -1) {
		n, err := strconv.ParseUint(m[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n != 0 {
			sum[m[1]+" "+m[2]] += n
		}
	}
	return sum
}

func newCounter(t *testing.T, ns, dev string) *Counter {
	t.Helper()
	c, err := NewCounter(CounterOptions{NetNS: path(ns), Dev: dev})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestVeth shows that all six verdicts succeed and where each frame is counted.
func TestVeth(t *testing.T) {
	b := newBed(t)
	pass, err := bpf.OpenAndLoadPass(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pass.Close() })
	attach(t, b.left, "in", &pass.Programs.Pass)
	attach(t, b.left, "out", &pass.Programs.Pass)
	verdict, err := bpf.OpenAndLoadVerdict(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { verdict.Close() })
	attach(t, b.right, "in", &verdict.Programs.Verdict)
	err = InNetNS(path(b.right), func() error {
		index, err := ifindex("out")
		if err != nil {
			return err
		}
		return verdict.Maps.VerdictPorts.Put(0, uint32(index))
	})
	if err != nil {
		t.Fatal(err)
	}

	s, err := NewSender(SenderOptions{NetNS: path(b.left), Dev: "in"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	passed, sentBack, redirected := newCounter(t, b.right, "in"), newCounter(t, b.left, "in"), newCounter(t, b.left, "out")

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	sent := Counts{Pass: 600, Drop: 500, Tx: 400, Redirect: 300, Aborted: 200, Invalid: 100}
	if err := s.SendAll(ctx, sent); err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		c *Counter
		v Verdict
	}{{passed, Pass}, {sentBack, Tx}, {redirected, Redirect}} {
		if err := w.c.Wait(ctx, Counts{w.v: sent[w.v]}); err != nil {
			t.Error(err)
		}
	}

	// A veth counts the bytes of an skb without its Ethernet header, those of
	// an xdp_frame with it.
	const skb, frame = defaultLen - headerLen, defaultLen
	want := map[string]map[string]uint64{
		b.right + " in":  {"rx xdp_packets": 2100, "rx xdp_bytes": 2100 * skb, "rx xdp_drops": 800, "rx xdp_tx": 400, "rx xdp_redirect": 300},
		b.right + " out": {"tx xdp_xmit": 300},
		b.left + " in":   {"rx xdp_packets": 400, "rx xdp_bytes": 400 * frame},
		b.left + " out":  {"rx xdp_packets": 300, "rx xdp_bytes": 300 * frame},
	}
	got := map[string]map[string]uint64{}
	for where := range want {
		ns, dev, _ := strings.Cut(where, " ")
		got[where] = ethtool(t, ns, dev)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ethtool -S (-want +got):\n%s", diff)
	}
}

// TestWaitSurplus shows that a frame too many is an error.
func TestWaitSurplus(t *testing.T) {
	b := newBed(t)
	c := newCounter(t, b.right, "in")
	s, err := NewSender(SenderOptions{NetNS: path(b.left), Dev: "in", Length: 100, Window: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.SendAll(ctx, Counts{Drop: 2, Pass: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx, Counts{Drop: 2, Pass: 1}); err != nil {
		t.Error(err)
	}
	if err := c.Wait(ctx, Counts{Drop: 1, Pass: 1}); err == nil || !strings.Contains(err.Error(), "more frames than were sent") {
		t.Errorf("surplus: %v", err)
	}
}
