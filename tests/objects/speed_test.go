// SPDX-License-Identifier: BSD-3-Clause

package objects

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// speedRounds is how often each loader loads, one after the other, and mostRounds
// how often if the machine has other things to do.
const (
	speedRounds = 8
	mostRounds  = 24
)

// maxRatio is how much longer ours may take than another.
const maxRatio = 1.2

// rival is another that loads and attaches, and how ours does the same.
type rival struct {
	name         string
	theirs, ours []string // command lines
	undo, undone []string // what takes away what they, and ours, attached
	check        string   // what the netdev must say of ours
}

var rivals = []rival{
	{
		"xdp-loader",
		[]string{"xdp-loader", "load", "-m", "skb", "veth0", "OBJECT"},
		[]string{"xdpctl-nl", "prog", "attach", "dev", "veth0", "obj", "OBJECT", "prio", "50", "mode", "generic"},
		[]string{"xdp-loader", "unload", "-a", "veth0"},
		[]string{"xdp-loader", "unload", "-a", "veth0"},
		`name xdp_dispatcher`,
	},
	{
		"ip",
		[]string{"ip", "link", "set", "dev", "veth0", "xdpgeneric", "obj", "OBJECT", "sec", "xdp"},
		[]string{"xdpctl-nl", "prog", "attach", "dev", "veth0", "obj", "OBJECT", "mode", "generic"},
		[]string{"ip", "link", "set", "dev", "veth0", "xdpgeneric", "off"},
		[]string{"xdpctl-nl", "prog", "detach", "dev", "veth0"},
		`name pass`,
	},
}

// TestSpeed loads and attaches the same object with the tool, over the module, and
// with each of the others, by turns.
func TestSpeed(t *testing.T) {
	if err := testutil.LoadModule(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := testutil.UnloadModule(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	l := newLab(t)
	dir := inMemory(t)
	for _, r := range rivals {
		t.Run(r.name, func(t *testing.T) {
			var ours, theirs []time.Duration
			var our, their time.Duration
			var ratio float64
			for n := 0; n < speedRounds || n < mostRounds && ratio > maxRatio; n++ {
				theirs = append(theirs, l.timed(dir, r.theirs))
				l.timed(dir, r.undo)
				ours = append(ours, l.timed(dir, r.ours))
				if out := l.run("ip", "-d", "link", "show", "dev", "veth0"); !strings.Contains(out, r.check) {
					t.Fatalf("attached is %q, want %s", out, r.check)
				}
				l.timed(dir, r.undone)
				// The shortest is what the work takes, the rest is what else
				// the machine does.
				our, their = slices.Min(ours), slices.Min(theirs)
				ratio = float64(our) / float64(their)
			}
			t.Logf("xdpctl-nl %v, %s %v, ratio %.2f", our, r.name, their, ratio)
			if ratio > maxRatio {
				t.Errorf("ratio %.2f is more than %.1f", ratio, maxRatio)
			}
		})
	}
}

// inMemory returns a directory in memory with the object and the tools: the files of
// the host are slow to reach from the guest.
func inMemory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	files := map[string]string{"xdpctl-nl": testutil.Path(t, "build", "xdpctl-nl"), "OBJECT": theirObject(t)}
	for _, name := range []string{"xdp-loader", "ip"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = path
	}
	for name, from := range files {
		if out, err := exec.Command("cp", from, dir+"/"+name).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", from, err, out)
		}
	}
	return dir
}

// timed runs a command, whose file and object are in dir, and returns how long it took.
func (l *lab) timed(dir string, words []string) time.Duration {
	l.Helper()
	words = slices.Clone(words)
	for i, w := range words {
		if i == 0 || w == "OBJECT" {
			words[i] = dir + "/" + w
		}
	}
	var took time.Duration
	var out []byte
	var err error
	l.ns.Do(func() {
		c := exec.Command(words[0], words[1:]...)
		start := time.Now()
		out, err = c.CombinedOutput()
		took = time.Since(start)
	})
	if err != nil {
		l.Fatalf("%v: %v: %s", words, err, out)
	}
	return took
}
