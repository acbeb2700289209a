// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// seed is what a process that counts instructions has instead of random bytes to begin
// with. The runtime hashes by them: a type that a library looks up is a level deeper in
// a sync.Map or not, as long as the process lives. One lookup by cilium/ebpf of a value
// of two words was from 4,147 to 4,290 instructions in eight processes, and is 4,156 in
// each of eight that have the same seed.
const seed = "xdpctl-nl compare"

// auxRandom is AT_RANDOM: where the kernel has put 16 random bytes.
const (
	auxRandom  = 25
	randomSize = 16
)

// startSeeded starts a command as it is, but for the random bytes that it begins with.
func startSeeded(cmd *exec.Cmd) (err error) {
	// Who traces is a thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("seed %s: %w", cmd.Path, err), cmd.Process.Kill(), cmd.Wait())
		}
	}()
	// It stops when it is about to begin.
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return os.NewSyscallError("wait4", err)
	}
	if !status.Stopped() {
		return errors.New("it has ended")
	}
	at, err := randomOf(pid)
	if err != nil {
		return err
	}
	if _, err := unix.PtracePokeData(pid, at, []byte(seed)[:randomSize]); err != nil {
		return os.NewSyscallError("ptrace", err)
	}
	return os.NewSyscallError("ptrace", unix.PtraceDetach(pid))
}

// randomOf is the address of the random bytes of a process.
func randomOf(pid int) (uintptr, error) {
	aux, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, err
	}
	const word = 8
	for ; len(aux) >= 2*word; aux = aux[2*word:] {
		if binary.NativeEndian.Uint64(aux) == auxRandom {
			return uintptr(binary.NativeEndian.Uint64(aux[word:])), nil
		}
	}
	return 0, errors.New("it has no random bytes")
}
