// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Sizes of the parts of a dump: at least what fits into a page beside struct
// skb_shared_info, at most into 32 KiB.
const (
	minPart = 4096 - skbShared
	maxPart = 32768 - skbShared
	doneLen = headerLen + 4
)

// serverDump is the dump of a socket (struct netlink_callback).
type serverDump struct {
	running bool
	fam     *served
	op      *servedOp
	cursor  DumpCursor
	req     ServerRequest
	msg     []byte // the request
	w       DumpWriter

	over  bool          // the cursor is at its end
	errno syscall.Errno // with this
	gone  bool          // the family is
}

// DumpWriter is where a [DumpCursor] writes the messages of a dump.
type DumpWriter struct {
	k     *ServerSocket
	d     *serverDump
	part  []byte
	limit int    // of part
	later []byte // messages for the next part

	generation, before uint32
	ext                extAck
}

// Write writes a message of the command that was asked for, with these
// attributes.
func (w *DumpWriter) Write(attrs []byte) {
	w.WriteMessage(Message{Command: w.d.req.Command, Version: w.d.fam.Version, Attrs: attrs})
}

// WriteMessage writes any message of the family.
func (w *DumpWriter) WriteMessage(m Message) {
	n := messageLen(w.d.fam, &m)
	if len(w.later) > 0 || len(w.part)+n > w.limit {
		w.later = w.append(w.later, &m)
		return
	}
	start := len(w.part)
	w.part = w.append(w.part, &m)
	w.check(w.part[start:])
}

func (w *DumpWriter) append(b []byte, m *Message) []byte {
	b = w.d.fam.appendMessage(b, unix.NLM_F_MULTI, nlmsg(w.d.msg).seq(), w.k.portID, m)
	return appendPadding(b, len(b))
}

// messageLen returns how much room a message takes.
func messageLen(f *served, m *Message) int {
	return headerLen + genlHeaderLen + align(f.HeaderSize) + align(len(m.Attrs))
}

// Room returns how many bytes of attributes a message can have, to go into this
// part of the dump.
func (w *DumpWriter) Room() int {
	return max(0, w.limit-len(w.part)-len(w.later)-messageLen(w.d.fam, &Message{}))
}

// Empty tells whether the part has no message yet.
func (w *DumpWriter) Empty() bool { return len(w.part)+len(w.later) == 0 }

// Consistent tells the generation of what is dumped from now on. If it changes
// during the dump, the reader is told with NLM_F_DUMP_INTR by the next message
// (cb->seq, nl_dump_check_consistent). 0 is no generation.
func (w *DumpWriter) Consistent(generation uint32) { w.generation = generation }

// Warn adds a text to the end of the dump, if that comes in this part.
func (w *DumpWriter) Warn(msg string) { w.ext.msg = msg }

// check marks a message if the dump is not consistent.
func (w *DumpWriter) check(m []byte) {
	if w.before != 0 && w.generation != w.before {
		ne.PutUint16(m[6:], ne.Uint16(m[6:])|unix.NLM_F_DUMP_INTR)
	}
	w.before = w.generation
}

// refill moves messages that had no room in the part before to this one. Returns
// false if there are more.
func (w *DumpWriter) refill() bool {
	b := w.later
	for len(b) > 0 {
		n := align(int(ne.Uint32(b)))
		if len(w.part)+n > w.limit {
			break
		}
		start := len(w.part)
		w.part = append(w.part, b[:n]...)
		w.check(w.part[start:])
		b = b[n:]
	}
	w.later = append(w.later[:0], b...)
	return len(b) == 0
}

// dumpBegun is no error: the request is acknowledged by the dump. In the kernel
// that is EINTR, which no handler had better return.
const dumpBegun syscall.Errno = 1 << 16

// startDump begins a dump and makes its first part (__netlink_dump_start,
// genl_start).
func (k *ServerSocket) startDump(f *served, op *servedOp, m nlmsg) syscall.Errno {
	k.dumpMu.Lock()
	defer k.dumpMu.Unlock()
	d := &k.dump
	if d.running {
		return unix.EBUSY
	}
	d.msg = append(d.msg[:0], m...)
	r := &d.req
	r.ctx, r.fds = k.ctx, k.req.fds
	errno := r.parse(k, f, op, d.msg, op.dump, op.Validate&DontValidateDumpStrict != 0, &k.ext)
	if errno == 0 {
		var err error
		if d.cursor, err = op.Dump.StartDump(r); err != nil {
			errno = k.refuseDump(err)
		}
		if errno == 0 && d.cursor == nil {
			d.cursor = DumpSlice()
		}
	}
	if len(k.req.fds) > 0 {
		k.req.fds = k.req.fds[min(r.fdCount(), len(k.req.fds)):]
	}
	r.fds = nil
	if errno != 0 {
		return errno
	}
	d.running, d.fam, d.op = true, f, op
	d.over, d.errno, d.gone = false, 0, false
	d.w = DumpWriter{k: k, d: d, later: d.w.later[:0]}
	if errno := k.part(); errno != 0 {
		return errno
	}
	return dumpBegun
}

// refuseDump is refuse for a dump that does not begin. Linux 6.1 tells no more
// than the errno of that.
func (k *ServerSocket) refuseDump(err error) syscall.Errno {
	if k.srv.old {
		return new(extAck).refuse(err)
	}
	return k.ext.refuse(err)
}

