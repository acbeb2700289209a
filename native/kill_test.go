// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// doomedEnv has the job of a child process that is killed in the midst of it.
const doomedEnv = "XDPCTL_TEST_DOOMED"

// doomed is a job of such a child. File descriptor 3 is the network namespace;
// programs follow.
type doomed struct {
	BPFFS   string
	Ifindex uint32
	Steps   int  // after how many steps it kills itself; -1: never
	Forever bool // to do the jobs in turns, refused or not, until it is killed
	Jobs    []job
}

// job is what is done to a netdev.
type job struct {
	Do    string // set, del, placeholder on, placeholder off
	Prog  int    // index of the program
	Queue uint32
	Needs uint32 // family.Action
}

// programs that jobs name by their index
var doomedProgs = []string{"pass", "drop", "aborted"}

const (
	pass = iota
	drop
	aborted
)

func (j job) do(c *Control, ifindex uint32, fd int) error {
	ctx := context.Background()
	key := &family.ProgKey{Ifindex: ifindex, Queue: j.Queue}
	switch j.Do {
	case "set":
		var v family.Prog
		v.SetFD(uint32(fd))
		if j.Needs != 0 {
			v.SetRequiredActions(family.Action(j.Needs))
		}
		return c.Prog().Update(ctx, key, &v, family.UpdateAny)
	case "del":
		return c.Prog().Delete(ctx, key)
	default:
		_, err := c.placeholder(ctx, ifindex, j.Do == "placeholder on")
		return err
	}
}

// able says that a netdev can do whatever a program needs.
func able(c *Control) {
	c.caps.ops.lookup = func(_ context.Context, _ *family.CapsKey, v *family.Caps) error {
		v.XDPFeatures, v.Actions = allFeatures, allActions
		return nil
	}
}

// runDoomed is the child.
func runDoomed(spec string) error {
	var d doomed
	if err := json.Unmarshal([]byte(spec), &d); err != nil {
		return err
	}
	c, err := Open(Options{NetNS: 3, BPFFS: d.BPFFS})
	if err != nil {
		return err
	}
	able(c)
	n := 0
	onStep = func(string) {
		if n++; n == d.Steps {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {} // until it is dead
		}
	}
	for {
		for _, j := range d.Jobs {
			err := j.do(c, d.Ifindex, 4+j.Prog)
			var refusal *family.Error
			if err != nil && !(d.Forever && errors.As(err, &refusal)) {
				return err
			}
		}
		if !d.Forever {
			return nil
		}
	}
}

