// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"fmt"
	"strings"
	"syscall"
)

// Error is a refusal by the kernel, at either door.
//
// It unwraps to its Errno, so that errors.Is works with the errnos of package
// unix and with their portable names:
//
//	os.ErrNotExist          ENOENT: no such entry, no program is attached
//	os.ErrExist             EEXIST: there is an entry, or another program than expected
//	os.ErrPermission        EPERM: no CAP_NET_ADMIN
//	errors.ErrUnsupported   EOPNOTSUPP: the control type, driver or kernel cannot do it
//
// Only the netlink door says more than the errno: Message, Attr, MissAttr and
// Policy come from the kernel's extended acknowledgement (NLMSGERR_ATTR_*) and
// are zero at the map door.
type Error struct {
	// Op is the operation as the spec spells it, such as "prog-set".
	Op string

	// Errno is what the kernel returned.
	Errno syscall.Errno

	// Message is the kernel's reason, such as "no such netdev".
	Message string

	// Attr is the path of the attribute that was refused, such as
	// ".ifindex".
	Attr string

	// MissAttr is the path of the attribute that was missing from the
	// request.
	MissAttr string

	// Policy is what the kernel would have accepted for Attr, or nil.
	Policy *Policy
}

// Policy is what the kernel accepts for an attribute (NLMSGERR_ATTR_POLICY). A
// nil pointer is a bound that the kernel did not name.
type Policy struct {
	// Type is the name of the attribute's type, such as "u32".
	Type string

	MinValue, MaxValue   *uint64
	MinLength, MaxLength *uint32

	// Mask has the bits that a flags attribute may have set.
	Mask *uint64
}

// Error returns the operation, the errno, the kernel's message and the
// attribute, as far as they are known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Errno.Error())
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Attr != "" {
		fmt.Fprintf(&b, " (attribute %s", e.Attr)
		if p := e.Policy.String(); p != "" {
			fmt.Fprintf(&b, ", want %s", p)
		}
		b.WriteString(")")
	}
	if e.MissAttr != "" {
		fmt.Fprintf(&b, " (attribute %s is missing)", e.MissAttr)
	}
	return b.String()
}

// Unwrap returns Errno.
func (e *Error) Unwrap() error {
	return e.Errno
}

// String returns the policy in words, such as "u32 in 1..4294967295"; "" if p
// is nil.
func (p *Policy) String() string {
	if p == nil {
		return ""
	}

	words := []string{p.Type}
	if p.MinValue != nil || p.MaxValue != nil {
		words = append(words, "in "+bounds(p.MinValue, p.MaxValue))
	}
	if p.Mask != nil {
		words = append(words, fmt.Sprintf("within mask %#x", *p.Mask))
	}
	if p.MinLength != nil || p.MaxLength != nil {
		words = append(words, "of length "+bounds(p.MinLength, p.MaxLength))
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// bounds returns "min..max", leaving out what is nil.
func bounds[T uint32 | uint64](lo, hi *T) string {
	var b strings.Builder
	if lo != nil {
		fmt.Fprint(&b, *lo)
	}
	b.WriteString("..")
	if hi != nil {
		fmt.Fprint(&b, *hi)
	}
	return b.String()
}
