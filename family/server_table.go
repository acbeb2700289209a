// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"cmp"
	"context"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// servedTable is a control type as the family serves it.
type servedTable interface {
	get(w *genl.ReplyWriter, r *genl.ServerRequest) error
	set(ctx context.Context, w *genl.ReplyWriter, r *genl.ServerRequest) error
	del(ctx context.Context, w *genl.ReplyWriter, r *genl.ServerRequest) error
	dump(r *genl.ServerRequest) (genl.DumpCursor, error)
}

func servedTables(s *Server, c Control) map[CtrlType]servedTable {
	return map[CtrlType]servedTable{
		CtrlTypeXDPStats:  newServed(s, c.Stats(), StatsKey{}),
		CtrlTypeXDPQstats: newServed(s, c.Qstats(), QstatsKey{}),
		CtrlTypeXDPCaps:   newServed(s, c.Caps(), CapsKey{}),
		CtrlTypeXDPAttr:   newServed(s, c.Attr(), AttrKey{}),
		CtrlTypeXDPPort:   newServed(s, c.Port(), PortKey{}),
		// The one key with a part that may be left out.
		CtrlTypeXDPProg: newServed(s, c.Prog(), ProgKey{Queue: QueueAll}, AttrProgQueue),
	}
}

// served is servedTable for one control type.
type served[K, V any, PK servedKey[K], PV valueCodec[K, V]] struct {
	server   *Server
	table    Table[K, V]
	desc     *TypeDesc
	start    K        // what a key is before what the request says
	room     int      // most bytes of attributes that an entry can have
	optional []uint16 // attributes of the key
}

type servedKey[K any] interface {
	keyCodec[K]
	DecodeAttrs(b []byte) error
}

func newServed[K, V any, PK servedKey[K], PV valueCodec[K, V]](s *Server, t Table[K, V], start K, optional ...uint16) *served[K, V, PK, PV] {
	v := &served[K, V, PK, PV]{server: s, table: t, desc: PK(nil).Desc(), start: start, optional: optional}
	for _, f := range v.desc.Fields {
		v.room += (attrHeaderLen + f.Size + 3) &^ 3
	}
	return v
}

// key reads the key of a request.
func (t *served[K, V, PK, PV]) key(r *genl.ServerRequest) (K, error) {
	k := t.start
	for i := range t.desc.Fields {
		f := &t.desc.Fields[i]
		if !f.Key {
			break
		}
		if !r.Has(f.Attr) && !slices.Contains(t.optional, f.Attr) {
			return k, r.Missing(f.Attr)
		}
	}
	return k, PK(&k).DecodeAttrs(r.Attrs)
}

// get is TYPE-get, do.
func (t *served[K, V, PK, PV]) get(w *genl.ReplyWriter, r *genl.ServerRequest) error {
	k, err := t.key(r)
	if err != nil {
		return err
	}
	var v V
	if err := t.table.Lookup(r.Context(), &k, &v); err != nil {
		return refusal(t.desc.Set, r, err)
	}
	return t.reply(w, &k, &v)
}

func (t *served[K, V, PK, PV]) reply(w *genl.ReplyWriter, k *K, v *V) error {
	return w.Reply(PV(v).AppendAttrs(PK(k).AppendAttrs(w.Buffer()), false))
}

// set is TYPE-set. The reply is what there is then, if it is still there: the
// change is made, so nothing after it may be taken for its failure.
func (t *served[K, V, PK, PV]) set(ctx context.Context, w *genl.ReplyWriter, r *genl.ServerRequest) error {
	k, err := t.key(r)
	if err != nil {
		return err
	}
	var v V
	// It would miss a part of the key that may be left out.
	_ = PV(&v).DecodeAttrs(r.Attrs, nil)
	t.resolve(r, &v)
	var how Update
	if n, ok := r.Uint32(t.desc.UpdateAttr); ok {
		how = Update(n)
	}
	if err := t.change(ctx, &k, func() error { return t.table.Update(ctx, &k, &v, how) }); err != nil {
		return refusal(t.desc.Set, r, err)
	}
	var now V
	if t.table.Lookup(ctx, &k, &now) == nil {
		t.reply(w, &k, &now)
	}
	return nil
}

// resolve puts the file descriptors that came with a request in the place of the
// numbers that they had in the caller.
func (t *served[K, V, PK, PV]) resolve(r *genl.ServerRequest, v *V) {
	for i := range t.desc.Fields {
		f := &t.desc.Fields[i]
		if !t.desc.Set.isFD(f.Attr) {
			continue
		}
		if fd, ok := r.FD(f.Attr); ok {
			any(v).(interface{ SetFD(uint32) }).SetFD(uint32(fd))
		}
	}
}

// del is TYPE-del.
func (t *served[K, V, PK, PV]) del(ctx context.Context, _ *genl.ReplyWriter, r *genl.ServerRequest) error {
	k, err := t.key(r)
	if err != nil {
		return err
	}
	err = t.change(ctx, &k, func() error { return t.table.Delete(ctx, &k) })
	return refusal(t.desc.Set, r, err)
}

