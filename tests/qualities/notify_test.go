// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// listen joins group mgmt without any capability.
func (w *world) listen(buffer int) *testutil.Genl {
	w.Helper()
	g := w.ns.NewGenl(w.T, family.FamilyName)
	if buffer != 0 {
		if err := unix.SetsockoptInt(g.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			w.Fatal(err)
		}
	}
	testutil.WithoutCaps(w.T, w.ns, testutil.AllCaps(), func() { g.Join("mgmt") })
	return g
}

// ready polls a descriptor without waiting.
func ready(t *testing.T, fd int, events int16) int16 {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	if _, err := unix.Poll(p, 0); err != nil {
		t.Fatal(err)
	}
	return p[0].Revents
}

// TestNotifications makes changes and waits to be told.
func TestNotifications(t *testing.T) {
	w := newWorld(t)
	m := w.control(family.CtrlTypeXDPProg)
	g := w.listen(0)
	expect(t, "poll of a socket before", ready(t, g.FD(), unix.POLLIN), 0)
	before := ready(t, m, unix.POLLIN|unix.POLLPRI)

	// By the one door, by the other, and by neither.
	w.attach(w.veth0, w.pass)
	if err := w.setMap(m, wholeDev(w.veth0), program(w.drop), family.UpdateExist); err != nil {
		t.Fatal(err)
	}
	w.ns.Del("veth0")
	var told []uint32
	for range 3 {
		for _, msg := range g.Receive() {
			expect(t, "command of a notification", msg.Cmd, family.CmdProgNtf)
			var k family.ProgKey
			var v family.Prog
			if err := v.DecodeAttrs(msg.Attrs, &k); err != nil {
				t.Fatal(err)
			}
			expect(t, "netdev of a notification", k.Ifindex, w.veth0)
			told = append(told, v.ProgID)
		}
	}
	expect(t, "programs told of", fmt.Sprint(told), fmt.Sprint([]uint32{w.pass.ID, w.drop.ID, 0}))
	expect(t, "poll of a socket when all is told", ready(t, g.FD(), unix.POLLIN), 0)
	expect(t, "poll of a map before", before, int16(unix.POLLERR))
	expect(t, "poll of a map after", ready(t, m, unix.POLLIN|unix.POLLPRI), int16(unix.POLLERR))

	// More than a listener has room for.
	slow := w.listen(1)
	const changes = 100
	for i := range changes {
		w.attach(w.dummy0, []*testutil.Prog{w.pass, w.drop}[i%2])
	}
	buf := make([]byte, 32<<10)
	lost := unix.Errno(0)
	got := 0
	for lost == 0 && got < changes {
		_, _, err := unix.Recvfrom(slow.FD(), buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		lost = errno(t, err)
		if lost == 0 {
			got++
		}
	}
	expect(t, "loss", lost, unix.ENOBUFS)

	line(t, compare.Quality{
		Name:     "notifications",
		Question: "Who learns of a change that somebody else makes?",
		Netlink: fmt.Sprintf("Who has joined group mgmt, which takes no capability: of a change over netlink, of one through a map, and of a netdev that went, 1 message each, with what is there now. Who is too slow is told that something is missing (%s).",
			name(lost)),
		Map: "Nobody. poll(2) on a map answers POLLERR at once, before a change as after it. Who wants to know reads again.",
	})
}
