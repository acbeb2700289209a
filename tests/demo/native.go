// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/apart"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// servers are the processes that answer on sockets, by namespace.
type servers map[string]*exec.Cmd

// socket is where the server of a namespace answers.
func socket(ns string) string { return filepath.Join(apart.RunDir, ns+".sock") }

// withoutModule is the demo on a machine that has no module.
func (d *demo) withoutModule(ctx context.Context) error {
	// Servers go with the thread that started them.
	runtime.LockOSThread()
	if err := publish("xdpctl-nl"); err != nil {
		return err
	}
	s := servers{}
	defer s.kill()
	d.doors = []door{
		toolDoor("embedded", func(ns string) string { return "-n " + ns + " --server embedded" }),
		toolDoor("socket", func(ns string) string { return "--server unix:" + socket(ns) }),
	}
	return d.steps(ctx, d.announce, d.makeBed, d.attach, d.meter, d.traffic,
		func(ctx context.Context) error { return d.serve(ctx, s) },
		d.printNative, d.compare, d.compareRest,
		func(context.Context) error { return d.leave(s) })
}

// publish puts a program where everybody may run it.
func publish(name string) error {
	from, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(apart.RunDir, name), b, 0o755); err != nil {
		return err
	}
	return os.Setenv("PATH", apart.RunDir+":"+os.Getenv("PATH"))
}

func (d *demo) announce(context.Context) error {
	d.note("Linux %s, as it comes, and no module: the server is in the tool.", d.release)
	// Where the module is loaded, it is not what is shown here.
	if err := os.Setenv("XDPCTL_SERVER", "embedded"); err != nil {
		return err
	}
	return d.do("xdpctl-nl -V")
}

// meter counts the verdicts on netdevs whose driver leaves some in doubt.
func (d *demo) meter(context.Context) error {
	d.note(`A veth does not count all verdicts apart. The meter does: it counts
what programs return.`)
	return d.all(`
		xdpctl-nl -n right meter set dev in on
		xdpctl-nl -n left meter set dev in on
		xdpctl-nl -n left meter set dev out on`)
}

// serve starts a server for each namespace.
func (d *demo) serve(ctx context.Context, s servers) error {
	d.note(`The same server for others: it answers on a socket, in any namespace,
and lets only root change things.`)
	for _, ns := range []string{left, right} {
		args := []string{"-n", ns, "serve", "unix:" + socket(ns)}
		fmt.Fprintf(d.out, "$ xdpctl-nl -n %s serve unix:%s &\n", ns, socket(ns))
		cmd := exec.Command("xdpctl-nl", args...)
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
		if err := cmd.Start(); err != nil {
			return err
		}
		s[ns] = cmd
		err := traffic.Until(ctx, "a server to listen", func() (bool, error) {
			_, err := d.quiet("xdpctl-nl --server unix:" + socket(ns) + " type show")
			return err == nil, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// kill ends the servers that still run.
func (s servers) kill() {
	for _, cmd := range s {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// stop has the servers end by themselves.
func (s servers) stop() error {
	var errs []error
	for ns, cmd := range s {
		errs = append(errs, cmd.Process.Signal(unix.SIGTERM))
		timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("server of %s: %w", ns, err))
		}
		timer.Stop()
		if _, err := os.Lstat(socket(ns)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("server of %s left its socket behind: %v", ns, err))
		}
		delete(s, ns)
	}
	return errors.Join(errs...)
}

// printNative shows what a user sees.
func (d *demo) printNative(context.Context) error {
	d.note("The statistics, from the server in the tool.")
	if err := d.do("xdpctl-nl -n right stats show dev in"); err != nil {
		return err
	}
	d.note("The same through the socket, for somebody who is nobody.")
	asNobody := "setpriv --reuid 65534 --regid 65534 --clear-groups xdpctl-nl --server unix:" + socket(right) + " "
	if err := d.do(asNobody + "stats show dev in"); err != nil {
		return err
	}
	if err := d.do(asNobody + "caps show dev in"); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "$ %sprog detach dev in\n", asNobody)
	out, err := d.quiet(asNobody + "prog detach dev in")
	if err == nil {
		return fmt.Errorf("nobody could detach a program: %s", out)
	}
	var failed *commandError
	if !errors.As(err, &failed) || !bytes.Contains(failed.stderr, []byte("operation not permitted")) {
		return err
	}
	_, err = d.out.Write(failed.stderr)
	return err
}

// compareRest holds what is no counter against each other.
func (d *demo) compareRest(context.Context) error {
	for _, ns := range []string{right, left} {
		for _, object := range []string{"stats", "prog", "caps", "attr", "port", "type"} {
			a, err := d.quiet("xdpctl-nl -n " + ns + " --server embedded -j " + object + " show")
			if err != nil {
				return err
			}
			b, err := d.quiet("xdpctl-nl --server unix:" + socket(ns) + " -j " + object + " show")
			if err != nil {
				return err
			}
			if !bytes.Equal(a, b) {
				fmt.Fprintf(d.out, "DISAGREE: %s of %s: embedded says\n%sand socket\n%s", object, ns, a, b)
				return errDisagree
			}
		}
	}
	fmt.Fprintln(d.out, "They say the same, byte for byte, of programs, capabilities, settings, ports and types, too.")
	return nil
}

// mapOf opens the map of this name of the program of a netdev in namespace right.
func (d *demo) mapOf(dev, name string) (*ebpf.Map, error) {
	out, err := d.quiet("xdpctl-nl -n right -j prog show dev " + dev)
	if err != nil {
		return nil, err
	}
	var progs []struct {
		ID uint32 `json:"prog-id"`
	}
	if err := json.Unmarshal(out, &progs); err != nil || len(progs) != 1 {
		return nil, fmt.Errorf("parse programs of %s: %q: %v", dev, out, err)
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(progs[0].ID))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return nil, err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return nil, err
		}
		if mi, err := m.Info(); err == nil && mi.Name == name {
			return m, nil
		}
		m.Close()
	}
	return nil, fmt.Errorf("map %s of program %d: %w", name, progs[0].ID, fs.ErrNotExist)
}

// leave leaves nothing behind, and shows that.
func (d *demo) leave(s servers) error {
	d.note("Attachments stay when the tool ends, until they are removed.")
	if err := s.stop(); err != nil {
		return err
	}
	if err := d.all(`
		xdpctl-nl clean all
		ip -n right link show dev in
		ip netns del left
		ip netns del right`); err != nil {
		return err
	}
	state := filepath.Join(apart.BPFFS, "xdpctl")
	if _, err := os.Lstat(state); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is left: %v", state, err)
	}
	fmt.Fprintln(d.out, "Nothing is left.")
	return nil
}
