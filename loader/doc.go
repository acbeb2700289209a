// SPDX-License-Identifier: BSD-3-Clause

// Package loader does what stands between a BPF object file and an XDP program
// that runs on a netdev, in steps: [Open] reads the file and asks nothing of the
// kernel, the [Spec] can be changed, [Spec.Load] loads it and pins its maps, and
// [Object.Attach] attaches a program through any door; [LoadAndAttach] is all of
// them. Objects for iproute2 as it was before libbpf are read too. [Spec.Join] puts
// a program behind a dispatcher of libxdp.
//
// [Requires] tells what a program needs of the netdev, before anything is loaded,
// and [PortMaps] gives it the maps of the port table.
package loader
