// SPDX-License-Identifier: BSD-3-Clause

package drvgen

import (
	"fmt"
	"strconv"
	"strings"
)

// Vector is a self-test of the module: strings and numbers as a driver has them,
// and what must be made of them.
type Vector struct {
	Name, Parent string
	Strings      []string
	Values       []uint64
	Expect       []Expect
	Queues       uint32
	Have         []string // counters of the whole netdev, Go names

	// Exceptions by origin and kind: their names in C after XDPCTL_EXC_.
	Exceptions map[string]map[string]uint64

	SomeExc, AllSeen, SeveralQueues bool
}

// Expect is a counter that must be there. All stands for the whole netdev.
type Expect struct {
	Queue string
	Raw   string
	Value uint64
}

// Vectors reads drvstats_tests of kmod/selftest/drvstats_test.c.
func Vectors(src string) ([]Vector, error) {
	_, rest, ok := strings.Cut(src, "drvstats_tests[] __initconst =")
	if !ok {
		return nil, fmt.Errorf("no drvstats_tests")
	}
	text, _, ok := strings.Cut(rest, "\n};")
	if !ok {
		return nil, fmt.Errorf("no end of drvstats_tests")
	}
	p := newParser(text + "\n};")
	var out []Vector
	for _, it := range p.value().List {
		v := Vector{Exceptions: make(map[string]map[string]uint64)}
		for _, f := range it.Value.List {
			if err := v.field(f); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, p.err
}

func (v *Vector) field(f Item) (err error) {
	expr := strings.Join(f.Value.Expr, "")
	switch f.Designator {
	case ".name":
		v.Name, err = strconv.Unquote(expr)
	case ".parent":
		v.Parent, err = strconv.Unquote(expr)
	case ".n_queues":
		var n uint64
		n, err = strconv.ParseUint(expr, 10, 32)
		v.Queues = uint32(n)
	case ".have":
		for name := range strings.SplitSeq(expr, "|") {
			v.Have = append(v.Have, rawArg(name))
		}
	case ".some_exc":
		v.SomeExc = expr == "true"
	case ".all_seen":
		v.AllSeen = expr == "true"
	case ".several_queues":
		v.SeveralQueues = expr == "true"
	case ".data":
		err = v.data(f.Value.List)
	case ".expect":
		err = v.expect(f.Value.List)
	default:
		origin, ok := strings.CutPrefix(f.Designator, ".exc.n[XDPCTL_EXC_")
		if !ok {
			return fmt.Errorf("field %q is not understood", f.Designator)
		}
		err = v.exceptions(strings.TrimSuffix(origin, "]"), f.Value.List)
	}
	return err
}

func (v *Vector) data(list []Item) error {
	for _, it := range list {
		e, n, err := elements(it, 2)
		if err != nil {
			return err
		}
		s, err := strconv.Unquote(e[0])
		if err != nil {
			return err
		}
		v.Strings, v.Values = append(v.Strings, s), append(v.Values, n)
	}
	return nil
}

func (v *Vector) expect(list []Item) error {
	for _, it := range list {
		e, n, err := elements(it, 3)
		if err != nil {
			return err
		}
		v.Expect = append(v.Expect, Expect{e[0], rawArg(e[1]), n})
	}
	return nil
}

func (v *Vector) exceptions(origin string, list []Item) error {
	m := make(map[string]uint64)
	for _, it := range list {
		n, err := strconv.ParseUint(strings.Join(it.Value.Expr, ""), 10, 64)
		if err != nil {
			return err
		}
		kind := strings.TrimSuffix(strings.TrimPrefix(it.Designator, "[XDPCTL_EXC_"), "]")
		m[kind] = n
	}
	v.Exceptions[origin] = m
	return nil
}

// elements returns the expressions of a list of n, of which the last is a number.
func elements(it Item, n int) ([]string, uint64, error) {
	var out []string
	for _, e := range it.Value.List {
		out = append(out, strings.Join(e.Value.Expr, ""))
	}
	if len(out) != n {
		return nil, 0, fmt.Errorf("%d elements, want %d", len(out), n)
	}
	v, err := strconv.ParseUint(out[n-1], 10, 64)
	return out, v, err
}

// rawArg is the Go name of the counter in B(X) or R(X).
func rawArg(s string) string {
	return goName("XDPCTL_RAW_" + strings.TrimSuffix(s[strings.IndexByte(s, '(')+1:], ")"))
}