// doom starts a child, kills it after d if that is not 0, and reports whether it
// came to its end.
func (b *bed) doom(spec doomed, after time.Duration) (finished bool) {
	b.Helper()
	spec.BPFFS, spec.Ifindex = b.bpffs, b.dev
	env := must(json.Marshal(spec))
	cmd := exec.Command(must(os.Executable()))
	cmd.Env = append(os.Environ(), doomedEnv+"="+string(env))
	cmd.Stderr = os.Stderr
	ns := must(os.Open(b.ns.Path()))
	defer ns.Close()
	cmd.ExtraFiles = []*os.File{ns}
	for _, name := range doomedProgs {
		f := os.NewFile(uintptr(must(unix.FcntlInt(uintptr(b.progs[name].FD), unix.F_DUPFD_CLOEXEC, 0))), name)
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	b.must(cmd.Start())
	if after != 0 {
		time.Sleep(after)
		cmd.Process.Kill()
	}
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(interface{ Signaled() bool }); err != nil && !(ok && status.Signaled()) {
		b.Fatalf("child: %v", err)
	}
	return err == nil
}

// begin makes the netdev anew, and does jobs.
func (b *bed) begin(jobs []job) {
	b.Helper()
	must(Clean(b.Context(), CleanOptions{Options{NetNS: b.ns.FD(), BPFFS: b.bpffs}, false}))
	for _, j := range jobs {
		if j.Do == "detach" {
			b.link(testutil.DetachLink)
			continue
		}
		b.must(j.do(b.c, b.dev, b.progs[doomedProgs[j.Prog]].FD))
	}
}

// TestKill kills a process after each step of each change. What it leaves is the
// old state or the new one, and the next change tidies up.
func TestKill(t *testing.T) {
	set := func(prog int, queue uint32) job { return job{Do: "set", Prog: prog, Queue: queue} }
	del := func(queue uint32) job { return job{Do: "del", Queue: queue} }
	needs := func(j job) job { j.Needs = uint32(family.ActionPass); return j }
	on, off := job{Do: "placeholder on"}, job{Do: "placeholder off"}
	rounds := 0
	shared := newBed(t)
	able(shared.c)
	for _, tc := range []struct {
		name   string
		before []job
		do     job
	}{
		{"attach", nil, needs(set(pass, all))},
		{"attach again", []job{set(pass, all), {Do: "detach"}}, set(drop, all)},
		{"attach again after queues", []job{set(pass, 1), {Do: "detach"}}, set(drop, 2)},
		{"replace", []job{set(pass, all)}, needs(set(drop, all))},
		{"the same with needs", []job{set(pass, all)}, needs(set(pass, all))},
		{"detach", []job{set(pass, all)}, del(all)},
		{"first queue", nil, needs(set(pass, 1))},
		{"first queue beside", []job{set(drop, all)}, set(pass, 1)},
		{"first queue over placeholder", []job{on}, set(pass, 1)},
		{"another queue", []job{set(drop, all), set(pass, 1)}, needs(set(pass, 2))},
		{"replace on queue", []job{set(drop, all), set(pass, 1)}, needs(set(aborted, 1))},
		{"replace beside queue", []job{set(drop, all), set(pass, 1)}, needs(set(aborted, all))},
		{"add beside queue", []job{set(pass, 1)}, needs(set(aborted, all))},
		{"delete beside queue", []job{set(drop, all), set(pass, 1)}, del(all)},
		{"delete queue", []job{set(drop, all), set(pass, 1), set(pass, 2)}, del(2)},
		{"delete last queue beside", []job{set(drop, all), set(pass, 1)}, del(1)},
		{"delete last queue", []job{set(pass, 1)}, del(1)},
		{"delete last queue over placeholder", []job{on, set(pass, 1)}, del(1)},
		{"placeholder on", nil, on},
		{"placeholder on again", []job{on, {Do: "detach"}}, on},
		{"placeholder off", []job{on}, off},
		{"placeholder aside", []job{set(pass, all)}, on},
		{"placeholder not aside", []job{set(pass, all), on}, off},
		{"attach over placeholder", []job{on}, set(pass, all)},
		{"detach to placeholder", []job{on, set(pass, all)}, del(all)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := new(bed)
			*b = *shared
			b.T = t
			b.begin(tc.before)
			old := b.full()
			b.must(tc.do.do(b.c, b.dev, b.progs[doomedProgs[tc.do.Prog]].FD))
			next := b.full()
			if old == next {
				t.Fatalf("nothing changes: %s", old)
			}
			olds, steps := 0, 1
			for ; ; steps++ {
				b.begin(tc.before)
				finished := b.doom(doomed{Steps: steps, Jobs: []job{tc.do}}, 0)
				got := b.full()
				if got != old && got != next || finished && got != next {
					t.Fatalf("killed after step %d: got %q, want %q or %q", steps, got, old, next)
				}
				if got == old {
					olds++
				}
				b.poke(b.c)
				if tidied := b.full(); tidied != got {
					t.Errorf("killed after step %d: tidied up, %q became %q", steps, got, tidied)
				}
				b.wantTidy()
				rounds++
				if finished {
					break
				}
			}
			if steps < 2 {
				t.Errorf("there is no step in between")
			}
			t.Logf("%d steps, old after %d", steps-1, olds)
		})
	}
	t.Logf("%d rounds", rounds)
}

