// SPDX-License-Identifier: BSD-3-Clause

// Package ctlmap is the map door: XDP control over BPF control maps.
//
// A control map is an offloaded BPF hash map of the control device, a netdev
// of rtnl kind xdpctl. It stores nothing; the four map syscalls are the get,
// iterate, set and delete of a control type (see package family).
//
//   - [Open] gives a [Control], a [family.Control] with one map per type.
//   - [CreateMap] and [OpenMap] give a single map, to pin or to pass on.
//   - [FindDevice] finds or makes the control device of a netns.
//   - [Dumper] prints any control map by its BTF, also one with fields that
//     this binary has never heard of.
//
// Making a map needs CAP_SYS_ADMIN. After that the file descriptor is the
// permission to read; the module checks CAP_NET_ADMIN on its own where
// something changes.
package ctlmap
