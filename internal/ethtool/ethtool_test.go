// SPDX-License-Identifier: BSD-3-Clause

package ethtool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

// dialVeth returns a Conn in a network namespace of its own, with a veth of four
// queues in it.
func dialVeth(t *testing.T) (*Conn, *testutil.NetNS, uint32) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root, and so no network namespace can be made")
	}
	ns := testutil.NewNetNS(t)
	index, _ := ns.AddVeth("veth0", "veth1", testutil.VethOptions{Queues: 4})
	c, err := Dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, ns, uint32(index)
}

func TestChannels(t *testing.T) {
	c, ns, index := dialVeth(t)
	ctx := context.Background()
	got, err := c.ChannelsGet(ctx, index)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Channels{MaxRX: 4, MaxTX: 4, RX: 4, TX: 4}, got); diff != "" {
		t.Errorf("channels, -want +got:\n%s", diff)
	}
	if err := c.ChannelsSet(ctx, index, &Channels{RX: 2, TX: 3}); err != nil {
		t.Fatal(err)
	}
	if now := ns.GetChannels("veth0"); now.RX != 2 || now.TX != 3 {
		t.Errorf("channels are %+v by ioctl, want 2 RX, 3 TX", now)
	}
	if err := c.ChannelsSet(ctx, index, &Channels{RX: 2, TX: 3}); err != nil {
		t.Errorf("set them to what they are: %v", err)
	}
	err = c.ChannelsSet(ctx, index, &Channels{RX: 9, TX: 3})
	var refused *genl.Error
	if !errors.As(err, &refused) || refused.Errno != unix.EINVAL || refused.Attr != ".rx-count" {
		t.Errorf("nine RX channels: got %v, want EINVAL at .rx-count", err)
	}
	if _, err := c.ChannelsGet(ctx, uint32(ns.Index("lo"))); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("channels of loopback: got %v, want EOPNOTSUPP", err)
	}
	if _, err := c.ChannelsGet(ctx, 999); !errors.Is(err, unix.ENODEV) {
		t.Errorf("channels of no netdev: got %v, want ENODEV", err)
	}
}

// TestRings has netdevsim for rings where there is one; veth has none.
func TestRings(t *testing.T) {
	c, _, index := dialVeth(t)
	if _, err := c.RingsGet(context.Background(), index); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("rings of veth: got %v, want EOPNOTSUPP", err)
	}
	if err := c.RingsSet(context.Background(), index, &Rings{TX: 64}); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("set rings of veth: got %v, want EOPNOTSUPP", err)
	}
}

// TestRingsHost compares with the ioctl on the machine's own netdevs.
func TestRingsHost(t *testing.T) {
	c, err := Dial(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	asked := regexp.MustCompile(`(?s)Pre-set maximums:\nRX:\s*(\S+).*?TX:\s*(\S+).*Current hardware settings:\nRX:\s*(\S+).*?TX:\s*(\S+)`)
	for index := range uint32(8) {
		name, err := c.Name(index)
		if err != nil {
			continue
		}
		r, err := c.RingsGet(context.Background(), index)
		if errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ethtool", "-g", name).Output()
		if err != nil {
			t.Logf("ethtool -g %s: %v", name, err)
			continue
		}
		m := asked.FindSubmatch(out)
		if m == nil {
			t.Fatalf("ethtool -g %s says\n%s", name, out)
		}
		var want [4]uint32
		for i := range want {
			for _, d := range bytes.TrimRight(m[i+1], "n/a") {
				want[i] = want[i]*10 + uint32(d-'0')
			}
		}
		if got := [4]uint32{r.MaxRX, r.MaxTX, r.RX, r.TX}; got != want {
			t.Errorf("rings of %s are %v, ethtool -g says %v", name, got, want)
		}
	}
}

func TestFeatures(t *testing.T) {
	c, _, index := dialVeth(t)
	ctx := context.Background()
	for _, on := range []bool{true, false} {
		if err := c.FeaturesSet(ctx, index, map[string]bool{FeatureGRO: on}); err != nil {
			t.Fatal(err)
		}
		f, err := c.FeaturesGet(ctx, index)
		if err != nil {
			t.Fatal(err)
		}
		if f.Wanted[FeatureGRO] != on || f.Active[FeatureGRO] != on || !f.HW[FeatureGRO] {
			t.Errorf("GRO turned to %v: wanted %v, active %v, changeable %v", on, f.Wanted[FeatureGRO], f.Active[FeatureGRO], f.HW[FeatureGRO])
		}
		if !f.Fixed["netns-local"] && !f.Fixed["vlan-challenged"] && !f.Fixed["tx-lockless"] {
			t.Errorf("no feature is fixed: %v", f.Fixed)
		}
	}
	err := c.FeaturesSet(ctx, index, map[string]bool{"rx-nonsense": true})
	var refused *genl.Error
	if !errors.As(err, &refused) || refused.Message == "" {
		t.Errorf("feature that is none: got %v, want a refusal with a reason", err)
	}
	if _, err := c.FeaturesGet(ctx, 999); !errors.Is(err, unix.ENODEV) {
		t.Errorf("features of no netdev: got %v, want ENODEV", err)
	}
}

func TestDrvInfo(t *testing.T) {
	c, ns, index := dialVeth(t)
	info, err := c.DrvInfo(index)
	if err != nil {
		t.Fatal(err)
	}
	if info.Driver != "veth" {
		t.Errorf("driver is %q, want veth", info.Driver)
	}
	if _, err := c.DrvInfo(uint32(ns.Index("lo"))); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("driver of loopback: got %v, want EOPNOTSUPP", err)
	}
	if _, err := c.DrvInfo(999); !errors.Is(err, unix.ENODEV) {
		t.Errorf("driver of no netdev: got %v, want ENODEV", err)
	}
}

