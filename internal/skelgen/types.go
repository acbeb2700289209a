// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// goType is a Go type for a C one.
type goType struct {
	expr        string
	size, align uint32
}

// typeKey is a type as it is declared: for values, or for memory that the
// kernel writes.
type typeKey struct {
	t      btf.Type
	shared bool
}

// types makes Go types of BTF.
type types struct {
	prefix string
	names  pool
	known  map[typeKey]goType
	decls  []string
}

var errOpaque = errors.New("type has no size")

// bare is a type without qualifiers and typedefs, and the name of the last
// typedef.
func bare(t btf.Type) (btf.Type, string) {
	name := ""
	for range 64 {
		switch v := t.(type) {
		case *btf.Typedef:
			name, t = v.Name, v.Type
		case *btf.Const:
			t = v.Type
		case *btf.Volatile:
			t = v.Type
		case *btf.Restrict:
			t = v.Type
		case *btf.TypeTag:
			t = v.Type
		case *btf.Var:
			t = v.Type
		default:
			return t, name
		}
	}
	return t, name
}

// bytes is a type that is nothing but bytes.
func bytesType(n uint32) goType { return goType{fmt.Sprintf("[%d]byte", n), n, 1} }

// plain is the type of values. Hint is a name for what has none.
func (ts *types) plain(t btf.Type, hint string) (goType, error) {
	under, typedef := bare(t)
	if typedef != "" {
		hint = typedef
	}
	switch v := under.(type) {
	case *btf.Int:
		return intType(v), nil
	case *btf.Float:
		if v.Size == 4 || v.Size == 8 {
			return goType{fmt.Sprintf("float%d", 8*v.Size), v.Size, v.Size}, nil
		}
		return bytesType(v.Size), nil
	case *btf.Enum:
		return ts.enum(v, hint)
	case *btf.Pointer:
		return goType{"uint64", 8, 8}, nil
	case *btf.Array:
		elem, err := ts.plain(v.Type, hint)
		if err != nil {
			return goType{}, err
		}
		return array(v.Nelems, elem), nil
	case *btf.Struct:
		return ts.composite(v, v.Name, hint, v.Size, v.Members, false, false)
	case *btf.Union:
		return ts.composite(v, v.Name, hint, v.Size, v.Members, true, false)
	}
	return goType{}, fmt.Errorf("%v: %w", t, errOpaque)
}

func array(n uint32, elem goType) goType {
	return goType{fmt.Sprintf("[%d]%s", n, elem.expr), n * elem.size, elem.align}
}

func intType(v *btf.Int) goType {
	switch {
	case v.Encoding == btf.Bool && v.Size == 1:
		return goType{"bool", 1, 1}
	case v.Size == 1 && (v.Encoding == btf.Char || v.Name == "char"):
		return goType{"byte", 1, 1}
	case v.Size > 8:
		return bytesType(v.Size)
	case v.Encoding == btf.Signed:
		return goType{fmt.Sprintf("int%d", 8*v.Size), v.Size, v.Size}
	}
	return goType{fmt.Sprintf("uint%d", 8*v.Size), v.Size, v.Size}
}

// shared is the type of memory that the kernel writes, if a field can have it.
// Otherwise accessors are to copy values.
func (ts *types) shared(t btf.Type, hint string) (_ goType, ok bool, err error) {
	under, typedef := bare(t)
	if typedef != "" {
		hint = typedef
	}
	switch v := under.(type) {
	case *btf.Int:
		if v.Size != 4 && v.Size != 8 {
			return goType{}, false, nil
		}
		return atomicType(v.Size, v.Encoding == btf.Signed), true, nil
	case *btf.Enum:
		if v.Size != 4 && v.Size != 8 {
			return goType{}, false, nil
		}
		return atomicType(v.Size, v.Signed), true, nil
	case *btf.Pointer:
		return atomicType(8, false), true, nil
	case *btf.Array:
		elem, ok, err := ts.shared(v.Type, hint)
		return array(v.Nelems, elem), ok, err
	case *btf.Struct:
		gt, err := ts.composite(v, v.Name, hint, v.Size, v.Members, false, true)
		return gt, true, err
	case *btf.Union:
		gt, err := ts.composite(v, v.Name, hint, v.Size, v.Members, true, true)
		return gt, true, err
	}
	return goType{}, false, nil
}

func atomicType(size uint32, signed bool) goType {
	name := "Uint"
	if signed {
		name = "Int"
	}
	return goType{fmt.Sprintf("atomic.%s%d", name, 8*size), size, size}
}

// enum declares an enum with a name; others are integers.
func (ts *types) enum(v *btf.Enum, hint string) (goType, error) {
	key := typeKey{v, false}
	if gt, ok := ts.known[key]; ok {
		return gt, nil
	}
	under := fmt.Sprintf("uint%d", 8*v.Size)
	if v.Signed {
		under = under[1:]
	}
	name := v.Name
	if name == "" {
		name = hint
	}
	if name == "" || len(v.Values) == 0 {
		return goType{under, v.Size, v.Size}, nil
	}
	gt := goType{ts.names.take(ts.prefix + camel(name)), v.Size, v.Size}
	ts.known[key] = gt
	var b strings.Builder
	fmt.Fprintf(&b, "// %s is enum %s.\ntype %s %s\n", gt.expr, name, gt.expr, under)
	if cut(v) {
		ts.decls = append(ts.decls, b.String())
		return gt, nil
	}
	fmt.Fprintf(&b, "\n// Values of enum %s.\nconst (\n", name)
	for _, ev := range v.Values {
		id := ts.names.take(ts.prefix + camel(ev.Name))
		if v.Signed {
			fmt.Fprintf(&b, "%s %s = %d\n", id, gt.expr, int64(ev.Value))
		} else {
			fmt.Fprintf(&b, "%s %s = %d\n", id, gt.expr, ev.Value)
		}
	}
	b.WriteString(")\n")
	ts.decls = append(ts.decls, b.String())
	return gt, nil
}

// cut tells whether the values of an enum lack their upper half, as older
// compilers write them: some value needs 8 bytes, else the enum would have 4.
func cut(e *btf.Enum) bool {
	if e.Size != 8 {
		return false
	}
	for _, v := range e.Values {
		if int64(v.Value) != int64(int32(v.Value)) && v.Value != uint64(uint32(v.Value)) {
			return false
		}
	}
	return true
}

// composite declares a struct or a union.
func (ts *types) composite(t btf.Type, name, hint string, size uint32, members []btf.Member, union, shared bool) (goType, error) {
	key := typeKey{t, shared}
	if gt, ok := ts.known[key]; ok {
		return gt, nil
	}
	if name == "" {
		name = hint
	}
	id := ts.prefix + camel(name)
	if shared {
		id += "Shared"
	}
	gt := goType{ts.names.take(id), size, 1}
	ts.known[key] = gt
	word := "struct"
	if union {
		word = "union"
	}
	doc := fmt.Sprintf("// %s is %s %s.", gt.expr, word, name)
	if shared {
		doc = fmt.Sprintf("// %s is %s %s in memory that programs write.", gt.expr, word, name)
	}
	c := &composite{ts: ts, name: gt.expr, cname: name, doc: doc, size: size, members: members, shared: shared, align: 8}
	var err error
	if union {
		gt.align, err = c.union()
	} else {
		gt.align, err = c.structure()
	}
	if err != nil {
		delete(ts.known, key)
		return goType{}, fmt.Errorf("%s %s: %w", word, name, err)
	}
	ts.known[key] = gt
	ts.decls = append(ts.decls, c.text())
	return gt, nil
}
