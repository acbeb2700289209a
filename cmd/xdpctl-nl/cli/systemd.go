// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// firstListenFD is where systemd puts the sockets that it passes on:
// sd_listen_fds(3).
const firstListenFD = 3

// inherited is the socket that the process was started with by systemd, nil if it
// was started otherwise.
func inherited(getenv func(string) string) (*genl.UnixListener, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if n := getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("socket activation: %s sockets were passed, expected 1", n)
	}
	unix.CloseOnExec(firstListenFD)
	f := os.NewFile(firstListenFD, socketName(firstListenFD))
	defer f.Close()
	l, err := genl.UnixListenerOf(f)
	if err != nil {
		return nil, &hinted{fmt.Errorf("socket activation: %w", err), "The socket's unit must have ListenSequentialPacket=PATH"}
	}
	return l, nil
}

// socketName is where a socket is bound.
func socketName(fd int) string {
	if sa, err := unix.Getsockname(fd); err == nil {
		if u, ok := sa.(*unix.SockaddrUnix); ok {
			return u.Name
		}
	}
	return fmt.Sprintf("fd %d", fd)
}

// notify tells systemd how the process is, if it wants to know: sd_notify(3).
func notify(getenv func(string) string, state string) error {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
