// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

// fakeFamily is the family that a fake serves.
var fakeFamily = &Family{ID: 0x20, Name: "fake", Version: 3, Groups: []Group{{ID: 1, Name: "events"}}}

// fakeNames names its attributes: "a" and "nest", in which are "x" and "y".
type fakeNames struct{ inside bool }

func (n fakeNames) AttrName(typ uint16) string {
	names := []string{1: "a", 2: "nest"}
	if n.inside {
		names = []string{1: "x", 2: "y"}
	}
	if int(typ) < len(names) {
		return names[typ]
	}
	return ""
}

func (n fakeNames) NestNames(typ uint16) AttrNames {
	if typ == 2 && !n.inside {
		return fakeNames{inside: true}
	}
	return nil
}

func fakeRequest(attrs []byte) Request {
	return Request{Op: "fake-get", Family: fakeFamily, Command: 7, Attrs: attrs, Names: fakeNames{}}
}

// fakeMessage is a request as a fake receives it.
type fakeMessage struct{ genltest.Request }

// newFakeMessage returns a request that nobody made.
func newFakeMessage(seq uint32) fakeMessage {
	raw := genltest.Message(fakeFamily.ID, 0, seq, []byte{7, 3, 0, 0, 8, 0, 1, 0, 1, 0, 0, 0})
	return fakeMessage{genltest.Request{Type: fakeFamily.ID, Seq: seq, Raw: raw, Body: raw[headerLen:]}}
}

// value builds a reply with one attribute.
func (r fakeMessage) value(flags uint16, v uint32) []byte {
	return r.Reply(flags, AppendUint32(nil, 1, v)...)
}

// dialFake returns a Conn to a fake.
func dialFake(tb testing.TB, o Options, answer func(r fakeMessage) [][]byte) (*Conn, *genltest.Fake) {
	tb.Helper()
	f := genltest.New(tb, func(r genltest.Request) [][]byte { return answer(fakeMessage{r}) })
	o.Socket = func() (Socket, error) { return f.Dial() }
	c, err := Dial(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c, f
}
