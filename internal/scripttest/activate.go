// SPDX-License-Identifier: BSD-3-Clause

package scripttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// activateName is the name of a command that does what systemd does for a socket:
//
//	xdpctl-activate PATH COMMAND...
const activateName = "xdpctl-activate"

// activate listens on a socket and runs a command that gets it.
func activate() {
	fmt.Fprintln(os.Stderr, activateErr(os.Args[1], os.Args[2:]))
	os.Exit(3)
}

func activateErr(path string, command []string) error {
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 16))
	if err == nil && fd != 3 {
		err = unix.Dup3(fd, 3, 0)
	}
	if err != nil {
		return err
	}
	env := append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	return unix.Exec(program, command, env)
}
