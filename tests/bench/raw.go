// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/rawsys"
)

// raw speaks to both doors with system calls alone: what Go itself costs.
type raw struct {
	stats, prog int // control maps
	nl          *rawsys.Netlink
	familyID    uint16
	veth        uint32
	programs    [2]int

	close []func() error
}

// newRaw opens both doors. Packages help to open them, and are out of the way
// afterwards.
func newRaw(b *bed, familyID uint16) (*raw, error) {
	r := &raw{familyID: familyID, veth: b.veth, programs: b.programs}
	for _, m := range []struct {
		typ family.CtrlType
		fd  *int
	}{{family.CtrlTypeXDPStats, &r.stats}, {family.CtrlTypeXDPProg, &r.prog}} {
		cm, err := ctlmap.CreateMap(ctlmap.MapOptions{Type: m.typ})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		*m.fd = cm.FD()
		r.close = append(r.close, cm.Close)
	}
	nl, err := rawsys.Dial(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.nl = nl
	r.close = append(r.close, nl.Close)
	return r, nil
}

func (r *raw) Close() error {
	var errs []error
	for _, f := range r.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// request is a generic netlink message with the attributes attrs.
func (r *raw) request(cmd uint8, flags uint16, attrs []byte) []byte {
	return rawsys.Genl(r.familyID, flags, cmd, attrs)
}

// do makes a request that is one operation.
func (r *raw) do(msg []byte) error {
	_, err := r.nl.Exchange(msg, nil)
	return err
}

func (r *raw) getppid() (int, error) {
	syscall.Syscall(unix.SYS_GETPPID, 0, 0, 0)
	return 1, nil
}

func (r *raw) lookup(ifindex uint32) op {
	key, value := &family.StatsKey{Ifindex: ifindex}, new(family.Stats)
	return func() (int, error) {
		return 1, rawsys.MapElem(unix.BPF_MAP_LOOKUP_ELEM, r.stats, unsafe.Pointer(key), unsafe.Pointer(value), 0)
	}
}

func (r *raw) statsGet(ifindex uint32) op {
	msg := r.request(family.CmdStatsGet, 0, genl.AppendUint32(nil, family.AttrStatsIfindex, ifindex))
	return func() (int, error) { return 1, r.do(msg) }
}

func (r *raw) statsDump() op {
	msg := r.request(family.CmdStatsGet, unix.NLM_F_DUMP, nil)
	return func() (int, error) { return r.nl.Exchange(msg, nil) }
}

func (r *raw) iterate() op {
	walk := rawsys.NewWalk(r.stats, int(unsafe.Sizeof(family.StatsKey{})), int(unsafe.Sizeof(family.Stats{})))
	return func() (int, error) { return walk.Do(nil) }
}

// attachNetlink is prog-set and prog-del.
func (r *raw) attachNetlink() op {
	key := genl.AppendUint32(nil, family.AttrProgIfindex, r.veth)
	set := genl.AppendUint32(key[:len(key):len(key)], family.AttrProgUpdate, uint32(family.UpdateNoexist))
	set = genl.AppendUint32(set, family.AttrProgFD, uint32(r.programs[0]))
	set = genl.AppendUint32(set, family.AttrProgMode, uint32(family.ModeNative))
	attach, detach := r.request(family.CmdProgSet, 0, set), r.request(family.CmdProgDel, unix.NLM_F_ACK, key)
	return func() (int, error) {
		if err := r.do(attach); err != nil {
			return 0, err
		}
		return 1, r.do(detach)
	}
}

// attachMap is an update and a delete of the control map.
func (r *raw) attachMap() op {
	key, value := &family.ProgKey{Ifindex: r.veth, Queue: family.QueueAll}, attachValue(r.programs[0])
	return func() (int, error) {
		err := rawsys.MapElem(unix.BPF_MAP_UPDATE_ELEM, r.prog, unsafe.Pointer(key), unsafe.Pointer(value), unix.BPF_NOEXIST)
		if err != nil {
			return 0, err
		}
		return 1, rawsys.MapElem(unix.BPF_MAP_DELETE_ELEM, r.prog, unsafe.Pointer(key), nil, 0)
	}
}

// attachValue attaches a program in native mode.
func attachValue(fd int) *family.Prog {
	value := new(family.Prog)
	value.SetFD(uint32(fd))
	value.SetMode(family.ModeNative)
	return value
}
