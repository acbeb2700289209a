// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/cilium/ebpf/btf"

// Types of what is pinned, with the names by which bpftool prints it: those of the
// family where it has one for the same.
var (
	btfU16 = &btf.Int{Name: "unsigned short", Size: 2, Encoding: btf.Unsigned}
	btfU32 = &btf.Int{Name: "unsigned int", Size: 4, Encoding: btf.Unsigned}
	btfU64 = &btf.Int{Name: "unsigned long long", Size: 8, Encoding: btf.Unsigned}

	// The key of an array is an integer, whose name bpftool does not print.
	btfQueue = &btf.Int{Name: "queue", Size: 4, Encoding: btf.Unsigned}
)

func btfMember(name string, t btf.Type) btf.Member { return btf.Member{Name: name, Type: t} }

// btfStruct is a struct whose members follow each other without gaps.
func btfStruct(name string, members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: name, Members: members}
	for i := range members {
		members[i].Offset = btf.Bits(s.Size * 8)
		n, _ := btf.Sizeof(members[i].Type) // of integers and structs, which have one
		s.Size += uint32(n)
	}
	return s
}
