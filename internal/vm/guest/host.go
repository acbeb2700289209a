// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/xdpctl/xdpctl-nl/internal/vm"
)

// host is the way to the host.
type host struct {
	output  *os.File
	control *os.File
	pid     atomic.Int64 // of the command, as long as it runs
	ended   chan struct{}
}

func openHost() (*host, error) {
	h := &host{ended: make(chan struct{})}
	for name, f := range map[string]**os.File{vm.PortOutput: &h.output, vm.PortControl: &h.control} {
		err := retry(10*time.Second, func() error {
			path, err := portPath(name)
			if err != nil {
				return err
			}
			*f, err = os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	go h.readOrders()
	return h, nil
}

// send sends a message. Without the host there is nobody to tell of an error.
func (h *host) send(m *vm.Message) {
	data, err := json.Marshal(m)
	if err != nil {
		logf("encode message: %v", err)
		return
	}
	if _, err := h.control.Write(append(data, '\n')); err != nil {
		logf("send message: %v", err)
	}
}

func (h *host) readOrders() {
	scanner := bufio.NewScanner(h.control)
	for scanner.Scan() {
		switch vm.Order(scanner.Text()) {
		case vm.OrderDump:
			h.dump()
		case vm.OrderEnd:
			close(h.ended)
			return
		}
	}
}

// dump makes everybody tell where they are: blocked tasks and processors on the
// console, Go programs in the output.
func (h *host) dump() {
	os.WriteFile("/proc/sys/kernel/printk", []byte("8"), 0)
	for _, key := range []string{"l", "w", "d"} {
		os.WriteFile("/proc/sysrq-trigger", []byte(key), 0)
	}
	if pid := int(h.pid.Load()); pid > 0 {
		syscall.Kill(-pid, syscall.SIGQUIT)
	}
}

// waitEnd waits until the host has everything, or does not seem to want it.
func (h *host) waitEnd() {
	select {
	case <-h.ended:
	case <-time.After(10 * time.Second):
	}
}

// run runs the command of the job with its output going to the host. It returns
// the command's status and the size of its output.
func (h *host) run(job *vm.Job) (status int, output int64, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, fmt.Errorf("run command: %w", err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, 0, fmt.Errorf("run command: %w", err)
	}
	defer null.Close()

	path, err := lookPath(job)
	if err != nil {
		return 0, 0, fmt.Errorf("run command: %w", err)
	}
	pid, err := syscall.ForkExec(path, job.Args, &syscall.ProcAttr{
		Dir:   job.Dir,
		Env:   job.Env,
		Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return 0, 0, fmt.Errorf("run %s in %s: %w", path, job.Dir, err)
	}
	h.pid.Store(int64(pid))
	copied := make(chan int64)
	go func() {
		n, _ := io.Copy(h.output, r)
		copied <- n
	}()
	status, err = reap(pid)
	h.pid.Store(0)
	if err != nil {
		return 0, 0, err
	}
	left := killAll(10 * time.Second)
	if len(left) > 0 {
		return 0, 0, fmt.Errorf("processes that cannot be killed: %s", strings.Join(left, ", "))
	}
	return status, <-copied, nil
}

// lookPath finds the program of the job with the PATH of the job.
func lookPath(job *vm.Job) (string, error) {
	for _, kv := range job.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	if err := os.Chdir(job.Dir); err != nil {
		return "", err
	}
	defer os.Chdir("/")
	return exec.LookPath(job.Args[0])
}

// reap waits for the process pid and, being the parent of all orphans, for
// those that end meanwhile. It returns the status as a shell reports it.
func reap(pid int) (int, error) {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait for process %d: %w", pid, err)
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		case got == pid && ws.Exited():
			return ws.ExitStatus(), nil
		}
	}
}

// killAll kills all other processes, so that nothing holds what should be gone.
// It returns those that did not die within the limit.
func killAll(limit time.Duration) []string {
	err := retry(limit, func() error {
		syscall.Kill(-1, syscall.SIGKILL)
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
			if err == syscall.ECHILD {
				return nil
			}
			if pid <= 0 && err != syscall.EINTR {
				return syscall.EBUSY
			}
		}
	})
	if err == nil {
		return nil
	}
	return children()
}

// children names the processes whose parent is this one.
func children() []string {
	var list []string
	data, err := os.ReadFile("/proc/1/task/1/children")
	if err != nil {
		return []string{"unknown"}
	}
	for _, pid := range strings.Fields(string(data)) {
		comm, _ := os.ReadFile("/proc/" + pid + "/comm")
		wchan, _ := os.ReadFile("/proc/" + pid + "/wchan")
		list = append(list, fmt.Sprintf("%s (%s, in %s)", pid, strings.TrimSpace(string(comm)), wchan))
	}
	return list
}
