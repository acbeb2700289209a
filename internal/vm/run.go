// SPDX-License-Identifier: BSD-3-Clause

// Package vm runs a command in a virtual machine that has the host's root file
// system and another kernel, and checks that the kernel came out of it unharmed.
//
// A guest is booted by QEMU with an initramfs that holds the program using this
// package. As process 1 that program calls guest.Main, which mounts the host's
// root over 9p, runs the command and reports. So there is one program on both
// sides and nothing to install in the guest.
package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of a run.
type Options struct {
	// Kernel to boot.
	Kernel *Kernel
	// CPUs of the guest. The debug kernel and ICount want one.
	CPUs int
	// Memory in MiB.
	Memory int
	// ICount makes one guest nanosecond one guest instruction.
	ICount bool
	// KVM instead of emulation. Never chosen by itself: nested KVM can be
	// there, writable, and hang.
	KVM bool
	// NICs is the number of virtio-net devices. The first two see each other,
	// the next two do, and so on.
	NICs int
	// Module to load before the command. Empty: none.
	Module string
	// Dir is the working directory of the command.
	Dir string
	// Args is the command with its arguments.
	Args []string
	// Env is the command's environment.
	Env []string
	// LeakCheck fails the run for BPF objects that outlive the command.
	LeakCheck bool
	// Timeout of the whole run, boot included.
	Timeout time.Duration
	// Output gets stdout and stderr of the command.
	Output io.Writer
	// Console gets the guest's console, too. Nil: nobody.
	Console io.Writer
}

// Error is a run that brought no result: the guest died, hung or never came up.
type Error struct {
	Err error
	// Console is the end of what the guest said.
	Console []byte
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// dumpTime is what a guest gets to tell where it hangs.
const dumpTime = 10 * time.Second

// endTime is what a guest gets to end by itself after its result has arrived.
const endTime = 5 * time.Second

// Run runs a command in a guest and returns what became of it.
//
// A guest without a result is an *Error, which matches
// context.DeadlineExceeded if the time was up.
func Run(ctx context.Context, o *Options) (*Result, error) {
	r := &run{o: o, console: tail{limit: 256 << 10}, last: make(chan *Message, 1)}
	res, err := r.run(ctx)
	if err != nil {
		return nil, &Error{Err: err, Console: r.console.lines(120)}
	}
	return res, nil
}

// run is one guest.
type run struct {
	o       *Options
	console tail
	control *os.File
	output  *os.File

	started  atomic.Bool
	received chan struct{} // closed when no message can come any more
	last     chan *Message // the one that ends the run
}

func (r *run) run(ctx context.Context) (*Result, error) {
	// A process gets its death signal when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	initrd, err := r.initramfs()
	if err != nil {
		return nil, err
	}
	defer initrd.Close()

	cmd := exec.Command("qemu-system-x86_64", qemuArgs(r.o, r.o.Kernel)...)
	cmd.Stderr = &r.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.ExtraFiles = []*os.File{initrd}
	var ours [3]*os.File
	for i := range ours {
		var theirs *os.File
		if ours[i], theirs, err = socketPair(); err != nil {
			return nil, err
		}
		defer ours[i].Close()
		defer theirs.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	r.output, r.control = ours[1], ours[2]
	r.received = make(chan struct{})

	var readers sync.WaitGroup
	readers.Go(func() { r.readConsole(ours[0]) })
	count := &counter{w: r.o.Output}
	readers.Go(func() { io.Copy(count, r.output) })
	readers.Go(func() { r.readControl(); close(r.received) })

	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	res, err := r.wait(ctx, exited, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	readers.Wait()
	if err == nil && count.n != res.Output {
		err = fmt.Errorf("output was lost: %d of %d bytes arrived", count.n, res.Output)
	}
	return res, err
}

// wait waits for the result and for the end of QEMU, whichever way it comes.
func (r *run) wait(ctx context.Context, exited <-chan error, kill func()) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	select {
	case m := <-r.last:
		r.order(OrderEnd)
		select {
		case <-exited:
		case <-time.After(endTime):
			kill()
			<-exited
		}
		return m.result()
	case err := <-exited:
		// The result may be there nevertheless.
		<-r.received
		select {
		case m := <-r.last:
			return m.result()
		default:
			return nil, r.death(err)
		}
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.order(OrderDump)
			select {
			case <-exited:
			case <-r.last:
			case <-time.After(dumpTime):
			}
		}
		kill()
		if ctx.Err() == context.Canceled {
			return nil, fmt.Errorf("guest killed: %w", ctx.Err())
		}
		return nil, fmt.Errorf("guest killed after %v: %w", r.o.Timeout, ctx.Err())
	}
}

// result returns the result that a last message brings.
func (m *Message) result() (*Result, error) {
	if m.Error != "" {
		return nil, fmt.Errorf("guest failed: %s", m.Error)
	}
	return m.Result, nil
}

// death says what a guest died of that left no result.
func (r *run) death(err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("QEMU failed: %w", err)
	case r.started.Load():
		return errors.New("guest died while the command ran")
	default:
		return errors.New("guest died before the command ran")
	}
}

