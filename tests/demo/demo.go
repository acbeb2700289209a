// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

const (
	left, right = "left", "right"
	enterRight  = "nsenter --net=/run/netns/right "
)

// path is where ip puts namespace ns.
func path(ns string) string { return "/run/netns/" + ns }

// pin is where the demo pins a control map of namespace ns.
func pin(ns string) string { return "/sys/fs/bpf/xdp_stats_" + ns }

// demo is one run. The bed is two network namespaces, each with the netdevs in
// and out, veth pairs from the one to the other:
//
//	left            right
//	in   ------->   in      test frames, answered by the program verdict
//	out  <-------   out     what it redirects
type demo struct {
	shell
	release string
	module  string // empty: there is none
	doors   []door
}

// step is a part of a demo.
type step func(context.Context) error

// withModule is the demo of the module.
func (d *demo) withModule(ctx context.Context) error {
	d.doors = moduleDoors
	err := d.steps(ctx, d.load, d.makeBed, d.makeDevices, d.attach, d.traffic, d.print, d.compare)
	if err != nil {
		d.abandon()
		return err
	}
	return d.tearDown(ctx)
}

func (d *demo) steps(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := s(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) load(context.Context) error {
	d.note("Linux %s, as it comes, and the module.", d.release)
	return d.do("insmod " + d.module)
}

func (d *demo) makeBed(context.Context) error {
	d.note(`Two network namespaces and two veth pairs between them: test frames
come in through in, and leave redirected through out. Nothing else
talks there.`)
	for _, ns := range []string{left, right} {
		if _, err := d.quiet("ip netns add " + ns); err != nil {
			return err
		}
		fmt.Fprintf(d.out, "$ ip netns add %s\n", ns)
		// No MLD and no router solicitation: nothing but test frames.
		if err := traffic.InNetNS(path(ns), quietIPv6); err != nil {
			return err
		}
	}
	return d.all(`
		ip -n left link add in type veth peer name in netns right
		ip -n left link add out type veth peer name out netns right
		ip -n left link set in up arp off
		ip -n left link set out up arp off
		ip -n right link set in up arp off
		ip -n right link set out up arp off`)
}

// quietIPv6 has netdevs to come send nothing by themselves, where there is IPv6.
func quietIPv6() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (d *demo) makeDevices(context.Context) error {
	d.note("Each has a control device, to create control maps on.")
	return d.all(`
		ip -n left link add xdpctl0 type xdpctl
		ip -n right link add xdpctl0 type xdpctl`)
}

func (d *demo) attach(context.Context) error {
	d.note(`The program answers each frame with the verdict it asks for. A veth
takes what is transmitted or redirected to it only with a program of
its own, so those come first.`)
	err := d.all(`
		xdpctl-nl -n left prog attach dev in obj bpf/pass.bpf.o mode native
		xdpctl-nl -n left prog attach dev out obj bpf/pass.bpf.o mode native
		xdpctl-nl -n right prog attach dev in obj bpf/verdict.bpf.o mode native`)
	if err != nil {
		return err
	}
	index, err := d.ifindex(right, "out")
	if err != nil {
		return err
	}
	d.note("Redirected frames leave through out, ifindex %d.", index)
	if err := d.redirectTo(index); err != nil {
		return err
	}
	return d.do("xdpctl-nl -n right prog show")
}

// redirectTo has the program redirect to a netdev of namespace right.
func (d *demo) redirectTo(index int) error {
	if d.module != "" {
		return d.do(fmt.Sprintf("%sbpftool map update name verdict_ports key 0 0 0 0 value %d 0 0 0", enterRight, index))
	}
	m, err := d.mapOf("in", "verdict_ports")
	if err != nil {
		return err
	}
	defer m.Close()
	return traffic.InNetNS(path(right), func() error { return m.Put(uint32(0), uint32(index)) })
}

// traffic sends the frames and waits until those that the program lets through
// have arrived.
func (d *demo) traffic(ctx context.Context) error {
	d.note("%d frames from left to right: %v.", frames.Total(), d.inOrder())
	type arrival struct {
		verdict traffic.Verdict
		ns, dev string
		counter *traffic.Counter
	}
	arrivals := []arrival{
		{verdict: traffic.Pass, ns: right, dev: "in"},
		{verdict: traffic.Tx, ns: left, dev: "in"},
		{verdict: traffic.Redirect, ns: left, dev: "out"},
	}
	for i := range arrivals {
		a := &arrivals[i]
		c, err := traffic.NewCounter(traffic.CounterOptions{NetNS: path(a.ns), Dev: a.dev})
		if err != nil {
			return err
		}
		defer c.Close()
		a.counter = c
	}

	sender, err := traffic.NewSender(traffic.SenderOptions{NetNS: path(left), Dev: "in", Length: frameLen})
	if err != nil {
		return err
	}
	defer sender.Close()
	if err := sender.SendAll(ctx, frames); err != nil {
		return err
	}
	for _, a := range arrivals {
		if err := a.counter.Wait(ctx, traffic.Counts{a.verdict: frames[a.verdict]}); err != nil {
			return err
		}
		fmt.Fprintf(d.out, "%5d  %-9s arrived at %s of %s\n", frames[a.verdict], a.verdict, a.dev, a.ns)
	}
	return nil
}

// print shows what a user sees at each door.
func (d *demo) print(context.Context) error {
	d.note("The statistics through the netlink door.")
	if err := d.do("xdpctl-nl -n right --via netlink stats show dev in"); err != nil {
		return err
	}
	d.note("The same through the map door: lookups in a BPF control map.")
	if err := d.do("xdpctl-nl -n right --via map stats show dev in"); err != nil {
		return err
	}

	d.note("And bpftool, which knows nothing of XDP statistics, on such a map.")
	size, err := d.valueSize()
	if err != nil {
		return err
	}
	create := fmt.Sprintf("type hash key 4 value %d entries 1024 name xdp_stats dev xdpctl0", size)
	if err := d.do(enterRight + "bpftool map create " + pin(right) + " " + create); err != nil {
		return err
	}
	_, err = d.quiet("nsenter --net=/run/netns/left bpftool map create " + pin(left) + " " + create)
	if err != nil {
		return err
	}
	index, err := d.ifindex(right, "in")
	if err != nil {
		return err
	}
	return d.do(fmt.Sprintf("bpftool map lookup pinned %s key %d 0 0 0", pin(right), index))
}

// valueSize is the value size of control type xdp_stats, by which a map of it
// is created.
func (d *demo) valueSize() (int, error) {
	out, err := d.quiet("xdpctl-nl -j type show")
	if err != nil {
		return 0, err
	}
	var types []struct {
		Name string `json:"name"`
		Size int    `json:"value-size"`
	}
	if err := json.Unmarshal(out, &types); err != nil {
		return 0, fmt.Errorf("parse control types: %w", err)
	}
	for _, t := range types {
		if t.Name == "xdp_stats" {
			return t.Size, nil
		}
	}
	return 0, fmt.Errorf("no control type xdp_stats in %s", out)
}

// ifindex returns the index of a netdev in namespace ns.
func (d *demo) ifindex(ns, dev string) (int, error) {
	out, err := d.quiet("ip -n " + ns + " -j link show dev " + dev)
	if err != nil {
		return 0, err
	}
	var links []struct {
		Index int `json:"ifindex"`
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return 0, fmt.Errorf("parse link %s: %q: %v", dev, out, err)
	}
	return links[0].Index, nil
}

func (d *demo) inOrder() string {
	var parts []string
	for _, v := range traffic.Verdicts {
		parts = append(parts, strconv.FormatUint(frames[v], 10)+" "+v.String())
	}
	return strings.Join(parts, ", ")
}

// tearDown leaves nothing behind; that the module goes shows that nothing is
// held.
func (d *demo) tearDown(ctx context.Context) error {
	d.note("What was attached goes with its netdevs, and then the module.")
	err := d.all(`
		rm ` + pin(left) + " " + pin(right) + `
		ip netns del left
		ip netns del right`)
	if err != nil {
		return err
	}
	// The kernel dismantles a namespace after ip has returned.
	fmt.Fprintln(d.out, "$ rmmod xdpctl")
	var last error
	err = traffic.Until(ctx, "the module to be unused", func() (bool, error) {
		_, last = d.quiet("rmmod xdpctl")
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

// abandon takes down what there is after a failure, which is what matters then.
func (d *demo) abandon() {
	for _, command := range []string{"rm -f " + pin(left) + " " + pin(right), "ip netns del left", "ip netns del right"} {
		d.quiet(command)
	}
}
