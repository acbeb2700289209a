// SPDX-License-Identifier: BSD-3-Clause

// Package skeltest are BPF objects with all that a skeleton can have, their
// skeletons, and tests that run them. The tests run on the machine's kernel, in
// the virtual machine, and in a module of their own.
package skeltest

//go:generate make -s all
//go:generate go run ../skelgen/cmd kconfig.bpf.o kconfig_skel.go
//go:generate go run ../skelgen/cmd links.bpf.o links_skel.go
//go:generate go run ../skelgen/cmd -name MapTypes maps.bpf.o maps_skel.go
//go:generate go run ../skelgen/cmd -name NoBTF nobtf.bpf.o nobtf_skel.go
//go:generate go run ../skelgen/cmd -name OpsLink opslink.bpf.o opslink_skel.go
//go:generate go run ../skelgen/cmd -name OpsUpdate -inline opsupdate.bpf.o opsupdate_skel.go
//go:generate go run ../skelgen/cmd vars.bpf.o vars_skel.go
