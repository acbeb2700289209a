// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// This is the fifth way in: what package native keeps in bpffs, read as a tool
// does that has never heard of it. It opens pins and decodes by BTF, as bpftool
// does, and has everything else from docs/servers.md.

// pinnedRoot is where the pins are.
const pinnedRoot = "/sys/fs/bpf/xdpctl"

// record is a struct by the names of its members, those of a struct in it after
// its own name and a dot. A number that is no struct has the name "".
type record map[string]uint64

func (r record) add(other record) {
	for name, n := range other {
		r[name] += n
	}
}

// element is an entry of a map. A per-CPU map has a value for each CPU.
type element struct {
	key    record
	values []record
}

// sum adds up the values of all CPUs.
func (e *element) sum() record {
	out := make(record)
	for _, v := range e.values {
		out.add(v)
	}
	return out
}

// rawBytes is a key or value as the kernel has it.
type rawBytes []byte

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (r *rawBytes) UnmarshalBinary(b []byte) error {
	*r = append((*r)[:0:0], b...)
	return nil
}

// pinnedMap is a pinned map that was read.
type pinnedMap struct {
	info     *testutil.MapInfo
	elements []element
}

// pins are those of a network namespace.
type pins struct {
	t     testing.TB
	dir   string // of the namespace
	sysfs int    // of the namespace

	maps map[string]*pinnedMap // what has been read since forget
}

// forget has maps read anew.
func (p *pins) forget() { p.maps = make(map[string]*pinnedMap) }

// openPins finds the pins of a network namespace.
func openPins(t *testing.T, ns *testutil.NetNS) *pins {
	t.Helper()
	p := &pins{t: t}
	var cookie uint64
	var err error
	ns.Do(func() {
		if p.sysfs, err = mountSysfs(); err == nil {
			cookie, err = netnsCookie()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.sysfs) })
	p.dir = filepath.Join(pinnedRoot, strconv.FormatUint(cookie, 16))
	return p
}

// mountSysfs mounts the sysfs of the network namespace of the thread, nowhere.
func mountSysfs() (int, error) {
	fs, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
}

