// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// calls are the system calls of a process, and the bytes that those for messages
// copy.
type calls struct {
	Calls, Sent, Received uint64
}

func (c calls) minus(o calls) calls {
	return calls{c.Calls - o.Calls, c.Sent - o.Sent, c.Received - o.Received}
}

// counter counts system calls of processes, by programs at the tracepoints where
// they begin and end.
type counter struct {
	counts, ids *ebpf.Map
	progs       []*ebpf.Program
	links       []link.Link
}

func newCounter() (c *counter, err error) {
	c = &counter{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("count system calls: %w", err), c.Close())
			c = nil
		}
	}()
	spec := ebpf.MapSpec{Name: "compare_calls", Type: ebpf.Hash, KeySize: 4, ValueSize: 24, MaxEntries: 64}
	if c.counts, err = ebpf.NewMap(&spec); err != nil {
		return c, err
	}
	spec = ebpf.MapSpec{Name: "compare_ids", Type: ebpf.LRUHash, KeySize: 4, ValueSize: 8, MaxEntries: 1024}
	if c.ids, err = ebpf.NewMap(&spec); err != nil {
		return c, err
	}
	for name, insns := range map[string]asm.Instructions{"sys_enter": c.enter(), "sys_exit": c.exit()} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.RawTracepoint, Instructions: insns, License: "GPL"})
		if err != nil {
			return c, err
		}
		c.progs = append(c.progs, p)
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: p})
		if err != nil {
			return c, err
		}
		c.links = append(c.links, l)
	}
	return c, nil
}

func (c *counter) Close() error {
	var errs []error
	for _, l := range c.links {
		errs = append(errs, l.Close())
	}
	for _, p := range c.progs {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, c.counts.Close(), c.ids.Close())...)
}

// find is what both programs begin with: the context in R6, the thread in R7, and
// in R8 the counts of the process, if they are asked for.
func (c *counter) find() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetCurrentPidTgid.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.RSh.Imm(asm.R0, 32),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, c.counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.StoreMem(asm.RFP, -4, asm.R7, asm.Word),
	}
}

func out() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return()}
}

// enter counts, and remembers for exit which call it was. A process that runs
// another program begins with 0.
func (c *counter) enter() asm.Instructions {
	return append(append(c.find(),
		asm.LoadMem(asm.R9, asm.R6, 8, asm.DWord),
		asm.JNE.Imm(asm.R9, unix.SYS_EXECVE, "count"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.R8, 0, asm.R1, asm.DWord),
		asm.StoreMem(asm.R8, 8, asm.R1, asm.DWord),
		asm.StoreMem(asm.R8, 16, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("count"),
		asm.AddAtomic.Mem(asm.R8, asm.R1, asm.DWord, 0),
		asm.StoreMem(asm.RFP, -16, asm.R9, asm.DWord),
		asm.LoadMapPtr(asm.R1, c.ids.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
	), out()...)
}

// exit adds up the bytes of messages.
func (c *counter) exit() asm.Instructions {
	return append(append(c.find(),
		asm.LoadMem(asm.R9, asm.R6, 8, asm.DWord),
		asm.JSLE.Imm(asm.R9, 0, "out"),
		asm.LoadMapPtr(asm.R1, c.ids.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.JEq.Imm(asm.R1, unix.SYS_SENDTO, "sent"),
		asm.JEq.Imm(asm.R1, unix.SYS_SENDMSG, "sent"),
		asm.JEq.Imm(asm.R1, unix.SYS_RECVFROM, "received"),
		asm.JEq.Imm(asm.R1, unix.SYS_RECVMSG, "received"),
		asm.Ja.Label("out"),
		asm.AddAtomic.Mem(asm.R8, asm.R9, asm.DWord, 8).WithSymbol("sent"),
		asm.Ja.Label("out"),
		asm.AddAtomic.Mem(asm.R8, asm.R9, asm.DWord, 16).WithSymbol("received"),
	), out()...)
}

// watch begins to count a process.
func (c *counter) watch(pid int) error { return c.counts.Put(uint32(pid), calls{}) }

// forget ends that.
func (c *counter) forget(pid int) error { return c.counts.Delete(uint32(pid)) }

// of are the counts of a process.
func (c *counter) of(pid int) (n calls, err error) {
	err = c.counts.Lookup(uint32(pid), &n)
	return n, err
}

// rounds is how often an operation is counted. Others of the runtime only add to
// it, so that the least counts.
const rounds = 5

// count is what an operation costs in system calls, of the first process in
// messages, by the mean of n operations.
func (c *counter) count(n int, pids []int, op, undo func() error) (callCount float64, bytes calls, err error) {
	// Each look at the counts of a process is a call of ours.
	own := uint64(n * len(pids))
	callCount = -1
	for range rounds {
		sum, first, err := c.round(n, pids, op, undo)
		if err != nil {
			return 0, bytes, err
		}
		if one := float64(int64(sum-own)) / float64(n); callCount < 0 || one < callCount {
			callCount, bytes = max(one, 0), first
		}
	}
	bytes.Sent /= uint64(n)
	bytes.Received /= uint64(n)
	return callCount, bytes, nil
}

// round adds up n operations.
func (c *counter) round(n int, pids []int, op, undo func() error) (sum uint64, first calls, err error) {
	for range n {
		before := make([]calls, len(pids))
		for i, pid := range pids {
			if before[i], err = c.of(pid); err != nil {
				return 0, first, err
			}
		}
		if err := op(); err != nil {
			return 0, first, err
		}
		for i, pid := range pids {
			after, err := c.of(pid)
			if err != nil {
				return 0, first, err
			}
			diff := after.minus(before[i])
			sum += diff.Calls
			if i == 0 {
				first.Sent += diff.Sent
				first.Received += diff.Received
			}
		}
		if undo != nil {
			if err := undo(); err != nil {
				return 0, first, err
			}
		}
	}
	return sum, first, nil
}
