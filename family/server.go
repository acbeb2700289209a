// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// Server serves a [Control] as the generic netlink family, so that whoever speaks
// netlink with it gets what the kernel module answers: the same operations,
// policies, refusals and notifications. The Control may be any: package native's,
// where no module can be loaded, or a [Client], which passes on what the kernel
// says.
//
//	server := genl.NewServer(genl.ServerOptions{})
//	served, err := family.Serve(server, control, family.ServeOptions{})
//	...
//	client, err := family.Dial(family.Options{Transport: server.Dial})
type Server struct {
	server  *genl.Server
	control Control
	family  *genl.ServedFamily
	tables  map[CtrlType]servedTable
	changes atomic.Uint32 // made through the server

	mu        sync.Mutex
	listeners map[string]int // by group
	events    *servedEvents  // while there are any
	ending    sync.WaitGroup // events that nobody listens to any more
}

// ServeOptions say how to [Serve].
type ServeOptions struct {
	// ID is the message type of the family, or 0 for one that is free.
	ID uint16
}

// Serve adds the family to a server. The Control stays the caller's, who closes
// it after the Server.
func Serve(s *genl.Server, c Control, o ServeOptions) (*Server, error) {
	v := &Server{
		server: s, control: c,
		listeners: make(map[string]int),
	}
	v.tables = servedTables(v, c)
	v.family = &genl.ServedFamily{Name: FamilyName, Version: FamilyVersion, ID: o.ID, Listeners: v.listen}
	for _, g := range groups {
		v.family.Groups = append(v.family.Groups, genl.ServedGroup{Name: g})
	}
	for i := range Ops {
		if op := &Ops[i]; !op.Notify {
			v.family.Ops = append(v.family.Ops, v.op(op))
		}
	}
	if err := s.Register(v.family); err != nil {
		return nil, fmt.Errorf("serve family %s: %w", FamilyName, err)
	}
	return v, nil
}

// Close takes the family from the server, after the requests that are under way.
func (v *Server) Close() error {
	err := v.server.Unregister(FamilyName)
	v.mu.Lock()
	e := v.events
	v.events = nil
	v.mu.Unlock()
	err = errors.Join(err, e.close())
	v.ending.Wait()
	return err
}

// op describes an operation to the server.
func (v *Server) op(op *Op) genl.ServedOp {
	// The module's dumps return the length of what they wrote, as they have
	// to before 6.12, so that the end of a dump comes after it.
	so := genl.ServedOp{Command: op.Cmd, Policy: op.policy(), DoneApart: true}
	if op.AdminPerm {
		so.Flags = genl.OpAdminInNets
	}
	for _, id := range op.Request {
		if op.Set.isFD(id) {
			so.FDs = append(so.FDs, id)
		}
	}
	if op.Do {
		so.Do = v.handler(op)
	}
	if op.Dump {
		so.Dump = v.dumper(op)
	}
	return so
}

// isFD tells whether an attribute is a file descriptor of the caller.
func (s *AttrSet) isFD(id uint16) bool { return s.AttrName(id) == "fd" }

// policy is what an operation accepts, as the module's policies say it.
func (op *Op) policy() *genl.PolicySet {
	set := &genl.PolicySet{}
	for _, id := range op.Request {
		set.Attrs = append(set.Attrs, genl.AttrPolicy{Attr: id, Policy: op.Set.Attrs[id-1].policy()})
	}
	sortPolicies(set)
	return set
}

// handler answers a do.
func (v *Server) handler(op *Op) genl.Handler {
	if op.Cmd == CmdTypeGet {
		return genl.HandlerFunc(v.getType)
	}
	for t, table := range v.tables {
		switch d := t.Desc(); op.Cmd {
		case d.GetCmd:
			return genl.HandlerFunc(table.get)
		case d.SetCmd:
			return v.change(table.set)
		case d.DelCmd:
			return v.change(table.del)
		}
	}
	panic("operation " + op.Name + " is of no control type")
}

// dumper answers a dump.
func (v *Server) dumper(op *Op) genl.DumpHandler {
	if op.Cmd == CmdTypeGet {
		return genl.DumpFunc(v.dumpTypes)
	}
	for t, table := range v.tables {
		if t.Desc().GetCmd == op.Cmd {
			return genl.DumpFunc(table.dump)
		}
	}
	panic("operation " + op.Name + " is of no control type")
}

// change makes a handler of what changes something, whose notification goes out
// before its reply, as the module's does.
func (v *Server) change(f func(ctx context.Context, w *genl.ReplyWriter, r *genl.ServerRequest) error) genl.Handler {
	return genl.HandlerFunc(func(w *genl.ReplyWriter, r *genl.ServerRequest) error {
		ctx := r.Context()
		if r.Flags&unix.NLM_F_ECHO != 0 || v.hasListeners() {
			ctx = WithNotify(ctx, v, func(ev Event) {
				if op, attrs := encodeEvent(ev); op != nil {
					w.Notify(op.Group, op.Cmd, attrs)
				}
			})
		}
		return f(ctx, w, r)
	})
}