// TestKillTwo kills two processes that change the same netdev. What they leave is
// what can be asked for, and stays.
func TestKillTwo(t *testing.T) {
	b := newBed(t)
	able(b.c)
	jobs := []job{
		{Do: "set", Prog: pass, Queue: all},
		{Do: "set", Prog: drop, Queue: 2},
		{Do: "placeholder on"},
		{Do: "del", Queue: all},
		{Do: "del", Queue: 2},
		{Do: "placeholder off"},
	}
	seen := make(map[string]int)
	var life lifetime
	for life.next(30, len(seen)) {
		var wg sync.WaitGroup
		for i := range 2 {
			wait := life.wait()
			wg.Go(func() {
				b.doom(doomed{Steps: -1, Jobs: append(jobs[3*i:], jobs[:3*i]...), Forever: true}, wait)
			})
		}
		wg.Wait()
		got := b.full()
		life.saw(got)
		b.poke(b.c)
		if tidied := b.full(); tidied != got {
			t.Errorf("tidied up, %q became %q", got, tidied)
		}
		b.wantTidy()
		seen[got]++
		b.begin(nil)
	}
	if len(seen) < 3 {
		t.Errorf("saw %v", seen)
	}
	t.Log(fmt.Sprint(seen))
}

// lifetime is how long a process lives that is to be killed at its work.
type lifetime struct {
	rounds int
	begun  time.Duration // about when its work has, which depends on the machine
}

// next tells whether to go on, after n rounds only until three states were seen.
func (l *lifetime) next(n, seen int) bool {
	l.rounds++
	return l.rounds <= n || seen < 3 && l.rounds <= 10*n
}

func (l *lifetime) wait() time.Duration {
	l.begun = max(l.begun, 20*time.Millisecond)
	return l.begun + rand.N(15*time.Millisecond)
}

// saw lets the next live for longer if this one has got nothing done.
func (l *lifetime) saw(state string) {
	if state == "" {
		l.begun = min(l.begun+l.begun/8, time.Second)
	}
}

// full is state with whether a placeholder is kept, on the netdev or aside.
func (b *bed) full() string {
	s := b.state()
	b.must(b.c.inNetNS(func() error {
		_, a, err := b.c.attachmentOf(b.dev)
		defer a.close()
		if a != nil && a.spare != 0 {
			s += " spare"
		}
		if _, err := os.Stat(filepath.Join(b.c.state.dev(b.dev), pinPlaceholder)); err == nil && a == nil {
			s += " kept"
		}
		return err
	}))
	return s
}

// TestKillAnytime kills a process that changes programs all the time.
func TestKillAnytime(t *testing.T) {
	b := newBed(t)
	able(b.c)
	jobs := []job{
		{Do: "set", Prog: pass, Queue: all},
		{Do: "set", Prog: drop, Queue: all},
		{Do: "set", Prog: drop, Queue: 2},
		{Do: "set", Prog: pass, Queue: 2, Needs: uint32(family.ActionPass)},
		{Do: "set", Prog: drop, Queue: 0},
		{Do: "del", Queue: 2},
		{Do: "del", Queue: 0},
		{Do: "del", Queue: all},
	}
	var states []string
	for _, j := range jobs {
		b.must(j.do(b.c, b.dev, b.progs[doomedProgs[j.Prog]].FD))
		states = append(states, b.state())
	}
	seen := make(map[string]int)
	var life lifetime
	for life.next(60, len(seen)) {
		b.doom(doomed{Steps: -1, Jobs: jobs, Forever: true}, life.wait())
		got := b.state()
		life.saw(got)
		if !slices.Contains(append(states, ""), got) {
			t.Fatalf("got %q, which is none of %q", got, states)
		}
		seen[got]++
		b.poke(b.c)
		if tidied := b.state(); tidied != got {
			t.Fatalf("tidied up, %q became %q", got, tidied)
		}
		b.wantTidy()
		b.begin(nil)
	}
	if len(seen) < 3 {
		t.Errorf("saw %v", seen)
	}
	t.Log(fmt.Sprint(seen))
}
