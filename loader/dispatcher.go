// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/dirlock"
)

// The protocol of libxdp's dispatchers. One that is started is of the older version;
// one that is joined keeps its own, from there to the newer.
const (
	dispatcherMagic   = 236
	dispatcherVersion = 2
	newestVersion     = 3
	maxMembers        = 10
	notReplaced       = 31 // the verdict of a function that no program took the place of

	// DefaultPriority and DefaultChainOn are those of a program that says
	// nothing else.
	DefaultPriority = 50
	DefaultChainOn  = family.ActionPass
)

// Member is a program behind a dispatcher.
type Member struct {
	ProgID uint32
	Name   string
	Tag    string
	// Priority is its place: programs run in ascending order.
	Priority uint32
	// ChainOn are the verdicts after which the next program runs.
	ChainOn family.Action
	// Frags tells whether it takes frames in fragments.
	Frags bool
}

// Dispatcher is libxdp's program on a netdev that calls others.
type Dispatcher struct {
	ProgID  uint32
	Ifindex uint32
	Version uint8
	Members []Member
}

// errNoDispatcher says that a program is no dispatcher.
var errNoDispatcher = errors.New("the program is no dispatcher of libxdp")

// dispatcherConfig is what a dispatcher keeps in its read-only data.
type dispatcherConfig struct {
	Magic, Version, Count, Frags uint8
	ChainOn, Priorities, Flags   [maxMembers]uint32
	DevBound                     uint8 // from version 3 on: it is for one netdev alone
}

// Sizes of the configuration, by versions.
const (
	sizeV1 = 4 + 2*4*maxMembers
	sizeV2 = 4 + 3*4*maxMembers
	sizeV3 = sizeV2 + 4
)

// decodeConfig reads the configuration of a dispatcher of any version.
func decodeConfig(b []byte) (*dispatcherConfig, error) {
	c := &dispatcherConfig{}
	bo := binary.NativeEndian
	words := func(b []byte, to *[maxMembers]uint32) []byte {
		for i := range to {
			to[i] = bo.Uint32(b[4*i:])
		}
		return b[4*maxMembers:]
	}
	switch {
	case len(b) == sizeV1:
		c.Version, c.Count = 1, b[0]
		words(words(b[4:], &c.ChainOn), &c.Priorities)
	case len(b) < sizeV2 || b[0] != dispatcherMagic:
		return nil, errNoDispatcher
	case b[1] == 2 && len(b) == sizeV2, b[1] == 3 && len(b) == sizeV3:
		c.Magic, c.Version, c.Count, c.Frags = b[0], b[1], b[2], b[3]
		rest := words(words(words(b[4:], &c.ChainOn), &c.Priorities), &c.Flags)
		if c.Version > 2 {
			c.DevBound = rest[0]
		}
	default:
		return nil, fmt.Errorf("the dispatcher is of version %d with %d bytes of configuration: %w", b[1], len(b), errors.ErrUnsupported)
	}
	if c.Count > maxMembers {
		return nil, fmt.Errorf("the dispatcher says that it has %d programs: %w", c.Count, unix.EINVAL)
	}
	return c, nil
}

// encode writes the configuration, in version 2 or 3.
func (c *dispatcherConfig) encode() []byte {
	b := []byte{dispatcherMagic, c.Version, c.Count, c.Frags}
	for _, words := range [][maxMembers]uint32{c.ChainOn, c.Priorities, c.Flags} {
		for _, w := range words {
			b = binary.NativeEndian.AppendUint32(b, w)
		}
	}
	if c.Version > 2 {
		b = append(b, c.DevBound, 0, 0, 0)
	}
	return b
}

// readConfig reads the configuration of a program that may be a dispatcher.
func readConfig(p *ebpf.Program) (*dispatcherConfig, error) {
	info, err := p.Info()
	if err != nil {
		return nil, err
	}
	maps, ok := info.MapIDs()
	if _, typed := info.BTFID(); info.Name != bpf.DispatcherProgram || !typed || !ok || len(maps) != 1 {
		return nil, errNoDispatcher
	}
	m, err := ebpf.NewMapFromID(maps[0])
	if err != nil {
		return nil, fmt.Errorf("open the configuration of the dispatcher: %w", err)
	}
	defer m.Close()
	if m.Type() != ebpf.Array || m.MaxEntries() != 1 || m.Flags()&flagRdonlyProg == 0 {
		return nil, errNoDispatcher
	}
	raw, err := m.LookupBytes(uint32(0))
	if err != nil {
		return nil, fmt.Errorf("read the configuration of the dispatcher: %w", err)
	}
	return decodeConfig(raw)
}

// member is a program of a dispatcher that is open.
type member struct {
	Member
	prog *ebpf.Program
	age  int // those that were there before come first
}

