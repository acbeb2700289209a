// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// replayer is the program in C, which makes the system calls that it is told.
type replayer struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	fds    map[int]int // its numbers of ours
}

// answer is what it says.
type answer struct {
	samples
	Reply   string `json:"reply"`
	Entries int    `json:"entries"`
}

// firstExtra is the number of the first file descriptor that is passed on.
const firstExtra = 3

// startReplayer starts the program, with file descriptors to pass on.
func startReplayer(ctx context.Context, path string, fds []int) (*replayer, error) {
	r := &replayer{cmd: exec.CommandContext(ctx, path, "replay"), fds: make(map[int]int)}
	r.cmd.Stderr = os.Stderr
	for i, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		f := os.NewFile(uintptr(dup), "")
		defer f.Close()
		r.cmd.ExtraFiles = append(r.cmd.ExtraFiles, f)
		r.fds[fd] = firstExtra + i
	}
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.stdout = bufio.NewReader(stdout)
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return r, nil
}

func (r *replayer) Close() error {
	return errors.Join(r.stdin.Close(), r.cmd.Wait())
}

// ask has it do a line.
func (r *replayer) ask(line string) (*answer, error) {
	if _, err := io.WriteString(r.stdin, line+"\n"); err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	out, err := r.stdout.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	a := new(answer)
	if err := json.Unmarshal(out, a); err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	return a, nil
}

func (r *replayer) fd(ours int) int { return r.fds[ours] }

// show does a step and returns what it reads.
func (r *replayer) show(s step) ([]byte, error) {
	a, err := r.ask("show " + s.line(r.fd))
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(a.Reply)
}

func (r *replayer) repeat(n int, s step) error {
	_, err := r.ask(fmt.Sprintf("repeat %d %s", n, s.line(r.fd)))
	return err
}

// measure measures a step that undo undoes, if there is one, as w would.
func (r *replayer) measure(w *watch, cost float64, s, undo step) (*samples, error) {
	_, batchCount, singleCount := amounts(cost, w.budget)
	batchCount = max(batchCount, w.least)
	if w.coarse {
		singleCount = 1
		if cost > longShare*w.budget {
			batchCount = w.longCount(cost)
		}
	}
	line := fmt.Sprintf("measure %d %d %d %d %s", w.clock[0], batchCount, singleCount, batchCost, s.line(r.fd))
	if undo != nil {
		line += " ; " + undo.line(r.fd)
	}
	a, err := r.ask(line)
	if err != nil {
		return nil, err
	}
	if len(a.Batches) == 0 || len(a.Singles) == 0 {
		return nil, fmt.Errorf("%s: nothing was measured", line)
	}
	return &a.samples, nil
}
