// SPDX-License-Identifier: BSD-3-Clause

// Command bench measures what XDP control costs at both doors, in raw C, in
// raw Go and through the packages of this project, beside operations of the
// kernel that everybody knows.
//
// It is run as root in a virtual machine under QEMU's -icount, where a
// nanosecond is an instruction of the guest, with one processor and without
// the module loaded. Elsewhere its figures are nanoseconds, and noise.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// sizes are the numbers of netdevs that are iterated over.
var sizes = []int{10, 100, 1000, 4000}

type options struct {
	build string
	sizes int
	only  bool
	serve string
	prof  bool
}

func main() {
	var opts options
	flag.StringVar(&opts.build, "build", "build", "`directory` of bench-c and RELEASE/xdpctl.ko; figures go to RELEASE/bench.json")
	flag.IntVar(&opts.sizes, "sizes", len(sizes), "how many of the numbers of netdevs to iterate over")
	flag.BoolVar(&opts.only, "transports", false, "measure nothing but transports, and write no figures")
	flag.StringVar(&opts.serve, "serve", "", "be the server at this `path`, of which another process measures the transport")
	flag.BoolVar(&opts.prof, "profile", false, "profile operations by function instead; figures go to profile/RELEASE.json")
	flag.Parse()
	sizes = sizes[:min(opts.sizes, len(sizes))]

	do := mainErr
	if opts.serve != "" {
		do = func(opts options) error { return serve(opts.serve) }
	}
	if opts.prof {
		do = profileMain
	}
	if err := do(opts); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func mainErr(opts options) error {
	// The figures are of this thread, undisturbed.
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	debug.SetGCPercent(-1)

	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	r := &runner{
		raw:    filepath.Join(opts.build, "bench-c"),
		module: filepath.Join(opts.build, release, "xdpctl.ko"),
		report: Report{Release: release, CPUs: runtime.NumCPU()},
	}
	if err := r.transports(); err != nil {
		return err
	}
	if !opts.only {
		if err := r.run(); err != nil {
			return err
		}
	}
	r.report.finish()
	if opts.only {
		r.report.printTransports(os.Stdout)
		r.report.printTargets(os.Stdout)
		return nil
	}
	r.report.print(os.Stdout)
	out, err := json.MarshalIndent(&r.report, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(opts.build, release, "bench.json"), append(out, '\n'), 0o644)
}

// runner makes the figures of a Report.
type runner struct {
	raw, module string
	report      Report
}

func (r *runner) run() error {
	// Netdevs are made here, and the chroot of the virtual machine is not
	// where the kernel looks for modules.
	if err := run("modprobe", "-a", "veth", "dummy"); err != nil {
		return err
	}
	if err := r.packets(); err != nil {
		return err
	}
	if err := run("insmod", r.module); err != nil {
		return err
	}
	b, err := newBed()
	if err != nil {
		return err
	}
	r.report.RXQueues, r.report.TXQueues = queues()
	for range rounds {
		if err := r.once(b); err != nil {
			return err
		}
	}
	if err := b.delVeth(); err != nil {
		return err
	}
	for _, n := range sizes {
		if err := growTo(n); err != nil {
			return err
		}
		if err := r.iterate(b, n); err != nil {
			return err
		}
	}
	return nil
}

// c runs one part of bench.c.
func (r *runner) c(args ...string) ([]*Figure, error) {
	cmd := exec.Command(r.raw, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w: %s", args, err, stderr.Bytes())
	}
	var figures []*Figure
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		f := &Figure{Lang: langC}
		if err := json.Unmarshal(lines.Bytes(), f); err != nil {
			return nil, fmt.Errorf("%v: %w", args, err)
		}
		figures = append(figures, f)
	}
	return figures, nil
}

// task is one measurement in Go.
type task struct {
	lang, name string
	sleeps     bool
	op         op
}

