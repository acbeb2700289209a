// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// A server on a socket has netdevs of its own, which those who ask may have no
// other way to name: they are in another network namespace. So serve has, beside
// family xdpctl, this one.
const (
	netdevFamily = "xdpctl_netdevs"

	// netdevGet takes one of the attributes, and is answered with both; a
	// dump has the names of all.
	netdevGet = 1

	netdevIfindex = 1 // u32
	netdevName    = 2 // string, also an alternative name
)

const altNameLen = 127 // ALTIFNAMSIZ without its NUL

// newNetdevFamily serves the names of netdevs.
func newNetdevFamily(devs netdevs) *genl.ServedFamily {
	least, most := uint64(1), uint32(altNameLen)
	return &genl.ServedFamily{
		Name:    netdevFamily,
		Version: 1,
		Ops: []genl.ServedOp{{
			Command: netdevGet,
			Policy: &genl.PolicySet{Attrs: []genl.AttrPolicy{
				{Attr: netdevIfindex, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: &least}},
				{Attr: netdevName, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: &most}},
			}},
			Do: genl.HandlerFunc(func(w *genl.ReplyWriter, r *genl.ServerRequest) error {
				return serveNetdev(devs, w, r)
			}),
			Dump: genl.DumpFunc(func(*genl.ServerRequest) (genl.DumpCursor, error) {
				return dumpNetdevs(devs)
			}),
		}},
	}
}

func serveNetdev(devs netdevs, w *genl.ReplyWriter, r *genl.ServerRequest) (err error) {
	name, named := r.Attr(netdevName)
	index, numbered := r.Uint32(netdevIfindex)
	s := unix.ByteSliceToString(name)
	switch {
	case named:
		index, err = devs.index(s)
	case numbered:
		s, err = devs.name(index)
	default:
		return r.Missing(netdevIfindex)
	}
	if errors.Is(err, os.ErrNotExist) {
		return unix.ENOENT
	}
	if err != nil {
		return err
	}
	b := genl.AppendUint32(w.Buffer(), netdevIfindex, index)
	return w.Reply(genl.AppendString(b, netdevName, s))
}

func dumpNetdevs(devs netdevs) (genl.DumpCursor, error) {
	names, err := devs.names()
	if err != nil {
		return nil, err
	}
	var msgs [][]byte
	for _, name := range names {
		msgs = append(msgs, genl.AppendString(nil, netdevName, name))
	}
	return genl.DumpSlice(msgs...), nil
}

// servedNetdevs are the netdevs of a server.
type servedNetdevs struct {
	conn   *genl.Conn // somebody else closes it
	family *genl.Family
}

// openServedNetdevs asks a server for its netdevs. A server that does not name
// them has them by number only.
func openServedNetdevs(ctx context.Context, conn *genl.Conn) (netdevs, error) {
	f, err := conn.Family(ctx, netdevFamily)
	if errors.Is(err, os.ErrNotExist) {
		return namelessNetdevs{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &servedNetdevs{conn, f}, nil
}

// get asks for one netdev, and returns what is known of it then.
func (s *servedNetdevs) get(attrs []byte) (index uint32, name string, err error) {
	err = s.conn.Do(context.Background(), genl.Request{
		Op: "netdev-get", Family: s.family, Command: netdevGet, Attrs: attrs, OneReply: true,
	}, func(m genl.Message) error {
		index, name = parseNetdev(m.Attrs)
		return nil
	})
	return index, name, err
}

func parseNetdev(b []byte) (index uint32, name string) {
	for len(b) > 0 {
		typ, data, rest, ok := genl.NextAttr(b)
		if !ok {
			break
		}
		switch {
		case typ == netdevIfindex && len(data) == 4:
			index = binary.NativeEndian.Uint32(data)
		case typ == netdevName:
			name = unix.ByteSliceToString(data)
		}
		b = rest
	}
	return index, name
}

func (s *servedNetdevs) index(name string) (uint32, error) {
	if name == "" || len(name) > altNameLen {
		return 0, os.ErrNotExist
	}
	index, _, err := s.get(genl.AppendString(nil, netdevName, name))
	return index, err
}

func (s *servedNetdevs) name(ifindex uint32) (string, error) {
	_, name, err := s.get(genl.AppendUint32(nil, netdevIfindex, ifindex))
	return name, err
}

func (s *servedNetdevs) names() ([]string, error) {
	var list []string
	cur := s.conn.Dump(context.Background(), genl.Request{Op: "netdev-get", Family: s.family, Command: netdevGet})
	defer cur.Close()
	for cur.Next() {
		_, name := parseNetdev(cur.Attrs())
		list = append(list, name)
	}
	return list, cur.Err()
}

func (s *servedNetdevs) Close() error { return nil }

// namelessNetdevs are netdevs that have a number only.
type namelessNetdevs struct{}

func (namelessNetdevs) index(name string) (uint32, error) {
	if _, err := strconv.ParseUint(name, 10, 31); err == nil {
		return 0, os.ErrNotExist
	}
	return 0, &hinted{fmt.Errorf("netdev %q: the server does not name netdevs", name), "Name it by its ifindex in the network namespace of the server."}
}

func (namelessNetdevs) name(uint32) (string, error) { return "", os.ErrNotExist }
func (namelessNetdevs) names() ([]string, error)    { return nil, nil }
func (namelessNetdevs) Close() error                { return nil }
