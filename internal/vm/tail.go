// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"bytes"
	"sync"
)

// tail is a Writer that keeps the last bytes written to it.
// It is safe for concurrent use.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*t.limit {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.limit:]...)
	}
	return len(b), nil
}

// lines returns the last n lines, without carriage returns.
func (t *tail) lines(n int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := bytes.ReplaceAll(t.buf, []byte("\r"), nil)
	lines := bytes.SplitAfter(b, []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return bytes.Join(lines, nil)
}
