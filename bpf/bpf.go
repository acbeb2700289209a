// SPDX-License-Identifier: BSD-3-Clause

// Package bpf holds the project's BPF programs, compiled, with their skeletons.
package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/skel"
)

//go:generate make -s all
//go:generate go run ../internal/skelgen/cmd dispatcher.bpf.o dispatcher_skel.go
//go:generate go run ../internal/skelgen/cmd exception.bpf.o exception_skel.go
//go:generate go run ../internal/skelgen/cmd metadata.bpf.o metadata_skel.go
//go:generate go run ../internal/skelgen/cmd monitor.bpf.o monitor_skel.go
//go:generate go run ../internal/skelgen/cmd pass.bpf.o pass_skel.go
//go:generate go run ../internal/skelgen/cmd port.bpf.o port_skel.go
//go:generate go run ../internal/skelgen/cmd verdict.bpf.o verdict_skel.go

// Names in the objects.
const (
	// DispatcherProgram calls up to ten programs that take the place of its
	// functions prog0 to prog9, as DispatcherConfig says: the dispatcher of
	// libxdp, version 2 of its protocol.
	DispatcherProgram = "xdp_dispatcher"
	// DispatcherConfig is the variable of DispatcherProgram that says which.
	DispatcherConfig = "conf"
	// ExceptionProgram counts XDP exceptions at their tracepoint.
	ExceptionProgram = "xdpctl_exception"
	// ExceptionRedirectProgram counts failed redirects at theirs.
	ExceptionRedirectProgram = "xdpctl_redir_err"
	// ExceptionSweepProgram takes away the counters of netdevs that are
	// gone, when BPF_PROG_TEST_RUN runs it.
	ExceptionSweepProgram = "xdpctl_sweep"
	// ExceptionCounts is the map of the three with the counters by netdev.
	ExceptionCounts = "exceptions"
	// ExceptionDevices is the map with the netdevs that have counters.
	ExceptionDevices = "exception_devices"
	// ExceptionLost is the map that says how many could not be counted.
	ExceptionLost = "exception_lost"
	// MonitorProgram counts XDP exceptions in a network namespace at their
	// tracepoint, and wakes who listens.
	MonitorProgram = "monitor"
	// MonitorCounts is the map of MonitorProgram with counters by netdev and
	// kind of exception.
	MonitorCounts = "monitor_counts"
	// MonitorAwake is the map with those that somebody was woken for.
	MonitorAwake = "monitor_awake"
	// MonitorRing is the ring buffer that wakes, with the keys of
	// MonitorCounts.
	MonitorRing = "monitor_ring"
	// MonitorLost is the map that says how many could not be counted.
	MonitorLost = "monitor_lost"
	// PassProgram passes every frame.
	PassProgram = "pass"
	// PortProgram sends a test frame out of the port that it asks for. It
	// needs the maps of the module: see loader.PortMaps.
	PortProgram = "port"
	// VerdictProgram answers a test frame with the verdict it asks for.
	VerdictProgram = "verdict"
	// VerdictPorts is the devmap of VerdictProgram. Frames that ask for
	// XDP_REDIRECT go to the netdev in its entry 0, and are aborted if the
	// entry is empty.
	VerdictPorts = "verdict_ports"
)

// EtherType is the type of the test frames that VerdictProgram answers: IEEE
// 802 local experimental 1. The byte after the Ethernet header is the verdict
// asked for.
const EtherType = 0x88b5

// bound is BPF_F_XDP_DEV_BOUND_ONLY.
const bound = 1 << 6

// LoadDispatcher returns the spec of dispatcher.bpf.c. It needs no kernel.
func LoadDispatcher() (*ebpf.CollectionSpec, error) {
	return spec(OpenDispatcher())
}

// LoadException returns the spec of exception.bpf.c. It needs no kernel; the
// programs need one that has BTF of itself.
func LoadException() (*ebpf.CollectionSpec, error) {
	return spec(OpenException())
}

// Bind lets the program of s be loaded for the netdev ifindex, in its network
// namespace; it can be attached to no other. It needs a kernel of 6.3 or later.
func (s *Metadata) Bind(ifindex uint32) {
	prog := s.Programs.Metadata.Spec
	prog.Flags |= bound
	prog.Ifindex = ifindex
}

// LoadMonitor returns the spec of monitor.bpf.c, whose program looks at the
// network namespace with a cookie. It needs no kernel; the program needs one that
// has BTF of itself.
func LoadMonitor(netns uint64) (*ebpf.CollectionSpec, error) {
	s, err := spec(OpenMonitor())
	if err != nil {
		return nil, err
	}
	if err := s.Variables["monitor_netns"].Set(netns); err != nil {
		return nil, fmt.Errorf("load monitor: %w", err)
	}
	return s, nil
}

// LoadPass returns the spec of pass.bpf.c. It needs no kernel.
func LoadPass() (*ebpf.CollectionSpec, error) {
	return spec(OpenPass())
}

// LoadPort returns the spec of port.bpf.c. It needs no kernel.
func LoadPort() (*ebpf.CollectionSpec, error) {
	return spec(OpenPort())
}

// LoadVerdict returns the spec of verdict.bpf.c. It needs no kernel.
func LoadVerdict() (*ebpf.CollectionSpec, error) {
	return spec(OpenVerdict())
}

// spec returns what a skeleton would load.
func spec[S interface{ Object() *skel.Object }](s S, err error) (*ebpf.CollectionSpec, error) {
	if err != nil {
		return nil, err
	}
	return s.Object().Spec, nil
}
