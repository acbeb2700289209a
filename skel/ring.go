// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
)

// RingBuf is a ring buffer with records that begin with an E. The type comes
// from __type(value, ...) in the declaration of the map; without it E is
// struct{}, and records are bytes.
type RingBuf[E any] struct{ RawMap }

// Reader makes a reader of the ring buffer, which the skeleton closes too.
func (m *RingBuf[E]) Reader() (*RingReader[E], error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	r, err := ringbuf.NewReader(m.Map)
	if err != nil {
		return nil, err
	}
	reader := &RingReader[E]{reader: r}
	m.own(reader)
	return reader, nil
}

// RingReader reads a ring buffer. It belongs to one goroutine, but for Close.
type RingReader[E any] struct {
	reader *ringbuf.Reader
	record ringbuf.Record
}

// Read waits for a record and returns what is at its beginning; [RingReader.Raw]
// has all of it.
//
// Returns an error matching [ringbuf.ErrClosed] after Close,
// [os.ErrDeadlineExceeded] at the deadline, and [ErrMismatch] for a record that
// is shorter than an E.
func (r *RingReader[E]) Read() (E, error) {
	var e E
	if err := r.reader.ReadInto(&r.record); err != nil {
		return e, err
	}
	if len(r.record.RawSample) < int(unsafe.Sizeof(e)) {
		return e, fmt.Errorf("record of %d bytes, want %d: %w", len(r.record.RawSample), unsafe.Sizeof(e), ErrMismatch)
	}
	copy(bytesOf(&e), r.record.RawSample)
	return e, nil
}

// Raw is the record that was read last. It is valid until the next one is read.
func (r *RingReader[E]) Raw() []byte { return r.record.RawSample }

// SetDeadline says until when Read waits; the zero time is for ever.
func (r *RingReader[E]) SetDeadline(t time.Time) { r.reader.SetDeadline(t) }

// Close ends reading. It can be called again.
func (r *RingReader[E]) Close() error { return r.reader.Close() }

// PerfArray is an array of perf event buffers with records that begin with an E,
// as [RingBuf] has them.
type PerfArray[E any] struct{ RawMap }

// Reader makes a reader with buffers of size bytes for each CPU, which the
// skeleton closes too.
func (m *PerfArray[E]) Reader(size int) (*PerfReader[E], error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	r, err := perf.NewReader(m.Map, size)
	if err != nil {
		return nil, err
	}
	reader := &PerfReader[E]{reader: r}
	m.own(reader)
	return reader, nil
}

// PerfReader reads perf event buffers. It belongs to one goroutine, but for
// Close.
type PerfReader[E any] struct {
	reader *perf.Reader
	record perf.Record
}

// Read waits for a record and returns what is at its beginning, and how many
// records were lost before it; if there are any, that is all it returns.
//
// Returns an error matching [perf.ErrClosed] after Close,
// [os.ErrDeadlineExceeded] at the deadline, and [ErrMismatch] for a record that
// is shorter than an E.
func (r *PerfReader[E]) Read() (e E, lost uint64, err error) {
	if err := r.reader.ReadInto(&r.record); err != nil {
		return e, 0, err
	}
	if r.record.LostSamples > 0 {
		return e, r.record.LostSamples, nil
	}
	if len(r.record.RawSample) < int(unsafe.Sizeof(e)) {
		return e, 0, fmt.Errorf("record of %d bytes, want %d: %w", len(r.record.RawSample), unsafe.Sizeof(e), ErrMismatch)
	}
	copy(bytesOf(&e), r.record.RawSample)
	return e, 0, nil
}

// Raw is the record that was read last. It is valid until the next one is read.
func (r *PerfReader[E]) Raw() []byte { return r.record.RawSample }

// SetDeadline says until when Read waits; the zero time is for ever.
func (r *PerfReader[E]) SetDeadline(t time.Time) { r.reader.SetDeadline(t) }

// Close ends reading. It can be called again.
func (r *PerfReader[E]) Close() error { return r.reader.Close() }

var (
	_ mapField = (*RingBuf[struct{}])(nil)
	_ mapField = (*PerfArray[struct{}])(nil)
	_ mapField = (*MapOfMaps[uint32, Map[uint32, uint64], *Map[uint32, uint64]])(nil)
)
