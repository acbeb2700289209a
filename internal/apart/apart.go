// SPDX-License-Identifier: BSD-3-Clause

// Package apart runs a program with mounts of its own, so that what it pins and
// names is gone with it, whatever ends it.
package apart

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// BPFFS is where there is an empty BPF file system, and RunDir where ip(8) keeps
// names of network namespaces and servers have their sockets, which is empty too.
const (
	BPFFS  = "/sys/fs/bpf"
	RunDir = "/run"
)

// mark is in the environment of the process that is apart.
const mark = "XDPCTL_APART"

// Enter runs the program again, apart, and ends with its status. In the program
// that is run so it returns nil.
func Enter() error {
	if os.Getenv(mark) != "" {
		return mounts()
	}
	if os.Geteuid() != 0 {
		return errors.New("mounts of its own take root")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The mounts become private with that.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		os.Exit(exit.ExitCode()) // it has said why
	}
	if err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

func mounts() error {
	if err := os.Unsetenv(mark); err != nil {
		return err
	}
	if err := unix.Mount("bpf", BPFFS, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w", BPFFS, err)
	}
	if err := unix.Mount("tmpfs", RunDir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", RunDir, err)
	}
	return nil
}