// change runs f, which changes an entry, and, if the Control does not do so
// itself, takes note if the entry is another after it.
func (t *served[K, V, PK, PV]) change(ctx context.Context, k *K, f func() error) error {
	if _, ok := t.server.control.(Generation); ok {
		return f()
	}
	before := t.entry(ctx, k)
	err := f()
	if err == nil && !slices.Equal(before, t.entry(ctx, k)) {
		t.server.changes.Add(1)
	}
	return err
}

// entry returns the attributes of an entry, or nil if there is none.
func (t *served[K, V, PK, PV]) entry(ctx context.Context, k *K) []byte {
	var v V
	if t.table.Lookup(ctx, k, &v) != nil {
		return nil
	}
	return PV(&v).AppendAttrs([]byte{}, false)
}

// dump is TYPE-get, dump.
func (t *served[K, V, PK, PV]) dump(r *genl.ServerRequest) (genl.DumpCursor, error) {
	d := &servedDump[K, V, PK, PV]{t: t, r: r, begun: t.server.generation(r.Context())}
	var filter *K
	for i := range t.desc.Fields {
		f := &t.desc.Fields[i]
		if !f.Key {
			break
		}
		if !r.Has(f.Attr) {
			continue
		}
		d.wanted = append(d.wanted, f.Attr)
		if f.Offset == 0 {
			filter = &d.want
		}
	}
	if err := PK(&d.want).DecodeAttrs(r.Attrs); err != nil {
		return nil, err
	}
	d.cur = t.table.Cursor(r.Context(), filter)
	return d, nil
}

// servedDump is a dump under way.
type servedDump[K, V any, PK servedKey[K], PV valueCodec[K, V]] struct {
	t      *served[K, V, PK, PV]
	r      *genl.ServerRequest
	cur    Cursor[K, V]
	want   K
	wanted []uint16 // attributes of the key that have to be as in want
	k      K
	v      V
	buf    []byte // attributes of the entry
	begun  uint32 // generation
	over   bool   // there are no more entries
}

// Next implements genl.DumpCursor. It tells the generation before the first entry
// and at the end, which is a part of its own: to ask at each part would cost more the
// more netdevs there are, where to tell is to look at all of them.
func (d *servedDump[K, V, PK, PV]) Next(w *genl.DumpWriter) error {
	// As in the module, no entry begins where the largest would have no room.
	if w.Room() < d.t.room {
		return genl.ErrNoRoom
	}
	w.Consistent(d.begun)
	if d.over = d.over || !d.advance(); !d.over {
		d.buf = PV(&d.v).AppendAttrs(PK(&d.k).AppendAttrs(d.buf[:0]), false)
		w.Write(d.buf)
		return nil
	}
	if err := d.cur.Err(); err != nil {
		return refusal(d.t.desc.Set, d.r, err)
	}
	if w.Empty() {
		w.Consistent(d.t.server.generation(d.r.Context()))
	}
	return io.EOF
}

// advance reads the next entry that is wanted.
func (d *servedDump[K, V, PK, PV]) advance() bool {
	for d.cur.Next(&d.k, &d.v) {
		if d.matches() {
			return true
		}
	}
	return false
}

// matches tells whether the entry is wanted.
func (d *servedDump[K, V, PK, PV]) matches() bool {
	if len(d.wanted) == 0 {
		return true
	}
	have, want := PK(&d.k).AppendAttrs(nil), PK(&d.want).AppendAttrs(nil)
	for _, id := range d.wanted {
		if !slices.Equal(attrOf(have, id), attrOf(want, id)) {
			return false
		}
	}
	return true
}

// attrOf returns the payload of an attribute.
func attrOf(b []byte, id uint16) []byte {
	for len(b) > 0 {
		typ, data, rest, ok := nextAttr(b)
		if !ok || typ == id {
			return data
		}
		b = rest
	}
	return nil
}

// Close implements genl.DumpCursor.
func (d *servedDump[K, V, PK, PV]) Close() error { return d.cur.Close() }

// sortPolicies puts policies in the order in which they have to be.
func sortPolicies(set *genl.PolicySet) {
	slices.SortFunc(set.Attrs, func(a, b genl.AttrPolicy) int { return cmp.Compare(a.Attr, b.Attr) })
}

// policy is what is accepted for an attribute.
func (a *AttrInfo) policy() genl.Policy {
	n := uint32(a.Len)
	switch a.Kind {
	case KindString:
		return genl.Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: &n}
	case KindBinary:
		return genl.Policy{Type: unix.NL_ATTR_TYPE_BINARY, MinLength: &n, MaxLength: &n}
	}
	p := genl.Policy{Type: unix.NL_ATTR_TYPE_U32}
	if a.Kind == KindU64 {
		p.Type = unix.NL_ATTR_TYPE_U64
	}
	if a.Mask != 0 {
		p.Mask = &a.Mask
		return p
	}
	if a.Min != 0 {
		p.MinValue = &a.Min
	}
	if a.Max != 0 {
		p.MaxValue = &a.Max
	}
	return p
}
