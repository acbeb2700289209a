// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/xdpctl/xdpctl-nl/family"
)

// pinnedRun is what has come of comparing pinned maps in a case.
var pinnedRun struct {
	sync.Mutex
	held  int      // entries that the maps held
	diffs []string // what they say that embedded does not
}

// requiredBits are the bits of presence of what a program requires.
var requiredBits = map[string]uint64{
	"required_features":             1 << family.AttrProgRequiredFeatures,
	"required_rx_metadata_features": 1 << family.AttrProgRequiredRXMetadataFeatures,
	"required_actions":              1 << family.AttrProgRequiredActions,
}

// answer is an entry of a control type as embedded has it, by the names of the
// spec.
type answer struct{ key, value record }

func answerOf[K, V any](d *family.TypeDesc, e *family.Entry[K, V]) answer {
	a := answer{make(record), make(record)}
	key := unsafe.Slice((*byte)(unsafe.Pointer(&e.Key)), unsafe.Sizeof(e.Key))
	value := unsafe.Slice((*byte)(unsafe.Pointer(&e.Value)), unsafe.Sizeof(e.Value))
	present := number(value[:8])
	for _, f := range d.Fields {
		name := strings.ReplaceAll(d.Set.AttrName(f.Attr), "-", "_")
		switch {
		case f.Size > 8: // a text
		case f.Key:
			a.key[name] = number(key[f.Offset:][:f.Size])
		case present&(1<<f.Attr) != 0:
			a.value[name] = number(value[f.Offset:][:f.Size])
		}
	}
	return a
}

// comparePinned compares what the pinned maps hold of entries with what embedded
// says of them. What is the control type; of ports they must be all.
func comparePinned[K, V any](w *world, what string, list ...family.Entry[K, V]) {
	w.Helper()
	if w.backend == module || what == "caps" {
		return
	}
	if w.pins == nil {
		w.pins = openPins(w.T, w.ns)
	}
	w.pins.forget()
	var d *family.TypeDesc
	for i := range family.Descs() {
		if family.Descs()[i].MapName == "xdp_"+what {
			d = &family.Descs()[i]
		}
	}
	names := make(map[uint64]string)
	if what == "stats" {
		for _, l := range w.ns.Links() {
			names[uint64(l.Index)] = l.Name
		}
	}
	if what == "port" {
		note(w.Name()+" ports", record{"number": uint64(len(w.pins.ports()))}, record{"number": uint64(len(list))}, false)
	}
	for i := range list {
		a := answerOf(d, &list[i])
		got, held := w.pinned(what, a, names)
		note(fmt.Sprintf("%s %s of %v", w.Name(), what, a.key), got, a.value, held)
	}
}

// pinned is what the maps hold of an entry.
func (w *world) pinned(what string, a answer, names map[uint64]string) (got record, held bool) {
	w.Helper()
	p, ifindex, queue := w.pins, a.key["ifindex"], a.key["queue"]
	switch what {
	case "stats":
		if names[ifindex] == "" {
			return nil, false // it has gone
		}
		return p.stats(ifindex, names[ifindex])
	case "qstats":
		got = p.meter(ifindex)[queue]
	case "attr":
		return p.attr(ifindex)
	case "port":
		got = p.ports()[a.key["port"]]
		if got == nil {
			got = record{"ifindex": 0} // what is bound must be there
		}
	case "prog":
		if a.value["owner"] != uint64(family.OwnerModule) {
			return nil, false
		}
		got = p.prog(ifindex, queue, a.value["prog_id"], a.value["dispatcher_prog_id"])
		if got == nil {
			got = record{"prog_id": 0}
		}
		for name := range requiredBits {
			if _, is := a.value[name]; is && got[name] == 0 {
				got[name] = 0 // what is required must be there
			}
		}
	}
	return got, got != nil
}

// note takes down what has come of a comparison.
func note(what string, got, want record, held bool) {
	pinnedRun.Lock()
	defer pinnedRun.Unlock()
	if held {
		pinnedRun.held++
	}
	for name, n := range got {
		if have, is := want[name]; !is {
			pinnedRun.diffs = append(pinnedRun.diffs, fmt.Sprintf("%s: %s is %d in a pinned map, absent embedded", what, name, n))
		} else if have != n {
			pinnedRun.diffs = append(pinnedRun.diffs, fmt.Sprintf("%s: %s is %d in a pinned map, %d embedded", what, name, n, have))
		}
	}
}

// judgePinned holds what has come of a case to the table of deviations: nothing is
// what no pinned map holds anything of.
func judgePinned(t *testing.T) {
	t.Helper()
	pinnedRun.Lock()
	defer pinnedRun.Unlock()
	held, diffs := pinnedRun.held, pinnedRun.diffs
	pinnedRun.held, pinnedRun.diffs = 0, nil
	if os.Getenv(only) != "" {
		return // the parent does
	}
	verdict, reason := deviation(t.Name() + "/pinned")
	if len(diffs) > 10 {
		diffs = append(diffs[:10:10], fmt.Sprintf("and %d more", len(diffs)-10))
	}
	text := strings.Join(diffs, "\n")
	switch {
	case verdict == "different" && text == "":
		t.Errorf("the table says that pinned maps differ (%s), and they come out equal", reason)
	case verdict == "different":
		t.Logf("pinned maps, %s: %s\n%s", verdict, reason, text)
	case text != "":
		t.Errorf("pinned maps:\n%s", text)
	case verdict == "nothing" && held > 0:
		t.Errorf("the table says that pinned maps hold nothing (%s), and they hold %d entries", reason, held)
	case verdict == "" && held == 0:
		t.Error("pinned maps hold nothing, and the table does not say so")
	default:
		t.Logf("pinned maps hold %d entries, as embedded says", held)
	}
}
