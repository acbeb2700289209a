// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
)

func ptr[T any](v T) *T { return &v }

// nested is an attribute "a" of 5, and a "nest" with an "x" of 2 bytes and a "y"
// of 4, which are 20, 28, 32 and 40 bytes into a request.
var nested = AppendNested(AppendUint32(nil, 1, 5), 2, func(b []byte) []byte {
	return AppendUint32(AppendUint16(b, 1, 6), 2, 7)
})

func TestExtack(t *testing.T) {
	policy := AppendNested(nil, nlmsgerrAttrPolicy, func(b []byte) []byte {
		b = AppendAttr(b, unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U, ne.AppendUint64(nil, 1))
		b = AppendAttr(b, unix.NL_POLICY_TYPE_ATTR_MAX_VALUE_U, ne.AppendUint64(nil, 9))
		return AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_TYPE, unix.NL_ATTR_TYPE_U32)
	})
	msg := AppendString(nil, unix.NLMSGERR_ATTR_MSG, "no such thing")
	offs := func(n uint32) []byte { return AppendUint32(nil, unix.NLMSGERR_ATTR_OFFS, n) }
	missType := func(n uint32) []byte { return AppendUint32(nil, nlmsgerrAttrMissType, n) }
	missNest := func(n uint32) []byte { return AppendUint32(nil, nlmsgerrAttrMissNest, n) }

	tests := []struct {
		name string
		tlvs []byte
		want Error
		text string
	}{
		{"nothing", nil, Error{}, "fake-get: invalid argument"},
		{"message", msg, Error{Message: "no such thing"}, "fake-get: invalid argument: no such thing"},
		{"attribute", offs(20), Error{Offset: 20, Attr: ".a"}, "fake-get: invalid argument (attribute .a)"},
		{"nest", offs(28), Error{Offset: 28, Attr: ".nest"}, ""},
		{"first in a nest", offs(32), Error{Offset: 32, Attr: ".nest.x"}, ""},
		{"second in a nest", offs(40), Error{Offset: 40, Attr: ".nest.y"}, ""},
		{"inside an attribute", offs(41), Error{Offset: 41}, ""},
		{"in the header", offs(3), Error{Offset: 3}, ""},
		{"behind the request", offs(48), Error{Offset: 48}, ""},
		{"far behind the request", offs(^uint32(0)), Error{Offset: ^uint32(0)}, ""},
		{
			"policy", slices.Concat(msg, offs(20), policy),
			Error{
				Message: "no such thing", Offset: 20, Attr: ".a",
				Policy: &Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: ptr(uint64(1)), MaxValue: ptr(uint64(9))},
			},
			"fake-get: invalid argument: no such thing (attribute .a, want u32 in 1..9)",
		},
		{"missing", missType(2), Error{MissType: 2, MissAttr: ".nest"}, "fake-get: invalid argument (attribute .nest is missing)"},
		{"missing and unknown", missType(77), Error{MissType: 77, MissAttr: ".77"}, ""},
		{
			"missing in a nest", slices.Concat(missType(2), missNest(28)),
			Error{MissType: 2, MissNest: 28, MissAttr: ".nest.y"},
			"fake-get: invalid argument (attribute .nest.y is missing)",
		},
		{"cookie", AppendAttr(nil, unix.NLMSGERR_ATTR_COOKIE, []byte{1, 2, 3}), Error{Cookie: []byte{1, 2, 3}}, ""},
		{"what is not known", AppendUint32(msg, 99, 1), Error{Message: "no such thing"}, ""},
		{"broken off", append(bytes.Clone(msg), 9, 0, 2, 0, 1), Error{Message: "no such thing"}, ""},
		{"number too long", AppendAttr(msg, unix.NLMSGERR_ATTR_OFFS, make([]byte, 3)), Error{Message: "no such thing"}, ""},
	}
	ends := map[string]func(r fakeMessage, tlvs []byte) []byte{
		"uncapped": func(r fakeMessage, tlvs []byte) []byte { return r.Ack(syscall.EINVAL, tlvs) },
		"capped":   func(r fakeMessage, tlvs []byte) []byte { return r.Capped(syscall.EINVAL, tlvs) },
		"done":     func(r fakeMessage, tlvs []byte) []byte { return r.Done(0, syscall.EINVAL, tlvs) },
	}
	for _, tt := range tests {
		for name, end := range ends {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
					return [][]byte{end(r, tt.tlvs)}
				})
				cur := c.Dump(t.Context(), fakeRequest(nested))
				errs := []error{cur.Err()}
				for cur.Next() {
				}
				errs[0] = cur.Err()
				if name != "done" {
					errs = append(errs, c.Do(t.Context(), fakeRequest(nested), nil))
				}
				want := tt.want
				want.Op, want.Errno = "fake-get", syscall.EINVAL
				for _, err := range errs {
					var got *Error
					if !errors.As(err, &got) {
						t.Fatalf("got error %v, want an *Error", err)
					}
					if diff := cmp.Diff(&want, got); diff != "" {
						t.Errorf("error (-want +got):\n%s", diff)
					}
					if tt.text != "" && err.Error() != tt.text {
						t.Errorf("got text %q, want %q", err, tt.text)
					}
				}
			})
		}
	}
}

// A request whose length is not aligned is, in the acknowledgement.
func TestExtackAlign(t *testing.T) {
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		return [][]byte{r.Ack(syscall.EINVAL, AppendString(nil, unix.NLMSGERR_ATTR_MSG, "odd"))}
	})
	var e *Error
	err := c.Do(t.Context(), fakeRequest([]byte{5, 0, 1, 0, 1}), nil)
	if !errors.As(err, &e) || e.Message != "odd" {
		t.Errorf("got error %v, want one that says odd", err)
	}
}

