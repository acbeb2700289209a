// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"

	"github.com/mdlayher/netlink"
)

// Transport is a socket that leads to a [Server], with the contract of a netlink
// socket: it carries datagrams, each with one or more netlink messages, and keeps
// their borders. docs/transport.md has the contract.
//
// One goroutine may send, one receive, and any others do the rest at the same
// time. Close ends a Receive that waits.
//
// A Transport may also have the methods SetReadBuffer(int) error and ReadBuffer()
// (int, error), which are for SO_RCVBUF, and SyscallConn.
type Transport interface {
	// Send sends a datagram. What is asked in it is done by the time Send
	// returns, or will be before anything is received. Fds are the file
	// descriptors that its attributes mean, in the order of the attributes;
	// with some, the datagram has one request.
	Send(ctx context.Context, b []byte, fds []int) error

	// Receive waits for a datagram and copies it to b. N is its length, also
	// where b is shorter and the rest is lost. If ctx is done already, it does
	// not wait, and returns a datagram that is there or else the error of ctx.
	//
	// Returns an error matching [ErrOverrun] and unix.ENOBUFS once after
	// notifications were lost, or os.ErrClosed.
	Receive(ctx context.Context, b []byte) (n int, err error)

	// JoinGroup and LeaveGroup join and leave a multicast group
	// (NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP).
	JoinGroup(id uint32) error
	LeaveGroup(id uint32) error

	// SetOption turns an option of a netlink socket on or off.
	SetOption(o netlink.ConnOption, on bool) error

	// PortID is the port id that the server gave to the socket.
	PortID() uint32

	Close() error
}
