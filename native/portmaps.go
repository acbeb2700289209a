// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// ports are the two maps of the table of ports, which programs use: a devmap by
// port for bpf_redirect_map(), and a hash map from ifindex to port.
//
// What counts is the devmap, from which the kernel takes netdevs that go. Its
// netdevs are in the index at any time: a port enters the index first and leaves
// it last. So whoever is killed in between leaves an entry too many in the index,
// as does a netdev that goes, and the next change tidies.
//
// They cannot be frozen, as the module's are. They are for root alone, and
// read-only to programs.
type ports struct{ devmap, index *ebpf.Map }

func (c *Control) portDir() string { return filepath.Join(c.state.dir, "port") }

// portsOpen opens the table. It returns nil if there is none.
func (c *Control) portsOpen() (*ports, error) {
	devmap, err := ebpf.LoadPinnedMap(filepath.Join(c.portDir(), loader.PortMap), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open port table: %w", err)
	}
	index, err := ebpf.LoadPinnedMap(filepath.Join(c.portDir(), loader.PortIndexMap), nil)
	if errors.Is(err, os.ErrNotExist) {
		// It is made first and removed last: somebody cleans up.
		return nil, devmap.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("open port table: %w", errors.Join(err, devmap.Close()))
	}
	return &ports{devmap: devmap, index: index}, nil
}

func (p *ports) close() error { return errors.Join(p.devmap.Close(), p.index.Close()) }

// portsMake makes the table. The devmap comes last: with it the table is there.
func (c *Control) portsMake() (*ports, error) {
	failed := func(err error) error {
		return fmt.Errorf("make port table: %w", err)
	}
	if err := mkdir(c.portDir()); err != nil {
		return nil, failed(err)
	}
	index, err := makePinned(filepath.Join(c.portDir(), loader.PortIndexMap), portIndexSpec())
	if err != nil {
		return nil, failed(err)
	}
	devmap, err := makePinned(filepath.Join(c.portDir(), loader.PortMap), &ebpf.MapSpec{
		Name: loader.PortMap, Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: family.Ports,
	})
	if err != nil {
		return nil, failed(errors.Join(err, index.Close()))
	}
	return &ports{devmap: devmap, index: index}, nil
}

// portIndexSpec has one entry more than there are ports, for the moment in which
// a port goes to another netdev. The kernel takes no BTF for a devmap.
func portIndexSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: loader.PortIndexMap, Type: ebpf.Hash, KeySize: 4, ValueSize: 4,
		MaxEntries: family.Ports + 1, Flags: bpfRdonlyProg,
		Key:   btfStruct("xdpctl_port_index", btfMember("ifindex", btfU32)),
		Value: btfStruct("xdpctl_port_key", btfMember("port", btfU32)),
	}
}

const bpfRdonlyProg = 1 << 7

// ifindex is the netdev that has a port, or 0.
func (p *ports) ifindex(port uint32) (ifindex uint32, err error) {
	err = p.devmap.Lookup(port, &ifindex)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, nil
	}
	return ifindex, err
}

// portOf is the port that a netdev has, after tidy.
func (p *ports) portOf(ifindex uint32) (port uint32, has bool, err error) {
	err = p.index.Lookup(ifindex, &port)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, false, nil
	}
	return port, err == nil, err
}

// tidy takes out of the index what is not in the devmap.
func (p *ports) tidy() error {
	var ifindex, port uint32
	var stale []uint32
	it := p.index.Iterate()
	for it.Next(&ifindex, &port) {
		now, err := p.ifindex(port)
		if err != nil {
			return fmt.Errorf("tidy port table: %w", err)
		}
		if now != ifindex {
			stale = append(stale, ifindex)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("tidy port table: %w", err)
	}
	for _, ifindex := range stale {
		if err := p.forget(ifindex); err != nil {
			return fmt.Errorf("tidy port table: %w", err)
		}
	}
	return nil
}

// forget takes a netdev out of the index.
func (p *ports) forget(ifindex uint32) error {
	err := p.index.Delete(ifindex)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// bind gives a port to a netdev, in place of the one that has it.
func (p *ports) bind(port, ifindex uint32) error {
	old, err := p.ifindex(port)
	if err != nil {
		return err
	}
	if err := p.index.Put(ifindex, port); err != nil {
		return refusePorts(err)
	}
	step("enter into index")
	if err := p.devmap.Put(port, ifindex); err != nil {
		return errors.Join(refusePorts(err), p.forget(ifindex))
	}
	step("enter into devmap")
	if old == 0 {
		return nil
	}
	return p.forget(old)
}

// refusePorts says why a map took no entry: the netdev has just gone, or there
// is no memory.
func refusePorts(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	if errno == syscall.EINVAL {
		return refuse(syscall.ENODEV, "", "no such netdev")
	}
	return refuse(errno, "", "the port cannot be entered into its maps")
}

// unbind frees the port of a netdev. The kernel may have done so meanwhile.
func (p *ports) unbind(port, ifindex uint32) error {
	if err := p.devmap.Delete(port); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	step("take out of devmap")
	return p.forget(ifindex)
}