func TestWarning(t *testing.T) {
	tlvs := AppendAttr(AppendString(nil, unix.NLMSGERR_ATTR_MSG, "not wise"), unix.NLMSGERR_ATTR_COOKIE, []byte{1, 2})
	tests := []struct {
		name   string
		answer func(r fakeMessage) [][]byte
		want   []Warning
	}{
		{"do", func(r fakeMessage) [][]byte {
			return [][]byte{r.value(0, 5), r.Ack(0, tlvs)}
		}, []Warning{{Op: "fake-get", Message: "not wise", Cookie: []byte{1, 2}}}},
		{"capped", func(r fakeMessage) [][]byte {
			return [][]byte{r.Capped(0, tlvs)}
		}, []Warning{{Op: "fake-get", Message: "not wise", Cookie: []byte{1, 2}}}},
		{"nothing to say", func(r fakeMessage) [][]byte { return [][]byte{r.Ack(0, []byte{})} }, nil},
		{"refused", func(r fakeMessage) [][]byte { return [][]byte{r.Ack(syscall.EPERM, tlvs)} }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []Warning
			c, _ := dialFake(t, Options{Warn: func(w Warning) { got = append(got, w) }}, tt.answer)
			err := c.Do(t.Context(), fakeRequest(nil), nil)
			if err != nil && tt.name != "refused" {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("dump", func(t *testing.T) {
		var got []Warning
		c, _ := dialFake(t, Options{Warn: func(w Warning) { got = append(got, w) }}, func(r fakeMessage) [][]byte {
			return [][]byte{genltest.Join(r.value(unix.NLM_F_MULTI, 5), r.Done(0, 0, tlvs))}
		})
		n := 0
		cur := c.Dump(t.Context(), fakeRequest(nil))
		for cur.Next() {
			n++
		}
		if err := cur.Err(); err != nil || n != 1 {
			t.Errorf("got %d messages and error %v, want 1 and none", n, err)
		}
		want := []Warning{{Op: "fake-get", Message: "not wise", Cookie: []byte{1, 2}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	})
	t.Run("nobody hears", func(t *testing.T) {
		c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte { return [][]byte{r.Ack(0, tlvs)} })
		if err := c.Do(t.Context(), fakeRequest(nil), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorIs(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		unix.ENOENT: os.ErrNotExist, unix.EEXIST: os.ErrExist, unix.EPERM: os.ErrPermission,
		unix.EACCES: os.ErrPermission, unix.EOPNOTSUPP: errors.ErrUnsupported, unix.ENODEV: unix.ENODEV,
	} {
		if err := error(&Error{Errno: errno}); !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v does not match %v", err, want)
		}
	}
}

func TestPolicyString(t *testing.T) {
	tests := []struct {
		policy *Policy
		want   string
	}{
		{nil, ""},
		{&Policy{Type: unix.NL_ATTR_TYPE_FLAG}, "flag"},
		{&Policy{Type: unix.NL_ATTR_TYPE_U8, MaxValue: ptr(uint64(3))}, "u8 in ..3"},
		{&Policy{Type: nlAttrTypeUint, MinValue: ptr(uint64(3))}, "uint in 3.."},
		{&Policy{Type: nlAttrTypeSint, MinSigned: ptr(int64(-3)), MaxSigned: ptr(int64(4))}, "sint in -3..4"},
		{&Policy{Type: unix.NL_ATTR_TYPE_U32, Mask: ptr(uint64(7))}, "u32 within mask 0x7"},
		{&Policy{Type: unix.NL_ATTR_TYPE_BITFIELD32, Bitfield32Mask: ptr(uint32(5))}, "bitfield32 within mask 0x5"},
		{&Policy{Type: unix.NL_ATTR_TYPE_BINARY, MinLength: ptr(uint32(8)), MaxLength: ptr(uint32(8))}, "binary of length 8..8"},
		{&Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: ptr(uint32(15))}, "nul-string of length ..15"},
		{&Policy{Type: unix.NL_ATTR_TYPE_NESTED, NestIndex: ptr(uint32(2)), NestMaxAttr: ptr(uint32(4))}, "nest"},
		{&Policy{Type: 99}, "#99"},
		{&Policy{}, "#0"},
	}
	for _, tt := range tests {
		if got := tt.policy.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Whatever bytes come, parsing ends, and what was refused stays refused.
func FuzzAck(f *testing.F) {
	r := newFakeMessage(9)
	seed := func(m []byte) {
		f.Add(nlmsg(m).flags(), nlmsg(m).body())
	}
	seed(r.Ack(0, nil))
	seed(r.Ack(syscall.EINVAL, AppendString(nil, unix.NLMSGERR_ATTR_MSG, "why")))
	seed(r.Capped(syscall.EINVAL, AppendUint32(AppendUint32(nil, unix.NLMSGERR_ATTR_OFFS, 40), nlmsgerrAttrMissType, 3)))
	seed(r.Ack(syscall.EINVAL, AppendNested(nil, nlmsgerrAttrPolicy, func(b []byte) []byte {
		return AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_TYPE, unix.NL_ATTR_TYPE_U64)
	})))
	f.Fuzz(func(t *testing.T, flags uint16, body []byte) {
		req := fakeRequest(nested)
		for _, parse := range []func(uint16, []byte) (ack, error){parseAck, parseDone} {
			a, err := parse(flags, body)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("got error %v, want %v", err, ErrMalformed)
				}
				continue
			}
			err = a.finish(&req, func(Warning) {})
			if (err != nil) != (a.errno != 0) {
				t.Errorf("errno %d gave error %v", a.errno, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "fake-get: ") {
				t.Errorf("error %q does not begin with the operation", err)
			}
		}
	})
}
