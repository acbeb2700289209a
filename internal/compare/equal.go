// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// judge holds answers against each other. Those of one backend must be the same;
// those of the other, what is common to both.
type judge struct {
	tables     []table
	changeable []table
	ways       *ways
}

// errDiffer is the error of answers that are not equal.
func errDiffer(what string, one Way, a any, other Way, b any) error {
	return fmt.Errorf("%s: %s says %s, and %s %s", what, one, describe(a), other, describe(b))
}

func describe(v any) string {
	if e, ok := v.(entry); ok {
		return fmt.Sprintf("%+v: %+v", e.key, e.value)
	}
	return fmt.Sprintf("%+v", v)
}

// present are the ways that are there.
func (j *judge) present() []*way {
	return slices.DeleteFunc(slices.Clone(j.ways.list), func(w *way) bool { return w.control == nil })
}

// same holds what a way says against what another does.
func (j *judge) same(t table, what string, one, other *way, a, b any) error {
	if one.backend != other.backend {
		a, b = t.common(a), t.common(b)
	}
	if !reflect.DeepEqual(a, b) {
		return errDiffer(what, one.name, a, other.name, b)
	}
	return nil
}

// reads reads each table by every way, by iteration and key by key.
func (j *judge) reads() error {
	for _, t := range j.tables {
		var first *way
		var want []entry
		for _, w := range j.present() {
			got, err := j.readAll(t, w)
			if err != nil {
				return fmt.Errorf("%s by way of %s: %w", t.name(), w.name, err)
			}
			if first == nil {
				first, want = w, got
				continue
			}
			if err := j.sameAll(t, first, w, want, got); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameAll holds two iterations against each other.
func (j *judge) sameAll(t table, one, other *way, a, b []entry) error {
	name := t.name()
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i].key != b[i].key {
			return errDiffer("keys of "+name, one.name, keys(a), other.name, keys(b))
		}
		if err := j.same(t, fmt.Sprintf("%s of %+v", name, a[i].key), one, other, a[i].value, b[i].value); err != nil {
			return err
		}
	}
	return nil
}

func keys(list []entry) (keys []any) {
	for _, e := range list {
		keys = append(keys, e.key)
	}
	return keys
}

// readAll iterates, and wants the entry that is asked about to be what a lookup
// says, if it is there.
func (j *judge) readAll(t table, w *way) ([]entry, error) {
	list, err := t.entries(w.control)
	if err != nil {
		return nil, err
	}
	value, err := t.read(w.control)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	there := slices.ContainsFunc(list, func(e entry) bool { return reflect.DeepEqual(e.value, value) })
	if there != (err == nil) {
		return nil, fmt.Errorf("lookup says %+v (%v), which is not what iteration does: %+v", value, err, list)
	}
	return list, nil
}

// changes makes each change by every way, each refusal too, and looks at what came
// of it by all ways into the same backend. Nothing is left of it. What a backend does
// not support, all ways into it must refuse alike.
func (j *judge) changes(prog int) (unsupported map[refusal]error, err error) {
	unsupported = make(map[refusal]error)
	for _, t := range j.changeable {
		ch, _ := t.set(prog)
		var firsts []*way // one that refused and one that did not
		var wants [][]any
		for _, w := range j.present() {
			got, refused, err := j.change(t, ch, w)
			if err != nil {
				return nil, fmt.Errorf("change %s by way of %s: %w", t.name(), w.name, err)
			}
			if refused != nil {
				unsupported[refusal{t.name(), w.backend}] = refused
			}
			i := slices.IndexFunc(firsts, func(first *way) bool {
				return first.backend == w.backend || (unsupported[refusal{t.name(), first.backend}] != nil) == (refused != nil)
			})
			if i < 0 {
				firsts, wants = append(firsts, w), append(wants, got)
				continue
			}
			if !reflect.DeepEqual(wants[i], got) {
				return nil, errDiffer("changes of "+t.name(), firsts[i].name, wants[i], w.name, got)
			}
		}
	}
	return unsupported, nil
}

// refusal is of a change that a backend does not support.
type refusal struct{ name, backend string }

// change sets, sets again, deletes and deletes again, and returns the errno of each
// with what there was then.
func (j *judge) change(t table, ch change, w *way) (seen []any, refused, err error) {
	set, del := t.change(w.control, ch), t.change(w.control, change{})
	for i, do := range []func() error{set, set, del, del} {
		errno, err := errnoOf(do())
		if err != nil {
			return nil, nil, err
		}
		if i == 0 && errno == unix.EOPNOTSUPP {
			return []any{errno}, errno, nil
		}
		state, err := j.state(t, w)
		if err != nil {
			return nil, nil, err
		}
		seen = append(seen, errno, state)
	}
	return seen, nil, nil
}

// state is what all ways into a backend say of the entry, which must be the same.
func (j *judge) state(t table, by *way) (any, error) {
	var first *way
	var want any
	for _, w := range j.present() {
		if w.backend != by.backend {
			continue
		}
		value, err := t.read(w.control)
		got := t.common(value)
		errno, err := errnoOf(err)
		if err != nil {
			return nil, err
		}
		if errno != 0 {
			value, got = errno, errno
		}
		if first == nil {
			first, want = w, got
			continue
		}
		if !reflect.DeepEqual(want, got) {
			return nil, errDiffer(t.name(), first.name, want, w.name, value)
		}
	}
	return want, nil
}

// errnoOf is the errno of a refusal. Another error is one.
func errnoOf(err error) (unix.Errno, error) {
	if err == nil {
		return 0, nil
	}
	var e *family.Error
	if !errors.As(err, &e) {
		return 0, err
	}
	return e.Errno, nil
}
