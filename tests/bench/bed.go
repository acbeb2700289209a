// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// bed is the netdevs that are measured: a veth pair, of which veth is the one,
// and a dummy, of which no driver counts anything.
type bed struct {
	control, dummy, veth uint32
	programs             [2]int

	loaded []*bpf.Pass
}

const (
	vethName = "bench0"
	peerName = "bench1"
)

// newBed needs the module.
func newBed() (*bed, error) {
	b := &bed{}
	if err := addVeth(); err != nil {
		return nil, err
	}
	if err := addDummies(1); err != nil {
		return nil, err
	}
	if _, err := net.InterfaceByName("xdpctl0"); err != nil {
		if err := run("ip", "link", "add", "xdpctl0", "type", "xdpctl"); err != nil {
			return nil, err
		}
	}
	for name, index := range map[string]*uint32{"xdpctl0": &b.control, dummyName(0): &b.dummy, vethName: &b.veth} {
		dev, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		*index = uint32(dev.Index)
	}
	for i := range b.programs {
		s, err := bpf.OpenAndLoadPass(nil)
		if err != nil {
			return nil, err
		}
		b.loaded = append(b.loaded, s)
		b.programs[i] = s.Programs.Pass.Prog.FD()
	}
	return b, nil
}

// delVeth leaves only netdevs without driver counters.
func (b *bed) delVeth() error {
	return run("ip", "link", "del", vethName)
}

// addVeth makes the veth pair, up and silent.
func addVeth() error {
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil &&
		!errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, args := range []string{
		"link add " + vethName + " type veth peer name " + peerName,
		"link set " + vethName + " arp off up",
		"link set " + peerName + " arp off up",
	} {
		if err := run("ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

func dummyName(i int) string { return fmt.Sprintf("bd%d", i) }

// dummies is how many there are.
var dummies int

// addDummies adds dummies until there are n netdevs more.
func addDummies(n int) error {
	var batch strings.Builder
	for range n {
		fmt.Fprintf(&batch, "link add %s type dummy\n", dummyName(dummies))
		dummies++
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(batch.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("add %d dummies: %w: %s", n, err, out)
	}
	return nil
}

// growTo adds dummies until there are n netdevs in all.
func growTo(n int) error {
	devs, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return err
	}
	there := 0
	for _, d := range devs {
		// bonding_masters is a file.
		if d.Type()&os.ModeSymlink != 0 {
			there++
		}
	}
	if there > n {
		return fmt.Errorf("there are %d netdevs already, more than %d", there, n)
	}
	return addDummies(n - there)
}

// queues returns how many receive and transmit queues the veth has in use.
func queues() (rx, tx int) {
	count := func(kind string) int {
		found, _ := filepath.Glob("/sys/class/net/" + vethName + "/queues/" + kind + "-*")
		return len(found)
	}
	return count("rx"), count("tx")
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