func (r *runner) measure(netdevs int, tasks ...task) error {
	for _, t := range tasks {
		f, err := measure(t.lang, t.name, t.sleeps, t.op)
		if err != nil {
			return err
		}
		f.Netdevs = netdevs
		r.report.add(f)
	}
	return nil
}

// doors are both doors in Go, raw and through our packages.
type doors struct {
	raw     *raw
	netlink *client
	ctlmap  *client
}

func openDoors(b *bed) (*doors, error) {
	conn, err := genl.Dial(genl.Options{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fam, err := conn.Family(context.Background(), "xdpctl")
	if err != nil {
		return nil, err
	}
	raw, err := newRaw(b, fam.ID)
	if err != nil {
		return nil, err
	}
	nl, err := family.Dial(family.Options{})
	if err != nil {
		return nil, err
	}
	cm, err := ctlmap.Open(ctlmap.Options{})
	if err != nil {
		return nil, err
	}
	return &doors{raw, &client{nl, b}, &client{cm, b}}, nil
}

func (d *doors) Close() error {
	return errors.Join(d.raw.Close(), d.netlink.control.Close(), d.ctlmap.control.Close())
}

// once measures operations on one netdev.
func (r *runner) once(b *bed) error {
	where := []string{fmt.Sprintf("control=%d", b.control), fmt.Sprintf("dev=%d", b.dummy), "veth=" + vethName}
	for _, part := range []string{"clock", "once", "attach"} {
		figures, err := r.c(append([]string{part}, where...)...)
		if err != nil {
			return err
		}
		for _, f := range figures {
			r.report.add(f)
		}
	}

	d, err := openDoors(b)
	if err != nil {
		return err
	}
	defer d.Close()
	err = r.measure(0,
		task{langGo, "getppid", false, d.raw.getppid},
		task{langGo, lookupOwn, false, d.raw.lookup(b.dummy)},
		task{langClient, lookupOwn, false, d.ctlmap.lookup(b.dummy)},
		task{langGo, lookupDriver, false, d.raw.lookup(b.veth)},
		task{langClient, lookupDriver, false, d.ctlmap.lookup(b.veth)},
		task{langGo, statsGetOwn, false, d.raw.statsGet(b.dummy)},
		task{langClient, statsGetOwn, false, d.netlink.lookup(b.dummy)},
		task{langGo, statsGetDriver, false, d.raw.statsGet(b.veth)},
		task{langClient, statsGetDriver, false, d.netlink.lookup(b.veth)},
		task{langGo, attachNetlink, true, d.raw.attachNetlink()},
		task{langClient, attachNetlink, true, d.netlink.attach()},
		task{langGo, attachMap, true, d.raw.attachMap()},
		task{langClient, attachMap, true, d.ctlmap.attach()},
	)
	if err != nil {
		return err
	}

	ctx, key := context.Background(), &family.ProgKey{Ifindex: b.veth, Queue: family.QueueAll}
	prog := d.netlink.control.Prog()
	if err := prog.Update(ctx, key, attachValue(b.programs[0]), family.UpdateNoexist); err != nil {
		return err
	}
	err = r.measure(0,
		task{langClient, replaceNetlink, true, d.netlink.replace()},
		task{langClient, replaceMap, true, d.ctlmap.replace()},
	)
	return errors.Join(err, prog.Delete(ctx, key))
}

// iterate measures operations on all of n netdevs.
func (r *runner) iterate(b *bed, n int) error {
	figures, err := r.c("iterate", fmt.Sprintf("control=%d", b.control))
	if err != nil {
		return err
	}
	for _, f := range figures {
		f.Netdevs = n
		r.report.add(f)
	}
	d, err := openDoors(b)
	if err != nil {
		return err
	}
	defer d.Close()
	return r.measure(n,
		task{langGo, statsDump, false, d.raw.statsDump()},
		task{langClient, statsDump, false, d.netlink.iterate()},
		task{langGo, mapIterate, false, d.raw.iterate()},
		task{langClient, mapIterate, false, d.ctlmap.iterate()},
	)
}