// TestCounters compares names and numbers with ethtool -S.
func TestCounters(t *testing.T) {
	c, ns, index := dialVeth(t)
	var want map[string]uint64
	ns.Do(func() {
		out, err := exec.Command("ethtool", "-S", "veth0").Output()
		if err != nil {
			t.Logf("not compared: ethtool -S: %v", err)
			return
		}
		want = parseEthtool(t, string(out))
	})
	got := counters(t, c, index)
	if got["peer_ifindex"] == 0 || len(got) < 10 {
		t.Errorf("counters are %v", got)
	}
	if want != nil {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("counters, -ethtool +got:\n%s", diff)
		}
	}
	// Fewer queues have fewer counters, and more of them more.
	ns.Channels("veth0", 1)
	fewer := counters(t, c, index)
	ns.Channels("veth0", 4)
	if len(fewer) >= len(got) || len(counters(t, c, index)) != len(got) {
		t.Errorf("%d counters with one queue, %d with four", len(fewer), len(got))
	}
	if v, err := c.Counters(uint32(ns.Index("lo")), nil); err != nil || len(v) != 0 {
		t.Errorf("loopback has %d counters (%v), want none", len(v), err)
	}
	if _, err := c.Counters(999, nil); !errors.Is(err, unix.ENODEV) {
		t.Errorf("counters of no netdev: got %v, want ENODEV", err)
	}
}

func counters(t *testing.T, c *Conn, index uint32) map[string]uint64 {
	t.Helper()
	strs, err := c.Strings(index)
	if err != nil {
		t.Fatal(err)
	}
	values, err := c.Counters(index, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.CounterCount(index); err != nil || n != len(values) || n*StringLen != len(strs) {
		t.Fatalf("%d counters (%v), %d numbers, %d bytes of names", n, err, len(values), len(strs))
	}
	m := make(map[string]uint64)
	for i, v := range values {
		m[unix.ByteSliceToString(strs[i*StringLen:(i+1)*StringLen])] = v
	}
	return m
}

func parseEthtool(t *testing.T, out string) map[string]uint64 {
	t.Helper()
	m := make(map[string]uint64)
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		var n uint64
		for _, d := range value {
			n = n*10 + uint64(d-'0')
		}
		m[name] = n
	}
	return m
}

// TestCountersChange reads while the number of counters changes: older kernels
// write as many as there are, which must not be more than there is room for.
func TestCountersChange(t *testing.T) {
	c, ns, index := dialVeth(t)
	stop, done := make(chan bool), make(chan error)
	go func() {
		other, err := Dial(ns.FD())
		if err != nil {
			done <- err
			return
		}
		defer other.Close()
		for n := uint32(1); ; n = n%4 + 1 {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := other.ChannelsSet(context.Background(), index, &Channels{RX: n, TX: n}); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 300 {
		strs, err := c.Strings(index)
		if err != nil || len(strs)%StringLen != 0 {
			t.Errorf("%d bytes of names: %v", len(strs), err)
		}
		if _, err := c.Counters(index, nil); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestName(t *testing.T) {
	c, _, index := dialVeth(t)
	if name, err := c.Name(index); err != nil || name != "veth0" {
		t.Errorf("name is %q (%v), want veth0", name, err)
	}
	if _, err := c.Name(999); !errors.Is(err, unix.ENODEV) {
		t.Errorf("name of no netdev: got %v, want ENODEV", err)
	}
}

func TestGuarded(t *testing.T) {
	var g guarded
	for _, n := range []int{1, 100, 4096, 5000, 100, 20000} {
		b, err := g.get(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != n || cap(b) != n {
			t.Errorf("%d bytes with room for %d, want %d", len(b), cap(b), n)
		}
		for i := range b {
			b[i] = 0xff
		}
		// What the kernel writes after the end is a fault, not somebody's memory.
		var fds [2]int
		if err := unix.Pipe(fds[:]); err != nil {
			t.Fatal(err)
		}
		unix.Write(fds[1], make([]byte, 2))
		_, _, errno := unix.Syscall(unix.SYS_READ, uintptr(fds[0]), uintptr(unsafe.Pointer(unsafe.SliceData(b)))+uintptr(n), 2)
		if errno != unix.EFAULT {
			t.Errorf("write after %d bytes: got %v, want EFAULT", n, errno)
		}
		unix.Close(fds[0])
		unix.Close(fds[1])
	}
	if err := g.free(); err != nil {
		t.Error(err)
	}
}

func TestBitset(t *testing.T) {
	var bits []byte
	bits = appendBitset(bits, map[string]bool{"a": true, "b": false})
	for _, tc := range []struct {
		name string
		b    []byte
		want map[string]bool
	}{
		{"mask", bits, map[string]bool{"a": true}},
		{"no mask", append(genl.AppendAttr(nil, unix.ETHTOOL_A_BITSET_NOMASK, nil), bits...), map[string]bool{"a": true, "b": true}},
		{"empty", nil, map[string]bool{}},
	} {
		got, err := parseBitset(tc.b)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", tc.name, diff)
		}
	}
	if _, err := parseBitset(bits[:len(bits)-3]); !errors.Is(err, genl.ErrMalformed) {
		t.Errorf("cut off: got %v, want ErrMalformed", err)
	}
}
