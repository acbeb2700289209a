// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

func ptr[T any](v T) *T { return &v }

func TestErrorText(t *testing.T) {
	for _, tc := range []struct {
		err  Error
		want string
	}{
		{Error{Errno: syscall.ENOENT}, "no such file or directory"},
		{Error{Op: "prog-set", Errno: syscall.EBUSY, Message: "device is held by program 7, attached over netlink"},
			"prog-set: device or resource busy: device is held by program 7, attached over netlink"},
		{Error{Op: "prog-get", Errno: syscall.ERANGE, Message: "integer out of range", Attr: ".ifindex",
			Policy: &genl.Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: ptr(uint64(1)), MaxValue: ptr(uint64(4294967295))}},
			"prog-get: numerical result out of range: integer out of range (attribute .ifindex, want u32 in 1..4294967295)"},
		{Error{Op: "prog-set", Errno: syscall.EINVAL, Attr: ".mode", Policy: &genl.Policy{Type: unix.NL_ATTR_TYPE_U32, Mask: ptr(uint64(7))}},
			"prog-set: invalid argument (attribute .mode, want u32 within mask 0x7)"},
		{Error{Op: "prog-get", Errno: syscall.EINVAL, MissAttr: ".ifindex"},
			"prog-get: invalid argument (attribute .ifindex is missing)"},
		{Error{Errno: syscall.EINVAL, Attr: ".name", Policy: &genl.Policy{Type: unix.NL_ATTR_TYPE_STRING, MaxLength: ptr(uint32(15))}},
			"invalid argument (attribute .name, want string of length ..15)"},
	} {
		if diff := cmp.Diff(tc.want, tc.err.Error()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestErrorIs(t *testing.T) {
	for _, tc := range []struct {
		errno syscall.Errno
		is    error
	}{
		{syscall.ENOENT, os.ErrNotExist},
		{syscall.EEXIST, os.ErrExist},
		{syscall.EPERM, os.ErrPermission},
		{syscall.EOPNOTSUPP, errors.ErrUnsupported},
		{syscall.EBUSY, syscall.EBUSY},
	} {
		err := fmt.Errorf("attach: %w", &Error{Errno: tc.errno})
		if !errors.Is(err, tc.is) {
			t.Errorf("%v does not match %v", err, tc.is)
		}
		var e *Error
		if !errors.As(err, &e) || e.Errno != tc.errno {
			t.Errorf("%v is no *Error of %v", err, tc.errno)
		}
	}
}

// fakeTable is a table of ifindexes; a cursor over it ends with err.
type fakeTable struct {
	Table[StatsKey, Stats]
	ifindexes []uint32
	err       error
	closed    int
}

type fakeCursor struct {
	t *fakeTable
	i int
}

func (t *fakeTable) Cursor(context.Context, *StatsKey) Cursor[StatsKey, Stats] {
	return &fakeCursor{t: t}
}

func (c *fakeCursor) Next(k *StatsKey, v *Stats) bool {
	if c.i == len(c.t.ifindexes) {
		return false
	}
	*k, *v = StatsKey{c.t.ifindexes[c.i]}, Stats{}
	c.i++
	return true
}

func (c *fakeCursor) Err() error { return c.t.err }

func (c *fakeCursor) Close() error {
	c.t.closed++
	return nil
}

func TestAll(t *testing.T) {
	table := &fakeTable{ifindexes: []uint32{1, 2, 3}, err: syscall.EINTR}
	var got []uint32
	var last error
	for e, err := range All(t.Context(), table, nil) {
		if last = err; err != nil {
			break
		}
		got = append(got, e.Key.Ifindex)
	}
	if diff := cmp.Diff(table.ifindexes, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !errors.Is(last, syscall.EINTR) {
		t.Errorf("got error %v, want %v", last, syscall.EINTR)
	}
	for range All(t.Context(), table, nil) {
		break
	}
	if table.closed != 2 {
		t.Errorf("%d cursors were closed, want 2", table.closed)
	}
}

// fakeSubscription delivers the errors, and an event for each nil.
type fakeSubscription struct{ errs []error }

func (s *fakeSubscription) Recv(context.Context) (Event, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return Event{}, err
}

func (s *fakeSubscription) Close() error { return nil }

func TestEvents(t *testing.T) {
	overrun := &Error{Errno: syscall.ENOBUFS}
	s := &fakeSubscription{[]error{nil, overrun, nil, os.ErrClosed, nil}}
	var got []error
	for _, err := range Events(t.Context(), s) {
		got = append(got, err)
	}
	want := []error{nil, overrun, nil, os.ErrClosed}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if !errors.Is(got[i], want[i]) {
			t.Errorf("%d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{OpName(CmdProgSet), "prog-set"},
		{OpName(99), "#99"},
		{AttrSetProg.AttrName(AttrProgExpectedProgID), "expected-prog-id"},
		{AttrSetProg.AttrName(0), "#0"},
		{AttrSetProg.AttrName(99), "#99"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
	if OpByCmd(0) != nil {
		t.Error("command 0 is an operation")
	}
	if diff := cmp.Diff([]uint16{0, 5, 63}, PresentAttrs(1<<63|1<<5|1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
