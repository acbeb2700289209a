// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The same client makes the same request over each transport and of the kernel:
// nlctrl is asked for itself. "constant" is an operation whose reply is one
// number, which the kernel has not got. Client and server are one process, but
// for "process".
func BenchmarkTransport(b *testing.B) {
	bed := newBed(b, ServerOptions{})
	ctx := context.Background()
	ctrl := familyRequest("family nlctrl")
	ctrl.Attrs = AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, "nlctrl")
	constant := bed.request(bedGet, AppendUint32(nil, bedValue, 1))

	do := func(c *Conn, req Request, oneReply bool) func(b *testing.B) {
		return func(b *testing.B) {
			req.OneReply = oneReply
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Do(ctx, req, func(m Message) error { n += len(m.Attrs); return nil }); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	dump := func(c *Conn, req Request) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cur := c.Dump(ctx, req)
				for cur.Next() {
				}
				if err := cur.Err(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	kernel := dialKernel(b)
	b.Run("kernel/one-reply", do(kernel, ctrl, true))
	b.Run("kernel/acknowledged", do(kernel, ctrl, false))
	b.Run("kernel/dump", dump(kernel, familyRequest("families")))
	ways := bed.ways()
	ways["process"] = serverProcess(b)
	for _, way := range []string{"in-process", "unix", "process"} {
		c := bed.conn(b, ways[way])
		b.Run(way+"/one-reply", do(c, ctrl, true))
		b.Run(way+"/acknowledged", do(c, ctrl, false))
		b.Run(way+"/constant", do(c, constant, true))
		many := bed.request(bedGet, AppendUint32(nil, bedValue, 5000))
		b.Run(way+"/dump-5000", dump(c, many))
	}
}

// serverProcess starts another process that is as newBed makes them.
func serverProcess(tb testing.TB) func() (Transport, error) {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestServerProcess$")
	cmd.Env = append(os.Environ(), "GENL_SERVER_PROCESS=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	path, err := out.ReadString('\n')
	tb.Cleanup(func() {
		stdin.Close()
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			tb.Errorf("server process: %v", err)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	return func() (Transport, error) { return DialUnix(strings.TrimSpace(path)) }
}

// TestServerProcess is what serverProcess starts.
func TestServerProcess(t *testing.T) {
	if os.Getenv("GENL_SERVER_PROCESS") == "" {
		return
	}
	b := newBed(t, ServerOptions{})
	fmt.Println(b.path)
	io.Copy(io.Discard, os.Stdin)
	close(b.hang)
}
