// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/rawsys"
)

// peer is an operation of somebody else that gives the same information.
type peer struct {
	name, beside, op string
	step, undo       step
	skipped          string
}

func (p *peer) cell(l Layer) *Cell {
	return &Cell{Type: p.name, Op: p.op, Way: Peer, Layer: l, Beside: p.beside, Skipped: p.skipped}
}

// peers are all of them, with the plain map among them.
type peers struct {
	list []*peer
	hash *ebpf.Map
	key  uint32
}

// Names of peers.
const (
	peerGetLink  = "RTM_GETLINK"
	peerGetStats = "RTM_GETSTATS"
	peerEthtool  = "ethtool -S"
	peerNetdev   = "netdev family"
	peerHash     = "BPF hash map"
)

// hashEntries is how many entries the plain map has.
const hashEntries = 4

func newPeers(b *bed) (p *peers, err error) {
	p = &peers{key: b.veth}
	stats := family.CtrlTypeXDPStats.Desc()
	p.hash, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "compare_hash", Type: ebpf.Hash, MaxEntries: 1024,
		KeySize: uint32(stats.KeySize), ValueSize: uint32(stats.ValueSize),
	})
	if err != nil {
		return nil, err
	}
	key, value := binary.NativeEndian.AppendUint32(nil, b.veth), make([]byte, stats.ValueSize)
	for i := range uint32(hashEntries) {
		if err := p.hash.Put(b.veth+i, value); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	p.rtnetlink(b.veth, stats.Name, family.CtrlTypeXDPProg.Desc().Name)
	p.list = append(p.list, &peer{name: peerEthtool, beside: stats.Name, op: opLookup, step: &counters{vethName}})
	if err := p.netdev(b.veth); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	fd := p.hash.FD()
	other := binary.NativeEndian.AppendUint32(nil, 1<<30)
	set := func(key []byte) step {
		return &elem{cmd: unix.BPF_MAP_UPDATE_ELEM, fd: fd, key: key, value: value, flags: unix.BPF_NOEXIST}
	}
	del := func(key []byte) step { return &elem{cmd: unix.BPF_MAP_DELETE_ELEM, fd: fd, key: key} }
	p.list = append(p.list,
		&peer{name: peerHash, beside: stats.Name, op: opLookup,
			step: &elem{cmd: unix.BPF_MAP_LOOKUP_ELEM, fd: fd, key: key, value: make([]byte, stats.ValueSize)}},
		&peer{name: peerHash, beside: stats.Name, op: opUpdate, step: set(other), undo: del(other)},
		&peer{name: peerHash, beside: stats.Name, op: opDelete, step: del(key), undo: set(key)})
	return p, nil
}

func (p *peers) Close() error { return p.hash.Close() }

// rtnetlink is RTM_GETLINK and RTM_GETSTATS.
func (p *peers) rtnetlink(ifindex uint32, stats, prog string) {
	link := make([]byte, unix.SizeofIfInfomsg)
	all := append([]byte(nil), link...)
	binary.NativeEndian.PutUint32(link[4:], ifindex)
	// struct if_stats_msg
	const filterLink64 = 1 << 0
	counts := make([]byte, 12)
	binary.NativeEndian.PutUint32(counts[8:], filterLink64)
	allCounts := append([]byte(nil), counts...)
	binary.NativeEndian.PutUint32(counts[4:], ifindex)
	route := func(typ, flags uint16, header []byte) step {
		return &message{protocol: unix.NETLINK_ROUTE, msg: rawsys.Message(typ, flags, header, nil)}
	}
	p.list = append(p.list,
		&peer{name: peerGetLink, beside: prog, op: opLookup, step: route(unix.RTM_GETLINK, 0, link)},
		&peer{name: peerGetLink, beside: prog, op: opIterate, step: route(unix.RTM_GETLINK, unix.NLM_F_DUMP, all)},
		&peer{name: peerGetStats, beside: stats, op: opLookup, step: route(unix.RTM_GETSTATS, 0, counts)},
		&peer{name: peerGetStats, beside: stats, op: opIterate, step: route(unix.RTM_GETSTATS, unix.NLM_F_DUMP, allCounts)})
}

// netdev is the kernel's family of that name, which older kernels lack.
func (p *peers) netdev(ifindex uint32) error {
	const devGet, devIfindex = 1, 1
	get := &peer{name: peerNetdev, op: opLookup, beside: family.CtrlTypeXDPCaps.Desc().Name}
	dump := &peer{name: peerNetdev, op: opIterate, beside: get.beside}
	p.list = append(p.list, get, dump)
	conn, err := genl.Dial(genl.Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := conn.Family(context.Background(), "netdev")
	if errors.Is(err, fs.ErrNotExist) {
		get.skipped = "this kernel has no family netdev"
		dump.skipped = get.skipped
		return nil
	}
	if err != nil {
		return err
	}
	get.step = &message{protocol: unix.NETLINK_GENERIC,
		msg: rawsys.Genl(f.ID, 0, devGet, genl.AppendUint32(nil, devIfindex, ifindex))}
	dump.step = &message{protocol: unix.NETLINK_GENERIC, msg: rawsys.Genl(f.ID, unix.NLM_F_DUMP, devGet, nil)}
	return nil
}

// peerTasks are peers in C and in Go, and the plain map by package ebpf too.
func (r *runner) peerTasks(p *peers) (tasks []*task, err error) {
	for _, peer := range p.list {
		for _, l := range []Layer{RawC, RawGo} {
			c := peer.cell(l)
			if why := r.missing(nil, l); why != "" && c.Skipped == "" {
				c.Skipped = why
			}
			if c.Skipped != "" {
				r.result.Cells = append(r.result.Cells, c)
				continue
			}
			t, err := (&task{cell: c, done: func() error { return nil }}).ofStep(peer.step, peer.undo, l == RawC)
			if err != nil {
				return tasks, fmt.Errorf("%s: %w", peer.name, err)
			}
			tasks = append(tasks, t)
		}
		if peer.name == peerHash && peer.op == opLookup {
			tasks = append(tasks, p.cilium(peer))
		}
	}
	return tasks, nil
}

// cilium looks up in the plain map by package ebpf.
func (p *peers) cilium(peer *peer) *task {
	t := &task{cell: peer.cell(CiliumEBPF), step: peer.step, done: func() error { return nil }}
	t.another = func() (func() (int, error), func() error, error) {
		key, value := p.key, new(family.Stats)
		return once(func() error { return p.hash.Lookup(&key, value) }), func() error { return nil }, nil
	}
	t.op, _, _ = t.another()
	return t
}
