// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

// PacketSocket opens a raw socket on a netdev until the test ends, that receives
// frames of a protocol, or none if that is 0.
func (ns *NetNS) PacketSocket(index int, proto uint16) int {
	ns.tb.Helper()
	var fd int
	var err error
	ns.Do(func() {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto>>8 | proto<<8, Ifindex: index})
		}
	})
	if err != nil {
		ns.tb.Fatalf("open packet socket: %v", err)
	}
	ns.tb.Cleanup(func() { unix.Close(fd) })
	return fd
}

// UDPPayload is where the data of a UDPFrame is.
const UDPPayload = 14 + 20 + 8

// UDPFrame is a UDP frame to a port, of a flow of its own, by which the sender's
// netdev chooses the queue.
func UDPFrame(flow, port int) []byte {
	f := make([]byte, 60)
	copy(f, net.HardwareAddr{2, 0, 0, 0, 0, 2})
	copy(f[6:], net.HardwareAddr{2, 0, 0, 0, 0, 1})
	f[12] = 0x08
	ip := f[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], 46)
	copy(ip[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(ip[20:], uint16(1024+flow))
	binary.BigEndian.PutUint16(ip[22:], uint16(port))
	binary.BigEndian.PutUint16(ip[24:], 26)
	return f
}
