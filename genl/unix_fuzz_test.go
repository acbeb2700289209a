// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"testing"

	"golang.org/x/sys/unix"
)

// fuzzFrames are datagrams of both sides.
func fuzzFrames(f *testing.F) {
	header := func(put func(*[frameLen]byte), data []byte) []byte {
		var h [frameLen]byte
		put(&h)
		return append(h[:], data...)
	}
	client := func(c clientFrame, data []byte) []byte { return header(c.put, data) }
	server := func(s serverFrame, data []byte) []byte { return header(s.put, data) }
	req := request(unix.GENL_ID_CTRL, dmp, unix.CTRL_CMD_GETFAMILY, nil)
	group := ne.AppendUint32(ne.AppendUint32(ne.AppendUint32(nil, unix.SOL_NETLINK), unix.NETLINK_ADD_MEMBERSHIP), 17)
	f.Add(client(clientFrame{kind: frameRequest, window: 2, room: 4096}, req), client(clientFrame{kind: frameReceive, window: 2, received: 1, room: 8192}, nil))
	f.Add(client(clientFrame{kind: frameSetOption, id: 1}, group), client(clientFrame{kind: frameGetOption, id: 2}, group[:8]))
	f.Add(client(clientFrame{kind: frameSync, id: 3}, nil), []byte{1})
	f.Add(server(serverFrame{kind: frameData, flags: frameMore}, req), server(serverFrame{kind: frameError, errno: uint32(unix.ENOBUFS)}, nil))
	f.Add(server(serverFrame{kind: frameAck, id: 1}, nil), server(serverFrame{kind: frameData}, req))
}

// Whatever a client sends, the server goes on.
func FuzzUnixServer(f *testing.F) {
	b := newBed(f, ServerOptions{})
	bystander := newRawClient(f, b)
	fuzzFrames(f)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		r := newRawClient(t, b)
		unix.Send(r.fd, first, unix.MSG_NOSIGNAL)
		unix.Send(r.fd, second, unix.MSG_NOSIGNAL)
		unix.Shutdown(r.fd, unix.SHUT_WR)
		// It answers, then hangs up.
		for {
			if _, _, ok := r.receive(); !ok {
				break
			}
		}
		bystander.tb = t
		bystander.nothing()
	})
}

// Whatever a server sends, the client comes to an end with it.
func FuzzUnixClient(f *testing.F) {
	fuzzFrames(f)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		tr, err := DialUnix(fakeServer(t, func(fd int) {
			sendFrame(fd, serverFrame{kind: frameHello, id: unixVersion, value: 5}, nil)
			unix.Send(fd, first, unix.MSG_NOSIGNAL)
			unix.Send(fd, second, unix.MSG_NOSIGNAL)
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		room := make([]byte, 64)
		for range 3 {
			if _, err := tr.Receive(t.Context(), room); err != nil {
				return
			}
		}
		t.Error("more was received than was sent")
	})
}
