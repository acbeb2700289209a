// SPDX-License-Identifier: BSD-3-Clause

package objects

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// TestLacking loads what kernels before 6.9 and 6.4 do not have. They say no more
// than that it is invalid; the loader says why, and leaves nothing.
func TestLacking(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(c *ebpf.CollectionSpec)
		lacking    error
	}{
		{"map", "map points is of type Arena, which this kernel does not have: ",
			func(c *ebpf.CollectionSpec) { c.Maps["points"].Type = ebpf.Arena }, features.HaveMapType(ebpf.Arena)},
		{"program", "program count is of type Netfilter, which this kernel does not have: ",
			func(c *ebpf.CollectionSpec) { c.Programs["count"].Type = ebpf.Netfilter }, features.HaveProgramType(ebpf.Netfilter)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			s, err := loader.Open(object(t, "object"))
			if err != nil {
				t.Fatal(err)
			}
			tt.change(s.Collection)
			_, err = s.Load(context.Background(), loader.LoadOptions{Pinning: l.pins})
			if err == nil {
				t.Fatal("it was loaded")
			}
			lacks := errors.Is(tt.lacking, ebpf.ErrNotSupported)
			if strings.Contains(err.Error(), tt.want) != lacks || errors.Is(err, errors.ErrUnsupported) != lacks {
				t.Errorf("got %v; the kernel lacks it: %t", err, lacks)
			}
			if left := l.state(); len(left.Maps) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}