// advance makes the next part of a dump if there is one under way and the reader
// keeps up (netlink_recvmsg).
func (k *ServerSocket) advance() {
	k.dumpMu.Lock()
	defer k.dumpMu.Unlock()
	if !k.dump.running {
		return
	}
	k.mu.Lock()
	behind := k.rmem > k.rcvbuf/2
	k.mu.Unlock()
	if behind {
		return
	}
	if k.dump.fam.enter() {
		defer k.dump.fam.leave()
	} else if !k.dump.gone {
		return // endDumps comes
	}
	if errno := k.part(); errno != 0 {
		err := error(errno)
		if errno == unix.ENOBUFS {
			err = errOverrun
		}
		k.fail(err)
	}
}

// part makes a part of the dump (netlink_dump).
func (k *ServerSocket) part() syscall.Errno {
	d := &k.dump
	w := &d.w
	w.limit = max(minPart, int(k.maxRecv.Load()))
	cost := k.srv.skbCost(w.limit)
	k.mu.Lock()
	full := k.rmem != 0 && k.rmem+cost >= k.rcvbuf
	k.mu.Unlock()
	if full {
		return unix.ENOBUFS
	}
	w.part, w.ext = k.buffer(), extAck{}
	if !d.over {
		d.fill()
	}
	if !d.over || w.limit-len(w.part) < doneLen {
		k.deliver(w.part, cost)
		return 0
	}
	d.done()
	k.deliver(w.part, cost)
	k.finishDump()
	return 0
}

// deliver queues a part, for which there is room.
func (k *ServerSocket) deliver(b []byte, cost int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed {
		k.queueLocked(b, cost)
	}
}

// fill fills a part from the cursor, until it is full or the dump is over.
func (d *serverDump) fill() {
	w := &d.w
	if !w.refill() {
		if len(w.part) == 0 {
			d.over, d.errno = true, unix.EMSGSIZE
		}
		return
	}
	for {
		err := d.cursor.Next(w)
		switch {
		case len(w.later) > 0 && len(w.part) == 0:
			d.over, d.errno = true, unix.EMSGSIZE
			return
		case len(w.later) > 0:
			return
		case err == nil:
		case errors.Is(err, io.EOF):
			d.over = !d.op.DoneApart || len(w.part) == 0
			return
		case errors.Is(err, unix.EMSGSIZE) && len(w.part) > 0:
			return
		default:
			d.over, d.errno = true, w.ext.refuse(err)
			return
		}
	}
}

// done appends the end of the dump (netlink_dump_done).
func (d *serverDump) done() {
	w, k := &d.w, d.w.k
	start := len(w.part)
	b := ne.AppendUint32(w.part, doneLen)
	b = ne.AppendUint16(b, unix.NLMSG_DONE)
	b = ne.AppendUint16(b, unix.NLM_F_MULTI)
	b = ne.AppendUint32(b, nlmsg(d.msg).seq())
	b = ne.AppendUint32(b, k.portID)
	b = ne.AppendUint32(b, uint32(-int32(d.errno)))
	w.check(b[start:])
	ext := w.ext
	if k.srv.old {
		ext = extAck{msg: ext.msg}
	}
	if k.Option(netlink.ExtendedAcknowledge) && ext.any(d.errno) {
		ne.PutUint16(b[start+6:], ne.Uint16(b[start+6:])|unix.NLM_F_ACK_TLVS)
		end := len(b)
		b = ext.append(b, len(d.msg), d.errno)
		if len(b) > w.limit {
			b = b[:end]
		}
		ne.PutUint32(b[start:], uint32(len(b)-start))
	}
	w.part = b
}

// finishDump closes the cursor.
func (k *ServerSocket) finishDump() {
	d := &k.dump
	d.running = false
	if !d.gone {
		// What it was for is over, and nobody is there to hear of it.
		_ = d.cursor.Close()
	}
	d.cursor, d.fam, d.op, d.w.part = nil, nil, nil, nil
	d.req.ctx = context.Background()
}

// giveUpDump ends the dump of a socket that is closed.
func (k *ServerSocket) giveUpDump() {
	k.dumpMu.Lock()
	defer k.dumpMu.Unlock()
	if k.dump.running {
		k.finishDump()
	}
}

// endDumps ends the dumps of a family that is gone.
func (s *Server) endDumps(f *served) {
	s.socketsMu.RLock()
	list := make([]*ServerSocket, 0, len(s.sockets))
	for _, k := range s.sockets {
		list = append(list, k)
	}
	s.socketsMu.RUnlock()
	for _, k := range list {
		k.endDump(f)
	}
}

func (k *ServerSocket) endDump(f *served) {
	k.dumpMu.Lock()
	defer k.dumpMu.Unlock()
	d := &k.dump
	if !d.running || d.fam != f || d.gone {
		return
	}
	_ = d.cursor.Close() // as in finishDump
	d.gone, d.over, d.errno = true, true, unix.ENOENT
	d.w.later = d.w.later[:0]
	// The reader may have received all that there is, and wait. If there is
	// no room, it has not, and the end is made as it receives.
	_ = k.part()
}
