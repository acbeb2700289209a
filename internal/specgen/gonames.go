// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// commentWidth is the width that comments are wrapped to.
const commentWidth = 80

var funcs = template.FuncMap{
	"appendCall": appendCall,
	"attrConst":  attrConst,
	"c":          cName,
	"comment":    comment,
	"getCall":    getCall,
	"numbers":    numbers,
	"goName":     goName,
	"goType":     goType,
	"hexBig":     hexBig,
	"kindWord":   kindWord,
	"lowerFirst": lowerFirst,
	"mask":       presenceMask,
	"bounds":     goBounds,
	"checks":     goChecks,
	"oneLine":    oneLine,
	"strMax":     strMax,
	"strNote":    strNote,
}

// Array is a Go type for strings or bytes of one length.
type Array struct {
	Go   string
	Hex  bool
	Size int
	Max  int
}

// Arrays returns the array types that the structs need, each once.
func (f *Family) Arrays() []Array {
	var out []Array
	add := func(s Struct) {
		for _, m := range s.Attrs() {
			if m.Count == 0 {
				continue
			}
			a := Array{goType(m.Attr), m.Attr.Kind == KindBinary, m.Count, m.Count - 1}
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	for _, t := range f.Types {
		add(t.Key)
		add(t.Value)
	}
	for _, o := range f.Objects {
		add(o.Value)
	}
	return out
}

// attrConst returns the Go constant of an attribute's id.
func attrConst(a *Attr) string {
	return "Attr" + goName(a.Set.Name) + goName(a.Name)
}

func goType(a *Attr) string {
	if a.Enum != nil {
		return goName(a.Enum.Name)
	}
	switch a.Kind {
	case KindU32:
		return "uint32"
	case KindU64:
		return "uint64"
	case KindString:
		return fmt.Sprintf("String%d", newMember(a).Count)
	default:
		return fmt.Sprintf("Bytes%d", newMember(a).Count)
	}
}

// getCall returns the call that reads p into the field of recv.
func getCall(m Member, recv string) string {
	field := recv + "." + goName(m.Attr.Name)
	switch m.Attr.Kind {
	case KindU32:
		return fmt.Sprintf("getU32(p, &%s)", field)
	case KindU64:
		return fmt.Sprintf("getU64(p, &%s)", field)
	case KindString:
		return fmt.Sprintf("getString(p, %s[:], %d)", field, strMax(m.Attr))
	default:
		return fmt.Sprintf("getBytes(p, %s[:])", field)
	}
}

// numbers are the members that are numbers of 64 bits, where they are many: then it
// is worth it to read them by a path of their own.
func numbers(all []Member) []Member {
	all = slices.DeleteFunc(slices.Clone(all), func(m Member) bool { return m.Attr.Kind != KindU64 || m.Count > 0 })
	if len(all) < 8 {
		return nil
	}
	return all
}

// appendCall returns the call that appends the field of recv to b.
func appendCall(m Member, recv string) string {
	f := map[Kind]string{
		KindU32: "appendU32", KindU64: "appendU64",
		KindString: "appendString", KindBinary: "appendBytes",
	}[m.Attr.Kind]
	field := recv + "." + goName(m.Attr.Name)
	if m.Count > 0 {
		field += "[:]"
	}
	return fmt.Sprintf("%s(b, %s, %s)", f, attrConst(m.Attr), field)
}

// strMax returns the greatest length of a string, or 0 for another type.
func strMax(a *Attr) int {
	if a.Kind != KindString {
		return 0
	}
	return *a.Checks.MaxLen
}

func strNote(a *Attr) string {
	if n := strMax(a); n > 0 {
		return fmt.Sprintf(", cut off after %d bytes,", n)
	}
	return ""
}

// presenceMask returns the bits of the attributes that stand in reply or set, or
// of all.
func presenceMask(s Struct, where string) string {
	var mask uint64
	for _, m := range s.Attrs() {
		if where == "reply" && m.Reply || where == "set" && m.Set || where == "all" {
			mask |= 1 << m.Attr.ID
		}
	}
	return fmt.Sprintf("%#x", mask)
}

// hexBig returns v in decimal, or in hexadecimal if it fills 32 bits.
func hexBig(v uint64) string {
	if v > 1<<31-1 {
		return fmt.Sprintf("%#x", v)
	}
	return fmt.Sprint(v)
}

// comment returns text as a Go comment that is indented by indent.
func comment(indent, text string) string {
	return wrap(text, "// ", indent+"// ", commentWidth)
}

func lowerFirst(s string) string {
	for long := range strings.SplitSeq("BPF BTF XDP", " ") {
		if strings.HasPrefix(s, long) {
			return strings.ToLower(long) + s[len(long):]
		}
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// kindWord returns what the spec calls e.
func kindWord(e *Enum) string {
	if e.Flags {
		return "flags"
	}
	return "enum"
}

// goBounds returns the members Min and Max of a Field, as far as there are any.
func goBounds(a *Attr) string {
	lo, hi := a.bounds()
	s := ""
	if lo > 0 {
		s += fmt.Sprintf(", Min: %d", lo)
	}
	if hi > 0 {
		s += fmt.Sprintf(", Max: %d", hi)
	}
	return s
}

// goChecks returns the members of an AttrInfo that say what is accepted, as far
// as there are any.
func goChecks(a *Attr) string {
	switch {
	case a.Kind == KindString:
		return fmt.Sprintf(", Len: %d", *a.Checks.MaxLen)
	case a.Kind == KindBinary:
		return fmt.Sprintf(", Len: %d", *a.Checks.ExactLen)
	case a.Enum != nil && a.Enum.Flags:
		return fmt.Sprintf(", Mask: %#x", a.Enum.Mask())
	}
	return goBounds(a)
}
