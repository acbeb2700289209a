// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"syscall"

	"github.com/xdpctl/xdpctl-nl/genl"
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
	Policy *genl.Policy
}

// Error returns the operation, the errno, the kernel's message and the
// attribute, as far as they are known.
func (e *Error) Error() string {
	return (&genl.Error{
		Op:       e.Op,
		Errno:    e.Errno,
		Message:  e.Message,
		Attr:     e.Attr,
		MissAttr: e.MissAttr,
		Policy:   e.Policy,
	}).Error()
}

// Unwrap returns Errno.
func (e *Error) Unwrap() error {
	return e.Errno
}
