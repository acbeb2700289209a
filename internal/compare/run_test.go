// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

func TestMain(m *testing.M) {
	if os.Getenv(hashEnv) != "" {
		fmt.Println(hashed())
		os.Exit(0)
	}
	Main()
	os.Exit(m.Run())
}

// benchC is the program in C, empty if it has not been made.
func benchC(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../build/bench-c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// TestRun is on the machine's own kernel. Without the module there are the servers
// and the peers.
func TestRun(t *testing.T) {
	if err := unix.Access("/sys/kernel/btf/vmlinux", unix.R_OK); os.Geteuid() != 0 || err != nil {
		t.Skip("this takes root and a kernel with BTF")
	}
	c := benchC(t)
	said := 0
	r, err := Run(t.Context(), Options{
		Sizes: []int{10, 12, 14}, Rounds: 1, Budget: 1e5, C: c, Progress: func(string) { said++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if said == 0 || r.Driver != "veth" || r.RXQueues == 0 || r.TXQueues == 0 || r.Unit != Nanoseconds {
		t.Errorf("%d lines of progress; %+v", said, r)
	}
	got, unsupported := map[Way]int{}, map[Way]int{}
	for _, cell := range r.Cells {
		if cell.Skipped != "" {
			// It takes Linux 6.8 and a driver that has some.
			if cell.Type == "xdp-attr "+family.CommandSetupMD.String() {
				unsupported[cell.Way]++
				continue
			}
			if cell.Way == Embedded || cell.Way == Socket || cell.Layer == RawC && c != "" && cell.Way == Peer && cell.Type != peerNetdev {
				t.Errorf("skipped: %+v", cell)
			}
			continue
		}
		if cell.Min <= 0 || cell.Median <= 0 || cell.Median > cell.Max || len(cell.Histogram) == 0 || cell.SystemCalls <= 0 {
			t.Errorf("%+v", cell)
		}
		if cell.Equal != (cell.Way != Peer) {
			t.Errorf("%s %s by %s: equal %v", cell.Type, cell.Op, cell.Way, cell.Equal)
		}
		got[cell.Way]++
	}
	// Six tables to read in two operations, five things to change in two.
	for _, w := range []Way{Embedded, Socket} {
		if got[w]+unsupported[w] != 22 {
			t.Errorf("cells by way: %v, unsupported: %v", got, unsupported)
		}
	}
	var out bytes.Buffer
	if err := WriteText(&out, r); err != nil || !strings.Contains(out.String(), "xdp-stats") {
		t.Errorf("%v, printed:\n%s", err, &out)
	}
}

// TestRunCounted is how it is where instructions are counted, on a machine where they
// are nanoseconds: with a seed, late timers, and garbage that is collected by order.
func TestRunCounted(t *testing.T) {
	if err := unix.Access("/sys/kernel/btf/vmlinux", unix.R_OK); os.Geteuid() != 0 || err != nil {
		t.Skip("this takes root and a kernel with BTF")
	}
	r, err := Run(t.Context(), Options{
		Unit: Instructions, Types: []string{"xdp-prog"}, Sizes: []int{10, 12, 14}, Rounds: 1, Budget: 1e5, C: benchC(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for _, cell := range r.Cells {
		if (cell.Way == Embedded || cell.Way == Socket) && cell.measured() && cell.Min > 0 {
			served++
		}
	}
	if served != 8 || r.Unit != Instructions {
		t.Errorf("%d cells of servers in %s", served, r.Unit)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Unit: "hours"}, {Sizes: []int{10, 20}}, {Sizes: []int{10, 30, 20}}, {Sizes: []int{10, 20, 20}}, {Types: []string{"xdp"}},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// TestCancel wants a run that is given up to end.
func TestCancel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace takes root")
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Options{Progress: func(string) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestDecode wants of a step what was put into it.
func TestDecode(t *testing.T) {
	ports := tables(3)[5]
	var v family.Port
	v.SetIfindex(3)
	want := []entry{{family.PortKey{Port: portNumber}, v}, {family.PortKey{Port: portNumber}, v}}

	ch := &change{value: v}
	key, value := ports.elem(ch)
	got, err := decode(ports, &walk{}, bytes.Join([][]byte{key, value, key, value}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{}, family.Port{})); diff != "" {
		t.Errorf("elements, -want +got:\n%s", diff)
	}

	attrs := ports.attrs(ch)
	msg := append([]byte{byte(20 + len(attrs)), 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0}, attrs...)
	got, err = decode(ports, &message{}, append(msg, msg...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{}, family.Port{})); diff != "" {
		t.Errorf("messages, -want +got:\n%s", diff)
	}
	msg[0] = 0xff
	if _, err := decode(ports, &message{}, msg); err == nil {
		t.Error("a message that is cut off is taken")
	}
}
