// SPDX-License-Identifier: BSD-3-Clause

// Vmrun runs a command in a virtual machine with the host's files and another
// kernel:
//
//	vmrun -kernel 6.12 [option]... -- uname -a
//	go test -exec "build/vmrun -kernel 6.12" ./tests/...
//
// Its exit status is the command's. It is 123 if the command succeeded and the
// kernel did not come out of it unharmed, 124 if the time was up, and 125 if the
// guest died or never came up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/xdpctl/xdpctl-nl/internal/vm"
	"github.com/xdpctl/xdpctl-nl/internal/vm/guest"
)

// Exit statuses of vmrun itself.
const (
	exitUsage   = 2
	exitChecks  = 123
	exitTimeout = 124
	exitDead    = 125
)

func main() {
	if os.Getpid() == 1 {
		if _, err := os.Stat(vm.JobPath); err == nil {
			guest.Main()
		}
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "vmrun: %v\n", err)
		return exitUsage
	}
	if len(o.Args) == 0 {
		fmt.Println(o.Kernel.Release, o.Kernel.BuildDir())
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	res, err := vm.Run(ctx, o)
	if err != nil {
		return reportError(err)
	}
	return reportResult(res)
}

func reportError(err error) int {
	if e := (*vm.Error)(nil); errors.As(err, &e) && len(e.Console) > 0 {
		fmt.Fprintf(os.Stderr, "vmrun: the guest's console ends with:\n%s\n", e.Console)
	}
	fmt.Fprintf(os.Stderr, "vmrun: %v\n", err)
	if errors.Is(err, context.DeadlineExceeded) {
		return exitTimeout
	}
	return exitDead
}

func reportResult(res *vm.Result) int {
	for _, note := range res.Notes {
		fmt.Fprintf(os.Stderr, "vmrun: note: %s\n", note)
	}
	for _, failure := range res.Failures {
		fmt.Fprintf(os.Stderr, "vmrun: check failed: %s\n", failure)
	}
	if res.Status == 0 && len(res.Failures) > 0 {
		return exitChecks
	}
	return res.Status
}

// list is a flag that can be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func parse(args []string) (*vm.Options, error) {
	o := &vm.Options{Output: os.Stdout}
	fs := flag.NewFlagSet("vmrun", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		fmt.Println("usage: vmrun -kernel RELEASE [OPTION]... -- COMMAND [ARGUMENT]...")
		fmt.Println("       vmrun -kernel RELEASE -which")
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
	}
	kernel := fs.String("kernel", "", "kernel `release`, the beginning of one (6.12), or debug")
	debug := fs.Bool("debug", false, "boot the debug kernel that make debug-kernel built last")
	which := fs.Bool("which", false, "run nothing: print the kernel's release and the directory to build modules against")
	fs.IntVar(&o.CPUs, "smp", 0, "number of `processors` (default 2; 1 with -icount and -debug)")
	fs.IntVar(&o.Memory, "mem", 0, "memory in `MiB` (default 2048)")
	fs.BoolVar(&o.ICount, "icount", false, "count instructions: one nanosecond is one instruction")
	fs.BoolVar(&o.KVM, "kvm", false, "use KVM instead of emulation")
	fs.IntVar(&o.NICs, "nics", 0, "number of virtio-net `devices`; they see each other in pairs")
	fs.StringVar(&o.Module, "module", "", "`file` of a module to load before the command")
	fs.StringVar(&o.Dir, "dir", "", "working `directory` of the command (default the current one)")
	fs.DurationVar(&o.Timeout, "timeout", 0, "end a guest after this `time` (default that of go test and a minute, or 10m)")
	noLeakCheck := fs.Bool("no-leak-check", false, "accept BPF objects that outlive the command")
	console := fs.String("console", "", "write the guest's console to `file` (- is standard error)")
	var env list
	fs.Var(&env, "env", "add `KEY=VALUE` to the command's environment")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	o.Args, o.LeakCheck = fs.Args(), !*noLeakCheck
	if *debug && *kernel == "" {
		*kernel = "debug"
	}
	var err error
	if o.Kernel, err = vm.FindKernel(*kernel); err != nil {
		return nil, err
	}
	switch {
	case *debug && !o.Kernel.Debug:
		return nil, fmt.Errorf("%s is not a debug kernel", o.Kernel.Release)
	case *which:
		o.Args = nil
		return o, nil
	case len(o.Args) == 0:
		return nil, errors.New("no command given, see vmrun -help")
	}
	if err := complete(o, env); err != nil {
		return nil, err
	}
	switch *console {
	case "":
	case "-":
		o.Console = os.Stderr
	default:
		if o.Console, err = os.Create(*console); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// complete fills in what was not given.
func complete(o *vm.Options, env []string) error {
	one := o.ICount || o.Kernel.Debug
	switch {
	case o.CPUs == 0 && one:
		o.CPUs = 1
	case o.CPUs == 0:
		o.CPUs = 2
	case o.CPUs > 1 && one:
		return errors.New("-icount and -debug want one processor")
	}
	if o.ICount && o.KVM {
		return errors.New("-icount wants emulation, not -kvm")
	}
	if o.Memory == 0 {
		o.Memory = 2048
	}
	if o.Timeout == 0 {
		o.Timeout = timeoutOf(o.Args)
	}
	var err error
	if o.Dir == "" {
		o.Dir = "."
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if o.Module != "" {
		if o.Module, err = filepath.Abs(o.Module); err != nil {
			return err
		}
	}
	// go test names its binary by an absolute path; a user may not.
	if strings.Contains(o.Args[0], "/") {
		if o.Args[0], err = filepath.Abs(o.Args[0]); err != nil {
			return err
		}
	}
	o.Env = environment(o, env)
	return nil
}

// timeoutOf returns the time for a command: that of a test binary and a minute,
// so that the test has its chance to end by itself.
func timeoutOf(args []string) time.Duration {
	for _, arg := range args {
		if s, ok := strings.CutPrefix(arg, "-test.timeout="); ok {
			if d, err := time.ParseDuration(s); err == nil && d > 0 {
				return d + time.Minute
			}
		}
	}
	return 10 * time.Minute
}

// passed are the beginnings of the host's variables that the guest gets.
var passed = []string{"XDPCTL_", "GODEBUG=", "GOTRACEBACK=", "GOMAXPROCS=", "CI="}

// environment returns the command's environment: little of the host's, what says
// where the command runs, and what was asked for.
func environment(o *vm.Options, extra []string) []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if goTool, err := exec.LookPath("go"); err == nil {
		path += ":" + filepath.Dir(goTool)
	}
	env := []string{
		"PATH=" + path, "HOME=/root", "USER=root", "SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb",
		"TMPDIR=/tmp", "PWD=" + o.Dir,
		"VMRUN=1", "VMRUN_KERNEL=" + o.Kernel.Release,
	}
	if o.Kernel.Debug {
		env = append(env, "VMRUN_DEBUG=1")
	}
	if o.ICount {
		env = append(env, "VMRUN_ICOUNT=1")
	}
	for _, kv := range os.Environ() {
		for _, p := range passed {
			if strings.HasPrefix(kv, p) {
				env = append(env, kv)
			}
		}
	}
	return append(env, extra...)
}
