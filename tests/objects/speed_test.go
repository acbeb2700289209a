// SPDX-License-Identifier: BSD-3-Clause

package objects

import (
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// speedRounds is how often each loader loads, one after the other.
const speedRounds = 12

// maxRatio is how much longer ours may take than another.
const maxRatio = 1.2

// TestSpeed loads and attaches the same object with the tool and with xdp-loader,
// by turns.
func TestSpeed(t *testing.T) {
	l := newLab(t)
	// Both from memory: the files of the host are slow to reach from the guest.
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	tool, other := dir+"/xdpctl-nl", dir+"/xdp-loader"
	their, err := exec.LookPath("xdp-loader")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{testutil.Path(t, "build", "xdpctl-nl"): tool, their: other} {
		if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", from, err, out)
		}
	}
	var ours, theirs []time.Duration
	timed := func(name string, args ...string) time.Duration {
		t.Helper()
		var took time.Duration
		var out []byte
		var err error
		l.ns.Do(func() {
			c := exec.Command(name, args...)
			start := time.Now()
			out, err = c.CombinedOutput()
			took = time.Since(start)
		})
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
		return took
	}
	for range speedRounds {
		theirs = append(theirs, timed(other, "load", "-m", "skb", "veth0", theirObject(t)))
		timed("xdp-loader", "unload", "-a", "veth0")
		ours = append(ours, timed(tool, "prog", "attach", "dev", "veth0", "obj", theirObject(t), "prio", "50", "mode", "generic"))
		out := l.status()
		if !regexp.MustCompile(`=>\s+50\s+pass`).MatchString(out) {
			t.Fatalf("xdp-loader says: %s", out)
		}
		timed("xdp-loader", "unload", "-a", "veth0")
	}
	// The shortest is what the work takes, the rest is what else the machine does.
	our, his := slices.Min(ours), slices.Min(theirs)
	ratio := float64(our) / float64(his)
	t.Logf("xdpctl-nl %v, xdp-loader %v, ratio %.2f", our, his, ratio)
	if ratio > maxRatio {
		t.Errorf("ratio %.2f is more than %.1f", ratio, maxRatio)
	}
}

// status is what xdp-loader says of the netdev, on the file system of the machine.
func (l *lab) status() string {
	l.Helper()
	var out []byte
	var err error
	l.ns.Do(func() { out, err = exec.Command("xdp-loader", "status", "veth0").CombinedOutput() })
	if err != nil {
		l.Fatalf("xdp-loader status: %v: %s", err, out)
	}
	return string(out)
}
