// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// mapType is the type of the field of a map.
func (g *generator) mapType(name string, m *ebpf.MapSpec) string {
	key := func() string { return g.side(m.Key, m.KeySize, name+"_key") }
	value := func() string { return g.side(m.Value, m.ValueSize, name+"_value") }
	switch m.Type {
	case ebpf.Hash, ebpf.Array, ebpf.LRUHash, ebpf.LPMTrie, ebpf.DevMap, ebpf.DevMapHash,
		ebpf.CPUMap, ebpf.XSKMap, ebpf.SockMap, ebpf.SockHash, ebpf.StackTrace, ebpf.CGroupArray,
		ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CGroupStorage, ebpf.CgroupStorage,
		ebpf.ReusePortSockArray:
		return fmt.Sprintf("skel.Map[%s, %s]", key(), value())
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.PerCPUCGroupStorage:
		return fmt.Sprintf("skel.PerCPUMap[%s, %s]", key(), value())
	case ebpf.Queue, ebpf.Stack:
		return fmt.Sprintf("skel.Queue[%s]", value())
	case ebpf.ProgramArray:
		return "skel.ProgArray"
	case ebpf.RingBuf:
		return fmt.Sprintf("skel.RingBuf[%s]", g.record(m, name))
	case ebpf.PerfEventArray:
		return fmt.Sprintf("skel.PerfArray[%s]", g.record(m, name))
	case ebpf.ArrayOfMaps, ebpf.HashOfMaps:
		if m.InnerMap != nil {
			inner := g.mapType(name+"_inner", m.InnerMap)
			return fmt.Sprintf("skel.MapOfMaps[%s, %s, *%s]", key(), inner, inner)
		}
	}
	return "skel.RawMap"
}

// side is the type of keys or values: that of BTF, or by their size.
func (g *generator) side(t btf.Type, size uint32, hint string) string {
	if t != nil {
		gt, err := g.types.plain(t, hint)
		if err == nil && gt.size == size {
			return gt.expr
		}
	}
	switch size {
	case 4:
		return "uint32"
	case 8:
		return "uint64"
	}
	return bytesType(size).expr
}

// record is the type of records: a struct that the map has as its value.
func (g *generator) record(m *ebpf.MapSpec, name string) string {
	if m.Value != nil {
		switch first(bare(m.Value)).(type) {
		case *btf.Struct, *btf.Union:
			if gt, err := g.types.plain(m.Value, name+"_record"); err == nil {
				return gt.expr
			}
		}
	}
	return "struct{}"
}
