// SPDX-License-Identifier: BSD-3-Clause

package bpf

import (
	"encoding/binary"
	"io"
	"os"
	"testing"
)

// XDP actions of linux/bpf.h.
const (
	xdpAborted = iota
	xdpDrop
	xdpPass
	xdpTx
	xdpRedirect
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loading a program needs root")
	}
}

// closing closes a skeleton after the test.
func closing(t *testing.T, s io.Closer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
}

func frame(etherType uint16, verdict byte) []byte {
	f := make([]byte, 60)
	copy(f, "\x02\x00\x00\x00\x00\x0d\x02\x00\x00\x00\x00\x0e")
	binary.BigEndian.PutUint16(f[12:], etherType)
	f[14] = verdict
	return f
}

func TestPass(t *testing.T) {
	needRoot(t)
	s, err := OpenAndLoadPass(nil)
	closing(t, s, err)
	got, _, err := s.Programs.Pass.Prog.Test(frame(EtherType, xdpDrop))
	if err != nil || got != xdpPass {
		t.Fatalf("verdict %d, error %v; want %d", got, err, xdpPass)
	}
}

func TestVerdict(t *testing.T) {
	needRoot(t)
	s, err := OpenAndLoadVerdict(nil)
	closing(t, s, err)
	const loopback = 1
	full := func() error { return s.Maps.VerdictPorts.Put(0, loopback) }

	for _, tt := range []struct {
		name    string
		prepare func() error
		frame   []byte
		want    uint32
	}{
		{"aborted", nil, frame(EtherType, xdpAborted), xdpAborted},
		{"drop", nil, frame(EtherType, xdpDrop), xdpDrop},
		{"pass", nil, frame(EtherType, xdpPass), xdpPass},
		{"tx", nil, frame(EtherType, xdpTx), xdpTx},
		{"redirect to nowhere", nil, frame(EtherType, xdpRedirect), xdpAborted},
		{"redirect", full, frame(EtherType, xdpRedirect), xdpRedirect},
		{"invalid", nil, frame(EtherType, 0xee), 0xee},
		{"other type", nil, frame(0x0800, xdpDrop), xdpPass},
		{"no payload", nil, frame(EtherType, xdpDrop)[:14], xdpPass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.prepare != nil {
				if err := tt.prepare(); err != nil {
					t.Fatal(err)
				}
			}
			got, out, err := s.Programs.Verdict.Prog.Test(tt.frame)
			if err != nil || got != tt.want {
				t.Fatalf("verdict %d, error %v; want %d", got, err, tt.want)
			}
			if got != xdpTx {
				return
			}
			if string(out[:6]) != string(tt.frame[6:12]) || string(out[6:12]) != string(tt.frame[:6]) {
				t.Errorf("addresses %x, want those of %x swapped", out[:12], tt.frame[:12])
			}
		})
	}
}

// A dispatcher whose functions nobody took the place of passes frames, whatever it
// is told to call; one after whose verdict nobody goes on ends the chain.
func TestDispatcher(t *testing.T) {
	needRoot(t)
	verdict := func(conf DispatcherXdpDispatcherConfig) uint32 {
		s, err := OpenDispatcher()
		closing(t, s, err)
		// libxdp knows the version by that.
		if n := s.Object().Spec.Maps[".rodata"].ValueSize; n != 124 {
			t.Fatalf("the configuration has %d bytes, want 124", n)
		}
		if err := s.Rodata.SetConf(conf); err != nil {
			t.Fatal(err)
		}
		if err := s.Load(nil); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Programs.XdpDispatcher.Prog.Test(make([]byte, 64))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for count := range uint8(11) {
		conf := DispatcherXdpDispatcherConfig{NumProgsEnabled: count}
		for i := range conf.ChainCallActions {
			conf.ChainCallActions[i] = 1 << 31
		}
		if got := verdict(conf); got != xdpPass {
			t.Errorf("%d programs: verdict %d, want %d", count, got, xdpPass)
		}
	}
	if got := verdict(DispatcherXdpDispatcherConfig{NumProgsEnabled: 1}); got != 31 {
		t.Errorf("verdict %d, want that of the function, 31", got)
	}
}