// opened is a dispatcher with its programs open.
type openDispatcher struct {
	prog    *ebpf.Program
	id      uint32
	version uint8
	bound   bool // to one netdev
	dir     string
	members []*member
}

func (d *openDispatcher) close() {
	if d == nil {
		return
	}
	d.prog.Close()
	for _, m := range d.members {
		m.prog.Close()
	}
}

// dispatcherDir is where libxdp pins the programs of a dispatcher. The directory
// xdp may be a link to that of iproute2.
func (p *Pinning) dispatcherDir(ifindex, id uint32) string {
	return filepath.Join(p.root(), "xdp", fmt.Sprintf("dispatch-%d-%d", ifindex, id))
}

// openMembers opens the dispatcher with an id, and its programs.
//
// Returns errNoDispatcher if the program is none.
func (p *Pinning) openMembers(ifindex, id uint32) (_ *openDispatcher, err error) {
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return nil, fmt.Errorf("open program with id %d: %w", id, err)
	}
	d := &openDispatcher{prog: prog, id: id, dir: p.dispatcherDir(ifindex, id)}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	c, err := readConfig(prog)
	if err != nil {
		return nil, err
	}
	d.version, d.bound = c.Version, c.DevBound != 0
	for i := range int(c.Count) {
		path := filepath.Join(d.dir, fmt.Sprintf("prog%d-prog", i))
		prog, err := ebpf.LoadPinnedProgram(path, nil)
		if err != nil {
			return nil, fmt.Errorf("open program %d of the dispatcher, pinned at %s: %w", i, path, err)
		}
		m := &member{prog: prog, age: i, Member: Member{
			Priority: c.Priorities[i], ChainOn: family.Action(c.ChainOn[i] &^ (1 << notReplaced)), Frags: c.Flags[i]&xdpHasFrags != 0,
		}}
		d.members = append(d.members, m)
		if err := m.identify(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// identify asks the kernel for what names the program.
func (m *member) identify() error {
	info, err := infoOf(m.prog)
	if err != nil {
		return err
	}
	m.ProgID, m.Name, m.Tag = info.ID, unix.ByteSliceToString(info.Name[:]), hex.EncodeToString(info.Tag[:])
	return nil
}

// DispatcherOf returns the dispatcher with an id on a netdev, as xdp_prog reports
// the id, with its programs in the order in which they run.
//
// Returns nil and no error if the program is none, or is nobody's to look at.
func (p *Pinning) DispatcherOf(ctx context.Context, ifindex, id uint32) (*Dispatcher, error) {
	if _, err := os.Stat(p.dispatcherDir(ifindex, id)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	unlock, err := dirlock.Take(ctx, filepath.Join(p.root(), "xdp"), unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d, err := p.openMembers(ifindex, id)
	if errors.Is(err, errNoDispatcher) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.close()
	out := &Dispatcher{ProgID: id, Ifindex: ifindex, Version: d.version}
	for _, m := range d.members {
		out.Members = append(out.Members, m.Member)
	}
	return out, nil
}

// RunConfig is what an object says of the place of a program: in section
// .xdp_run_config, as XDP_RUN_CONFIG of libxdp writes it. What it does not say is as
// [DefaultPriority] and [DefaultChainOn].
func (s *Spec) RunConfig(prog string) (priority uint32, chainOn family.Action) {
	priority, chainOn = DefaultPriority, DefaultChainOn
	if s.Collection.Types == nil {
		return priority, chainOn
	}
	var v *btf.Var
	if s.Collection.Types.TypeByName("_"+prog, &v) != nil {
		return priority, chainOn
	}
	conf, ok := btf.UnderlyingType(v.Type).(*btf.Struct)
	if !ok {
		return priority, chainOn
	}
	said := false
	for _, m := range conf.Members {
		n, ok := uintOf(m.Type)
		action, isAction := strings.CutPrefix(m.Name, "XDP_")
		switch {
		case !ok:
		case m.Name == "priority":
			priority = n
		case isAction:
			a, err := family.ParseAction(strings.ToLower(action))
			if err != nil {
				continue
			}
			if !said {
				chainOn, said = 0, true
			}
			if n != 0 {
				chainOn |= a
			}
		}
	}
	return priority, chainOn
}

// uintOf is the number in a type that __uint() made.
func uintOf(t btf.Type) (uint32, bool) {
	p, ok := btf.UnderlyingType(t).(*btf.Pointer)
	if !ok {
		return 0, false
	}
	a, ok := btf.UnderlyingType(p.Target).(*btf.Array)
	if !ok {
		return 0, false
	}
	return a.Nelems, true
}

// order sorts programs as libxdp does: by priority, then by name, then those that
// were there before, as they were.
func order(members []*member) {
	slices.SortStableFunc(members, func(a, b *member) int {
		if a.Priority != b.Priority {
			if a.Priority < b.Priority {
				return -1
			}
			return 1
		}
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return a.age - b.age
	})
}