func (r *run) initramfs() (*os.File, error) {
	f, err := os.CreateTemp("", "vmrun-initramfs-")
	if err != nil {
		return nil, fmt.Errorf("create initramfs: %w", err)
	}
	os.Remove(f.Name())
	job := &Job{
		Args:       r.o.Args,
		Env:        r.o.Env,
		Dir:        r.o.Dir,
		ModuleTree: r.o.Kernel.ModuleTree,
		Insmod:     r.o.Module,
		Binds:      binds(r.o),
		LeakCheck:  r.o.LeakCheck,
		Restart:    r.o.Kernel.Debug,
	}
	if err := writeInitramfs(f, r.o.Kernel, job); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (r *run) readConsole(f *os.File) {
	w := io.Writer(&r.console)
	if r.o.Console != nil {
		w = io.MultiWriter(w, r.o.Console)
	}
	io.Copy(w, f)
}

func (r *run) readControl() {
	scanner := bufio.NewScanner(r.control)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		m := &Message{}
		if err := json.Unmarshal(scanner.Bytes(), m); err != nil {
			m.Error = fmt.Sprintf("unknown message %q", scanner.Bytes())
		}
		if m.Started {
			r.started.Store(true)
			continue
		}
		select {
		case r.last <- m:
		default:
		}
	}
}

func (r *run) order(o Order) {
	r.control.SetWriteDeadline(time.Now().Add(time.Second))
	io.WriteString(r.control, string(o)+"\n")
}

// counter counts what goes to w, and goes on counting when w fails: a guest
// must not stand still because nobody reads.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	c.w.Write(b)
	return len(b), nil
}

func socketPair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create socket pair: %w", err)
	}
	// Only our end may be non-blocking in the eyes of the Go runtime.
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("create socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "vmrun"), os.NewFile(uintptr(fds[1]), "qemu"), nil
}

// Covered are the directories that the guest covers with a tmpfs, so that a
// command leaves nothing behind on the host.
var Covered = []string{"/tmp", "/run"}

// binds returns what of the covered directories the command needs: the Go module
// that it runs in, where it lies, where it runs, and what its arguments name, as
// the test log of go test.
func binds(o *Options) []string {
	paths := []string{moduleRoot(o.Dir), o.Dir, o.Module, o.Kernel.ModuleTree}
	for _, arg := range o.Args {
		if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
			arg = value
		}
		paths = append(paths, arg)
	}
	for _, kv := range o.Env {
		_, value, _ := strings.Cut(kv, "=")
		paths = append(paths, value)
	}
	var list []string
	seen := make(map[string]bool)
	for _, p := range paths {
		if p = bind(p); p != "" && !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	return list
}

// moduleRoot returns the root of the Go module that dir lies in, or nothing.
func moduleRoot(dir string) string {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	return ""
}

// bind returns what must stay visible for path to be usable in the guest: the
// directory that it is or lies in, itself if that is a covered one, or nothing.
func bind(path string) string {
	path = filepath.Clean(path)
	for _, dir := range Covered {
		if !strings.HasPrefix(path, dir+"/") {
			continue
		}
		fi, err := os.Stat(path)
		if err == nil && fi.IsDir() {
			return path
		}
		parent := filepath.Dir(path)
		if parent != dir {
			if _, perr := os.Stat(parent); perr == nil {
				return parent
			}
		} else if err == nil {
			return path
		}
	}
	return ""
}