// getType is type-get, do.
func (v *Server) getType(w *genl.ReplyWriter, r *genl.ServerRequest) error {
	id, ok := r.Uint32(AttrTypeID)
	if !ok {
		return r.Missing(AttrTypeID)
	}
	types, err := v.control.Types(r.Context())
	if err != nil {
		return refusal(AttrSetType, r, err)
	}
	for i := range types {
		if types[i].ID == CtrlType(id) {
			return w.Reply(types[i].AppendAttrs(w.Buffer(), false))
		}
	}
	return &genl.Error{Errno: syscall.ENOENT, Message: "no such control type", Offset: r.Offset(AttrTypeID)}
}

// dumpTypes is type-get, dump.
func (v *Server) dumpTypes(r *genl.ServerRequest) (genl.DumpCursor, error) {
	types, err := v.control.Types(r.Context())
	if err != nil {
		return nil, refusal(AttrSetType, r, err)
	}
	var msgs [][]byte
	for i := range types {
		msgs = append(msgs, types[i].AppendAttrs(nil, false))
	}
	return genl.DumpSlice(msgs...), nil
}

// refusal makes the error of a Control one of genl: the paths that it names are
// attributes of the request again. An error of the machine is told in its words.
func refusal(set *AttrSet, r *genl.ServerRequest, err error) error {
	var e *Error
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
	case errors.As(err, &errno):
		return &genl.Error{Errno: errno, Message: err.Error()}
	default:
		return err
	}
	return &genl.Error{
		Errno:    e.Errno,
		Message:  e.Message,
		Offset:   r.Offset(set.attrByPath(e.Attr)),
		MissType: uint32(set.attrByPath(e.MissAttr)),
		Policy:   e.Policy,
	}
}

// attrByPath returns the attribute that a path such as ".ifindex" names, or 0.
func (s *AttrSet) attrByPath(path string) uint16 {
	for i := range s.Attrs {
		if path == "."+s.Attrs[i].Name {
			return s.Attrs[i].ID
		}
	}
	return 0
}

// hasListeners tells whether there is anybody to be notified.
func (v *Server) hasListeners() bool {
	for _, g := range groups {
		if v.family.HasListeners(g) {
			return true
		}
	}
	return false
}

// listen is told how many listeners a group has. The first is refused if the
// Control cannot be subscribed to.
func (v *Server) listen(group string, n int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.listeners[group]
	v.listeners[group] = n
	total := 0
	for _, n := range v.listeners {
		total += n
	}
	switch {
	case total > 0 && v.events == nil:
		var err error
		if v.events, err = v.startEvents(); err != nil {
			v.listeners[group] = before
			return err
		}
	case total == 0 && v.events != nil:
		// Not here, for it waits for one who may be about to notify.
		e := v.events
		v.ending.Go(func() { e.close() })
		v.events = nil
	}
	return nil
}

// servedEvents passes on the events of the Control.
type servedEvents struct {
	sub    Subscription
	cancel context.CancelFunc
	done   chan struct{}
}

// startEvents subscribes to the Control, so that whoever has joined a group
// misses nothing after that.
func (v *Server) startEvents() (*servedEvents, error) {
	ctx, cancel := context.WithCancel(WithNotify(context.Background(), v, nil))
	sub, err := v.control.Subscribe(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	e := &servedEvents{sub: sub, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(e.done)
		v.pass(ctx, sub)
	}()
	return e, nil
}

// pass passes on events until the subscription ends.
func (v *Server) pass(ctx context.Context, sub Subscription) {
	for {
		ev, err := sub.Recv(ctx)
		switch {
		case err == nil:
			if op, attrs := encodeEvent(ev); op != nil {
				v.family.Multicast(op.Group, op.Cmd, attrs)
			}
		case errors.Is(err, syscall.ENOBUFS):
			v.lost()
		default:
			if ctx.Err() == nil {
				v.lost()
			}
			return
		}
	}
}

// lost tells all listeners that they miss something.
func (v *Server) lost() {
	for _, g := range groups {
		v.family.SetErr(g)
	}
}

func (e *servedEvents) close() error {
	if e == nil {
		return nil
	}
	e.cancel()
	<-e.done
	return e.sub.Close()
}

// Generation is implemented by a [Control] that can tell whether entries came or
// went: it returns a number that is another then. Dumps that span that say so at
// their end (NLM_F_DUMP_INTR); a dump asks before its first entry and after its
// last. Without it, those do that span changes made through the Server.
type Generation interface {
	Generation(ctx context.Context) (uint32, error)
}

// generation returns a number that is another after a change, and never 0.
func (v *Server) generation(ctx context.Context) uint32 {
	if g, ok := v.control.(Generation); ok {
		if n, err := g.Generation(ctx); err == nil {
			return max(n, 1)
		}
	}
	return max(v.changes.Load()+1, 1)
}

// encodeEvent returns the notification of an event with its attributes.
func encodeEvent(ev Event) (op *Op, attrs []byte) {
	for i := range Ops {
		if Ops[i].Notify && Ops[i].Name == ev.Op {
			op = &Ops[i]
		}
	}
	if k, ok := ev.Key.(interface{ AppendAttrs([]byte) []byte }); ok {
		attrs = k.AppendAttrs(attrs)
	}
	if v, ok := ev.Value.(interface{ AppendAttrs([]byte, bool) []byte }); ok {
		attrs = v.AppendAttrs(attrs, false)
	}
	return op, attrs
}
