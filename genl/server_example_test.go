// SPDX-License-Identifier: BSD-3-Clause

package genl_test

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// A family of one operation, and a client of it that does not know that the
// kernel is not there.
func ExampleServer() {
	const name, greeting = 1, 2
	srv := genl.NewServer(genl.ServerOptions{})
	defer srv.Close()
	err := srv.Register(&genl.ServedFamily{Name: "greeter", Version: 1, Ops: []genl.ServedOp{{
		Command: 1,
		Policy:  &genl.PolicySet{Attrs: []genl.AttrPolicy{{Attr: name, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING}}}},
		Do: genl.HandlerFunc(func(w *genl.ReplyWriter, r *genl.ServerRequest) error {
			who, ok := r.Text(name)
			if !ok {
				return r.Missing(name)
			}
			return w.Reply(genl.AppendString(w.Buffer(), greeting, "hello, "+who))
		}),
	}}})
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	conn, err := genl.Dial(genl.Options{Transport: srv.Dial})
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	greeter, err := conn.Family(ctx, "greeter")
	if err != nil {
		panic(err)
	}
	ask := func(attrs []byte) {
		err := conn.Do(ctx, genl.Request{Op: "greet", Family: greeter, Command: 1, Attrs: attrs}, func(m genl.Message) error {
			_, text, _, _ := genl.NextAttr(m.Attrs)
			fmt.Println(unix.ByteSliceToString(text))
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	ask(genl.AppendString(nil, name, "gopher"))
	ask(genl.AppendUint32(nil, 7, 1))
	ask(nil)
	// Output:
	// hello, gopher
	// greet: invalid argument: Unknown attribute type (attribute .7)
	// greet: invalid argument (attribute .1 is missing)
}
