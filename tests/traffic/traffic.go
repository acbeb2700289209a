// SPDX-License-Identifier: BSD-3-Clause

// Package traffic sends known numbers of test frames and counts those that
// arrive. The frames are those that the program bpf/verdict.bpf.c answers with
// the verdict they ask for.
//
// Nothing in it waits for a time to pass: a sender goes on when the receiver
// has taken what was sent, and a counter returns when what is expected has
// come, or fails when the context ends.
package traffic

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// Verdict is what a test frame asks for: an XDP action, or anything else for
// an invalid one.
type Verdict byte

// The verdicts, with the values of enum xdp_action.
const (
	Aborted  Verdict = 0
	Drop     Verdict = 1
	Pass     Verdict = 2
	Tx       Verdict = 3
	Redirect Verdict = 4
	Invalid  Verdict = 0xee
)

// Verdicts are all kinds of frames.
var Verdicts = []Verdict{Pass, Drop, Tx, Redirect, Aborted, Invalid}

var verdictNames = map[Verdict]string{
	Aborted: "aborted", Drop: "drop", Pass: "pass", Tx: "tx", Redirect: "redirect",
	Invalid: "invalid",
}

// String returns the name of the counter that counts v.
func (v Verdict) String() string {
	if s, ok := verdictNames[v]; ok {
		return s
	}
	return fmt.Sprintf("verdict %#x", byte(v))
}

// Counts is a number of frames by verdict.
type Counts map[Verdict]uint64

// Total is the number of all frames.
func (c Counts) Total() uint64 {
	var n uint64
	for _, v := range c {
		n += v
	}
	return n
}

// Equal reports whether c and other count the same; a verdict without an entry
// is 0.
func (c Counts) Equal(other Counts) bool {
	for _, m := range []Counts{c, other} {
		for v := range m {
			if c[v] != other[v] {
				return false
			}
		}
	}
	return true
}

// exceeds reports whether c has more than limit of any verdict.
func (c Counts) exceeds(limit Counts) bool {
	for v, n := range c {
		if n > limit[v] {
			return true
		}
	}
	return false
}

// String lists the counts by verdict, as "2 drop, 3 pass".
func (c Counts) String() string {
	keys := slices.SortedFunc(maps.Keys(c), cmp.Compare[Verdict])
	var parts []string
	for _, v := range keys {
		if c[v] != 0 {
			parts = append(parts, fmt.Sprintf("%d %v", c[v], v))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Until calls cond until it says true or fails, or until ctx ends; then the
// error says what was waited for.
func Until(ctx context.Context, what string, cond func() (bool, error)) error {
	// The emulated processor is slow and the condition may cost a system
	// call, so look again soon at first, then less often.
	const longest = 20 * time.Millisecond
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, longest) {
		ok, err := cond()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// htons returns v as the kernel wants it in a sockaddr.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// ifindex returns the index of netdev name in the namespace of the caller.
func ifindex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("find netdev %q: %w", name, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, fmt.Errorf("find netdev %q: %w", name, err)
	}
	return int(req.Uint32()), nil
}

// packetSocket opens a raw socket on netdev dev of the namespace at netns that
// receives frames of type proto, none if that is 0.
func packetSocket(netns, dev string, proto uint16) (fd, index int, err error) {
	err = InNetNS(netns, func() error {
		var err error
		if index, err = ifindex(dev); err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		return nil
	})
	if err != nil {
		return -1, 0, err
	}
	if proto == bpf.EtherType {
		if err := prepareCounter(fd); err != nil {
			unix.Close(fd)
			return -1, 0, err
		}
	}
	addr := &unix.SockaddrLinklayer{Protocol: htons(proto), Ifindex: index}
	if err := unix.Bind(fd, addr); err != nil {
		unix.Close(fd)
		return -1, 0, fmt.Errorf("bind to netdev %s: %w", dev, err)
	}
	return fd, index, nil
}