func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// open opens a map; nil if it is not pinned.
func (p *pins) open(path string) *ebpf.Map {
	p.t.Helper()
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// read reads a map; nil if it is not pinned.
func (p *pins) read(path string) *pinnedMap {
	p.t.Helper()
	m, is := p.maps[path]
	if !is {
		m = p.readAnew(path)
		p.maps[path] = m
	}
	return m
}

func (p *pins) readAnew(path string) *pinnedMap {
	p.t.Helper()
	m := p.open(path)
	if m == nil {
		return nil
	}
	defer m.Close()
	out := &pinnedMap{info: testutil.MapInfoOf(p.t, m.FD())}
	key, value := p.types(m, out.info)
	perCPU := m.Type() == ebpf.PerCPUArray || m.Type() == ebpf.PerCPUHash
	var k, one rawBytes
	var each []rawBytes
	into := any(&one)
	if perCPU {
		into = &each
	}
	it := m.Iterate()
	for it.Next(&k, into) {
		if !perCPU {
			each = []rawBytes{one}
		}
		e := element{key: decode(key, k)}
		for _, v := range each {
			e.values = append(e.values, decode(value, v))
		}
		out.elements = append(out.elements, e)
	}
	if err := it.Err(); err != nil {
		p.t.Fatalf("read %s: %v", path, err)
	}
	return out
}

// keyAndValue are two types.
type keyAndValue struct{ key, value btf.Type }

// typesOfMaps are those of maps that were read, by their ids.
var typesOfMaps sync.Map

// types are those of the key and the value of a map.
func (p *pins) types(m *ebpf.Map, info *testutil.MapInfo) (key, value btf.Type) {
	p.t.Helper()
	id := [...]uint32{info.BTFID, info.BTFKeyTypeID, info.BTFValueTypeID}
	if t, is := typesOfMaps.Load(id); is {
		return t.(keyAndValue).key, t.(keyAndValue).value
	}
	h, err := btf.NewHandleFromID(btf.ID(info.BTFID))
	if err != nil {
		p.t.Fatalf("BTF of map %s: %v", m, err)
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err == nil {
		key, err = spec.TypeByID(btf.TypeID(info.BTFKeyTypeID))
	}
	if err == nil {
		value, err = spec.TypeByID(btf.TypeID(info.BTFValueTypeID))
	}
	if err != nil {
		p.t.Fatalf("BTF of map %s: %v", m, err)
	}
	typesOfMaps.Store(id, keyAndValue{key, value})
	return key, value
}

// ifindex looks a netdev up in a devmap, which has no BTF; 0 for none.
func (p *pins) ifindex(devmap *ebpf.Map, key uint32) (ifindex uint32) {
	p.t.Helper()
	if err := devmap.Lookup(key, &ifindex); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		p.t.Fatal(err)
	}
	return ifindex
}

// decode reads numbers, and structs of them.
func decode(t btf.Type, b []byte) record {
	s, ok := btf.UnderlyingType(t).(*btf.Struct)
	if !ok {
		return record{"": number(b[:must(btf.Sizeof(t))])}
	}
	out := make(record)
	for _, m := range s.Members {
		for name, n := range decode(m.Type, b[m.Offset.Bytes():]) {
			if name != "" {
				name = "." + name
			}
			out[m.Name+name] = n
		}
	}
	return out
}

// number is the number in bytes of the machine.
func number(b []byte) (n uint64) {
	for i := range b {
		n |= uint64(b[i]) << (8 * i) // the virtual machine is little-endian
	}
	return n
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// trace reads a map that the machine has once.
func (p *pins) trace(name string) *pinnedMap {
	p.t.Helper()
	return p.read(filepath.Join(pinnedRoot, "trace", name))
}

// dev is a path in the directory of a netdev; "" if there is none, or if what is
// there says nothing.
func (p *pins) dev(ifindex uint64, name string) string {
	p.t.Helper()
	dir := filepath.Join(p.dir, strconv.FormatUint(ifindex, 10))
	netdev := p.open(filepath.Join(dir, "netdev"))
	if netdev == nil {
		return ""
	}
	defer netdev.Close()
	if p.ifindex(netdev, 0) == 0 {
		return ""
	}
	return filepath.Join(dir, name)
}

// devMap reads a map of a netdev.
func (p *pins) devMap(ifindex uint64, name string) *pinnedMap {
	p.t.Helper()
	if path := p.dev(ifindex, name); path != "" {
		return p.read(path)
	}
	return nil
}

// stats are the counters of a netdev that maps hold, and whether any has an entry
// for it.
func (p *pins) stats(ifindex uint64, dev string) (out record, held bool) {
	p.t.Helper()
	out = make(record)
	if lost := p.trace("exception_lost"); lost != nil && lost.elements[0].sum()["exceptions"] == 0 {
		var st unix.Stat_t
		if err := unix.Fstatat(p.sysfs, "class/net/"+dev, &st, 0); err != nil {
			p.t.Fatalf("stat %s: %v", dev, err)
		}
		e, is := p.exceptions(st.Ino)
		held = is
		for _, kind := range []string{"aborted", "tx", "redirect", "invalid"} {
			out["exception_"+kind] = e["native."+kind] + e["generic."+kind] + e["map."+kind]
		}
		for _, kind := range []string{"aborted", "invalid", "redirect_errors"} {
			out[kind] = e["native."+kind] + e["generic."+kind]
		}
	}
	if verdicts := p.meter(ifindex); verdicts != nil {
		held = true
		for name, n := range total(verdicts) {
			out[name] = n
		}
	}
	return out, held
}

// exceptions are those of the netdev that has a directory in sysfs.
func (p *pins) exceptions(inode uint64) (record, bool) {
	p.t.Helper()
	m := p.trace("exceptions")
	if m == nil {
		p.t.Fatal("there is no pin trace/exceptions beside trace/exception_lost")
	}
	for _, e := range m.elements {
		if e.key["device"] == inode {
			return e.sum(), true
		}
	}
	return nil, false
}

// otherQueues is where a meter has the queues that have no entry of their own.
const otherQueues = 1<<32 - 1

// meter reads the verdicts of a netdev by RX queue; nil if the meter is off.
func (p *pins) meter(ifindex uint64) map[uint64]record {
	p.t.Helper()
	m := p.devMap(ifindex, "meter")
	if m == nil {
		return nil
	}
	out := make(map[uint64]record)
	for _, e := range m.elements {
		queue := e.key[""]
		if queue == uint64(len(m.elements)-1) {
			queue = otherQueues
		}
		out[queue] = e.sum()
	}
	for _, path := range must(filepath.Glob(p.dev(ifindex, "meter-map-*"))) {
		for _, e := range p.read(path).elements {
			if e.key["ifindex"] == ifindex {
				out[e.key["queue"]].add(e.sum())
			}
		}
	}
	for _, verdicts := range out {
		var packets uint64
		for _, n := range verdicts {
			packets += n
		}
		verdicts["packets"] = packets
	}
	return out
}

// total is what a meter has counted of all queues.
func total(verdicts map[uint64]record) record {
	out := make(record)
	for _, v := range verdicts {
		out.add(v)
	}
	return out
}

// attr are the settings of a netdev that maps hold, and whether there are any.
func (p *pins) attr(ifindex uint64) (out record, held bool) {
	p.t.Helper()
	out = record{"enable_meter": 0, "enable_md": 0, "md_users": 0}
	if p.devMap(ifindex, "meter") != nil {
		out["enable_meter"], held = 1, true
	}
	m := p.devMap(ifindex, "settings")
	if m == nil {
		return out, held
	}
	s := m.elements[0].sum()
	if s["redirect"] == 0 {
		out["rings_num"] = 0
	}
	if s["md_users"] == 0 {
		return out, true
	}
	out["enable_md"], out["md_users"] = 1, s["md_users"]
	if md := p.devMap(ifindex, "metadata"); md != nil {
		out["md_btf_id"], out["md_type_id"] = uint64(md.info.BTFID), uint64(md.info.BTFValueTypeID)
	}
	return out, true
}

// ports is the table of ports, by port.
func (p *pins) ports() map[uint64]record {
	p.t.Helper()
	out := make(map[uint64]record)
	index := p.read(filepath.Join(p.dir, "port/xdp_port_index"))
	devmap := p.open(filepath.Join(p.dir, "port/xdp_port"))
	if devmap == nil {
		return out
	}
	defer devmap.Close()
	id := testutil.MapInfoOf(p.t, devmap.FD()).ID
	for _, e := range index.elements {
		port, ifindex := e.values[0]["port"], e.key["ifindex"]
		if uint64(p.ifindex(devmap, uint32(port))) == ifindex {
			out[port] = record{"ifindex": ifindex, "devmap_id": uint64(id), "index_map_id": uint64(index.info.ID)}
		}
	}
	return out
}

// prog is the program of a netdev or of an RX queue, as far as maps hold what is
// known of it; nil if they do not. The ids are those of the program, and of the
// dispatcher or 0, as the kernel has them of a netdev.
func (p *pins) prog(ifindex, queue, id, dispatcher uint64) record {
	p.t.Helper()
	books := p.devMap(ifindex, "books")
	if books == nil {
		return nil
	}
	for _, e := range books.elements {
		if e.key["prog_id"] != id || e.key["queue"] != queue {
			continue
		}
		out := record{"prog_id": id}
		for name, bit := range requiredBits {
			if e.values[0]["present"]&bit != 0 {
				out[name] = e.values[0][name]
			}
		}
		if dispatcher != 0 {
			out["prog_id"] = p.slot(ifindex, queue, dispatcher)
		}
		return out
	}
	return nil
}

// slot is the program that a dispatcher calls for a queue, or 0.
func (p *pins) slot(ifindex, queue, dispatcher uint64) uint64 {
	p.t.Helper()
	m := p.devMap(ifindex, fmt.Sprintf("queues-%d", dispatcher))
	if m == nil {
		return 0
	}
	if queue == otherQueues {
		queue = uint64(m.info.MaxEntries - 1)
	}
	for _, e := range m.elements {
		if e.key[""] == queue {
			return e.values[0]["prog_id"]
		}
	}
	return 0
}
