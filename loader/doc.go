// SPDX-License-Identifier: BSD-3-Clause

// Package loader does what stands between a BPF object file and an XDP program
// that runs on a netdev: it tells what the program needs of the netdev, before
// anything is loaded, and gives it the maps of the port table.
package loader
