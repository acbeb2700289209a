// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// Ways that a request takes, which are languages of a Figure too. All have the
// same client.
const (
	wayKernel  = "kernel"
	wayInside  = "in-process"
	wayUnix    = "unix socket, one process"
	wayProcess = "unix socket, two processes"
)

// What is requested.
const (
	replyFamily = "nlctrl of itself" // the same request of the kernel
	replyNumber = "one number"       // of a family of the server
)

var ways = []string{wayKernel, wayInside, wayUnix, wayProcess}

// What the family has that the server has beside nlctrl.
const (
	echoCommand = 1
	echoValue   = 1
)

func newServer() (*genl.Server, error) {
	s := genl.NewServer(genl.ServerOptions{})
	err := s.Register(&genl.ServedFamily{Name: "bench", Version: 1, Ops: []genl.ServedOp{{
		Command: echoCommand,
		Policy:  &genl.PolicySet{Attrs: []genl.AttrPolicy{{Attr: echoValue, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_U32}}}},
		Do: genl.HandlerFunc(func(w *genl.ReplyWriter, r *genl.ServerRequest) error {
			v, _ := r.Uint32(echoValue)
			return w.Reply(genl.AppendUint32(w.Buffer(), echoValue, v))
		}),
	}}})
	return s, err
}

// serve is the other process: it serves until standard input ends.
func serve(path string) error {
	runtime.GOMAXPROCS(1)
	s, err := newServer()
	if err != nil {
		return err
	}
	l, err := genl.ListenUnix(path, genl.UnixOptions{})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeUnix(l) }()
	fmt.Println(path)
	io.Copy(io.Discard, os.Stdin)
	s.Close()
	if err := <-served; !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// startServer starts another process that serves at path.
func startServer(path string) (stop func() error, err error) {
	cmd := exec.Command("/proc/self/exe", "-serve", path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		stdin.Close()
		return cmd.Wait()
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("server: %w", err), stop())
	}
	return stop, nil
}

// transports measures a constant reply over each transport and of the kernel, by
// the clock: the instructions of both sides.
func (r *runner) transports() error {
	// What a goroutine waits for is not another thread's affair.
	runtime.UnlockOSThread()
	defer runtime.LockOSThread()
	for range rounds {
		if err := r.transportsOnce(); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) transportsOnce() (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := newServer()
	if err != nil {
		return err
	}
	defer s.Close()
	here := filepath.Join(dir, "here")
	l, err := genl.ListenUnix(here, genl.UnixOptions{})
	if err != nil {
		return err
	}
	go s.ServeUnix(l)
	there := filepath.Join(dir, "there")
	stop, err := startServer(there)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	dial := map[string]func() (genl.Transport, error){
		wayInside:  s.Dial,
		wayUnix:    func() (genl.Transport, error) { return genl.DialUnix(here) },
		wayProcess: func() (genl.Transport, error) { return genl.DialUnix(there) },
	}
	for _, way := range ways {
		if err := r.transport(way, dial[way]); err != nil {
			return fmt.Errorf("%s: %w", way, err)
		}
	}
	return nil
}

// transport measures one way, which is to the kernel without dial.
func (r *runner) transport(way string, dial func() (genl.Transport, error)) error {
	conn, err := genl.Dial(genl.Options{Transport: dial})
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := context.Background()
	ctrl, err := conn.Family(ctx, "nlctrl")
	if err != nil {
		return err
	}
	requests := map[string]genl.Request{replyFamily: {
		Op: "family nlctrl", Family: ctrl, Command: unix.CTRL_CMD_GETFAMILY, OneReply: true,
		Attrs: genl.AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, "nlctrl"),
	}}
	if dial != nil {
		fam, err := conn.Family(ctx, "bench")
		if err != nil {
			return err
		}
		requests[replyNumber] = genl.Request{
			Op: "bench", Family: fam, Command: echoCommand, OneReply: true,
			Attrs: genl.AppendUint32(nil, echoValue, 1),
		}
	}
	for name, req := range requests {
		f, err := measure(way, name, false, func() (int, error) {
			n := 0
			err := conn.Do(ctx, req, func(m genl.Message) error { n++; return nil })
			if err == nil && n != 1 {
				err = fmt.Errorf("%d replies", n)
			}
			return n, err
		})
		if err != nil {
			return err
		}
		r.report.addWorst(f)
	}
	return nil
}

// addWorst adds a figure, or makes the one of an earlier round that of the worse
// median: what two processes cost depends on how they fall in step, which is what
// counts.
func (r *Report) addWorst(f *Figure) {
	old := r.find(f.Name, f.Lang, 0)
	if old.Batches == 0 {
		r.Figures = append(r.Figures, f)
		return
	}
	old.Min, old.Median, old.Max = min(old.Min, f.Min), max(old.Median, f.Median), max(old.Max, f.Max)
	old.Batches += f.Batches
	old.Allocs = max(old.Allocs, f.Allocs)
}

// transportTargets holds the medians of servers against the smallest of the
// kernel.
func (r *Report) transportTargets() {
	kernel := r.find(replyFamily, wayKernel, 0).Min
	for _, name := range []string{replyFamily, replyNumber} {
		r.target("reply of "+name+", "+wayInside+", to the kernel's", r.median(name, wayInside), kernel)
		for _, way := range []string{wayUnix, wayProcess} {
			r.target("reply of "+name+", "+way+", to 3", r.median(name, way), 3*kernel)
		}
	}
}

// median is unknown where nothing was measured.
func (r *Report) median(name, way string) float64 {
	f := r.find(name, way, 0)
	if f.Batches == 0 {
		return f.Min
	}
	return f.Median
}

func (r *Report) printTransports(w io.Writer) {
	kernel := r.find(replyFamily, wayKernel, 0).Min
	row(w, "\n%-44s%9s%9s%9s%9s%8s", "a constant reply, all sides", "smallest", "median", "largest", "kernel's", "allocs")
	for _, name := range []string{replyFamily, replyNumber} {
		for _, way := range ways {
			f := r.find(name, way, 0)
			if f.Batches == 0 {
				continue
			}
			row(w, "%-44s%9s%9s%9s%9s%8s", name+", "+way, number(f.Min), number(f.Median), number(f.Max),
				strings.TrimSpace(fmt.Sprintf("%8.2f", f.Median/kernel)), number(f.Allocs))
		}
	}
	row(w, "median: the worst of %d rounds; kernel's: that to the smallest of the kernel", rounds)
}
