// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// same stands for an errno that depends on the kernel, and must be the same at
// both doors all the same.
const same = unix.Errno(1 << 20)

// turn is a request, and the errno that it must end with.
// What has a control device is of the module only.
type turn struct {
	name  string
	do    func(w *world, c family.Control) error
	errno unix.Errno
}

// differ makes the same requests through each door, each in a world of its own,
// and wants the same of both after every one: the errno, and all that there is
// then, which every door must see alike. It returns what there was after each.
func differ(t *testing.T, b backend, prepare func(w *world), turns []turn) []string {
	t.Helper()
	var first []string
	for i, d := range b.doors() {
		w := newWorld(t, b)
		if prepare != nil {
			prepare(w)
		}
		var after []string
		for _, s := range turns {
			if b != module && strings.HasPrefix(s.name, "control device") {
				after = append(after, s.name+"\n"+w.everything())
				continue
			}
			got := w.errno(s.do(w, w.doors[d.name]))
			if s.errno != same && got != s.errno {
				t.Errorf("%s at the %s door: got errno %d (%v), want %d", s.name, d.name, int(got), got, int(s.errno))
			}
			w.compareQuickly()
			after = append(after, fmt.Sprintf("%s: errno %d\n%s", s.name, int(got), w.everything()))
		}
		w.compareAll()
		if i == 0 {
			first = after
			continue
		}
		for n := range turns {
			if diff := cmp.Diff(first[n], after[n]); diff != "" {
				t.Errorf("%s, -%s +%s:\n%s", turns[n].name, b.doors()[0].name, d.name, diff)
			}
		}
	}
	return first
}

// everything is what can be set in a world, in words that are the same in
// another: without ids of programs, links, maps and BTF.
func (w *world) everything() string {
	w.Helper()
	c := w.one()
	var s strings.Builder
	for _, e := range entries(w, c.Prog(), nil) {
		fmt.Fprintf(&s, "prog %d %#x: %s%s\n", e.Key.Ifindex, e.Key.Queue, w.describe(&e.Value), describeStack(&e.Value))
	}
	for _, e := range entries(w, c.Attr(), nil) {
		v := e.Value
		hide(&v.MDBTFID)
		hide(&v.PlaceholderProgID)
		fmt.Fprintf(&s, "attr %d: %+v\n", e.Key.Ifindex, v)
	}
	for _, e := range entries(w, c.Port(), nil) {
		fmt.Fprintf(&s, "port %d: %d maps %v\n", e.Key.Port, e.Value.Ifindex, e.Value.DevmapID != 0 && e.Value.IndexMapID != 0)
	}
	return s.String()
}

// hide puts 1 in the place of an id.
func hide(id *uint32) {
	if *id != 0 {
		*id = 1
	}
}

// describeStack is what the module knows of a program beyond what the core does.
func describeStack(v *family.Prog) string {
	var s strings.Builder
	if v.Has(family.AttrProgState) {
		fmt.Fprintf(&s, " %v", v.State)
	}
	if v.Has(family.AttrProgDispatcherProgID) {
		s.WriteString(" dispatched")
	}
	if v.Has(family.AttrProgRequiredFeatures) {
		fmt.Fprintf(&s, " features %v", v.RequiredFeatures)
	}
	if v.Has(family.AttrProgRequiredRXMetadataFeatures) {
		fmt.Fprintf(&s, " rx-metadata %v", v.RequiredRXMetadataFeatures)
	}
	if v.Has(family.AttrProgRequiredActions) {
		fmt.Fprintf(&s, " actions %v", v.RequiredActions)
	}
	return s.String()
}

// wantLines compares what there was after a turn with what is wanted, line by line:
// those that begin with prefix.
func wantLines(t *testing.T, after, prefix string, lines ...string) {
	t.Helper()
	var got []string
	for l := range strings.Lines(after) {
		if strings.HasPrefix(l, prefix) {
			got = append(got, strings.TrimSpace(l))
		}
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		name, _, _ := strings.Cut(after, "\n")
		t.Errorf("after %s, -want +got:\n%s", name, diff)
	}
}

// withoutName is what there was, without the line that names the request.
func withoutName(after string) string {
	_, state, _ := strings.Cut(after, "\n")
	return state
}
