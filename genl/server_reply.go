// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"golang.org/x/sys/unix"
)

// ReplyWriter is where a [Handler] writes its answer. It is valid until the
// handler returns.
type ReplyWriter struct {
	k   *ServerSocket
	fam *served
	req *ServerRequest
	ext *extAck
	buf []byte
}

// Buffer returns an empty buffer to append attributes to, which the next request
// on the socket uses again.
func (w *ReplyWriter) Buffer() []byte {
	if w.buf == nil {
		w.buf = make([]byte, 0, 4096)
	}
	return w.buf
}

// Reply sends a message of the command that was asked for, with these
// attributes.
//
// Returns unix.EAGAIN if the reader's buffer is full; the reader is told by
// [ErrOverrun].
func (w *ReplyWriter) Reply(attrs []byte) error {
	return w.ReplyMessage(Message{Command: w.req.Command, Version: w.fam.Version, Attrs: attrs})
}

// ReplyMessage sends any message of the family.
func (w *ReplyWriter) ReplyMessage(m Message) error {
	b := w.k.buffer()
	b = w.fam.appendMessage(b, 0, w.req.msg.seq(), w.k.portID, &m)
	if !w.k.unicast(b) {
		return unix.EAGAIN
	}
	return nil
}

// Warn adds a text to the acknowledgement of a request that is not refused.
func (w *ReplyWriter) Warn(msg string) { w.ext.msg = msg }

// Cookie adds up to 20 bytes to the acknowledgement, for those who know them.
func (w *ReplyWriter) Cookie(b []byte) { w.ext.cookie = b[:min(len(b), maxCookie)] }

// Notify sends a notification to a group, and, if the request has NLM_F_ECHO, to
// who made it (genl_notify). That one gets it once, also if it listens.
//
// Returns unix.ENOBUFS if a socket with option BroadcastError did not get it, or
// unix.EAGAIN if who made the request did not.
func (w *ReplyWriter) Notify(group string, cmd uint8, attrs []byte) error {
	i := w.fam.group(group)
	if i < 0 {
		return unix.EINVAL
	}
	echo := w.req.Flags&unix.NLM_F_ECHO != 0
	var err error
	if w.fam.listening[i].Load() != 0 {
		var except uint32
		if echo {
			except = w.k.portID
		}
		if err = w.fam.notify(i, except, cmd, attrs); err == unix.ESRCH {
			err = nil
		}
	}
	if echo {
		b := w.fam.appendMessage(w.k.buffer(), 0, 0, 0,
			&Message{Command: cmd, Version: w.fam.Version, Attrs: attrs})
		if !w.k.unicast(b) && err == nil {
			err = unix.EAGAIN
		}
	}
	return err
}
