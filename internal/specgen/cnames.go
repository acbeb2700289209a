// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

// cWidth is the width that C text is wrapped to.
const cWidth = 79

// cView is what the templates of C files see.
type cView struct {
	*Family
	BTF   *BTF
	Words []uint32
}

func newCView(f *Family) (*cView, error) {
	b, err := NewBTF(f)
	if err != nil {
		return nil, err
	}
	words, err := b.Words()
	if err != nil {
		return nil, err
	}
	return &cView{f, b, words}, nil
}

var cFuncs = template.FuncMap{
	"attrMacro": attrMacro,
	"cDecl":     cDecl,
	"cDoc":      cDoc,
	"cField":    cField,
	"cFlags":    cFlags,
	"cMember":   cMember,
	"cOps":      cOps,
	"cPolicy":   cPolicy,
	"cProse":    cProse,
	"cProto":    cProto,
	"cString":   cStringRows,
	"goString":  goStringRows,
	"last":      last,
	"macro":     macroName,
	"wordRows":  wordRows,
}

// attrMacro returns the C constant of an attribute's id.
func attrMacro(f *Family, a *Attr) string {
	return macroName(f.Name, "a", a.Set.Name, a.Name)
}

// cDecl returns the declaration of a member.
func cDecl(m Member) string {
	decl := map[int]string{1: "__u8", 2: "__u16", 4: "__u32", 8: "__u64"}[m.Elem]
	if m.Attr != nil && m.Attr.Kind == KindString {
		decl = "char"
	}
	decl += " " + m.Name
	if m.Count > 0 {
		decl += fmt.Sprintf("[%d]", m.Count)
	}
	return decl + ";"
}

// cDoc returns text as an element of a kernel-doc comment, after lead.
func cDoc(lead, text string) string {
	if text = oneLine(text); text == "" {
		return " * " + lead
	}
	return wrap(text, " * "+lead, " *   ", cWidth)
}

// cProse returns text as paragraphs of a C comment.
func cProse(text string) string {
	var out []string
	for para := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		out = append(out, wrap(para, " * ", " * ", cWidth))
	}
	return strings.Join(out, "\n *\n")
}

// cMember returns the documentation of a member.
func cMember(f *Family, m Member) string {
	switch {
	case m.Pad:
		return cDoc("@"+m.Name+": ", "padding, 0")
	case m.Attr == nil:
		return cDoc("@"+m.Name+": ", "bit n is set if the attribute with id n is there")
	default:
		return cDoc("@"+m.Name+": ", m.Attr.Doc)
	}
}

// cField returns the initializer of a struct xdpctl_field, its parts on as few
// lines as they fit in.
func cField(f *Family, m Member, structName string) string {
	var b strings.Builder
	line := "\t{"
	for _, part := range []string{
		attrMacro(f, m.Attr) + ",",
		fmt.Sprintf("offsetof(struct %s, %s),", structName, m.Name),
		fmt.Sprintf("sizeof_field(struct %s, %s),", structName, m.Name),
		"XDPCTL_KIND_" + macroName(string(m.Attr.Kind)) + ",",
		cFlags(m) + cBounds(m) + " },",
	} {
		if columns(line)+1+len(part) > cWidth {
			b.WriteString(line + "\n")
			line = "\t "
		}
		line += " " + part
	}
	b.WriteString(line)
	return b.String()
}

// cProto returns the prototype that begins with head and takes args, which are
// aligned with the parenthesis where they do not fit in one line.
func cProto(head, args string) string {
	if len(head)+len(args)+2 <= cWidth {
		return head + args + ");"
	}
	indent := strings.Repeat("\t", len(head)/8) + strings.Repeat(" ", len(head)%8)
	return head + strings.ReplaceAll(args, ", ", ",\n"+indent) + ");"
}

// cFlags returns the flags of a field.
func cFlags(m Member) string {
	var out []string
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Key, "KEY"}, {m.Reply, "REPLY"}, {m.Set, "SET"}} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, " | ")
}

// cBounds returns the bounds of a field that the caller gives, if there are any.
func cBounds(m Member) string {
	lo, hi := m.Attr.bounds()
	if !m.Key && !m.Set || lo == 0 && hi == 0 {
		return ""
	}
	return fmt.Sprintf(", %d, %d", lo, hi)
}

// cOps returns the operations that a control type supports.
func cOps(t *ControlType) string {
	ops := []string{"GET_NEXT", "LOOKUP"}
	if t.Put != nil {
		ops = append(ops, "UPDATE")
	}
	if t.Del != nil {
		ops = append(ops, "DELETE")
	}
	for i := range ops {
		ops[i] = "XDPCTL_CTRL_OP_" + ops[i]
	}
	return strings.Join(ops, " |\n\t\t\t    ")
}

// cPolicy returns the policy of an attribute.
func cPolicy(a *Attr) string {
	lo, hi := a.bounds()
	typ := "NLA_" + strings.ToUpper(string(a.Kind))
	switch {
	case a.Kind == KindString:
		return fmt.Sprintf("{ .type = NLA_NUL_STRING, .len = %d }", *a.Checks.MaxLen)
	case a.Kind == KindBinary:
		return fmt.Sprintf("NLA_POLICY_EXACT_LEN(%d)", *a.Checks.ExactLen)
	case a.Enum != nil && a.Enum.Flags:
		return fmt.Sprintf("NLA_POLICY_MASK(%s, %#x)", typ, a.Enum.Mask())
	case lo > 0 && hi > 0:
		return fmt.Sprintf("NLA_POLICY_RANGE(%s, %d, %d)", typ, lo, hi)
	case lo > 0:
		return fmt.Sprintf("NLA_POLICY_MIN(%s, %d)", typ, lo)
	case hi > 0:
		return fmt.Sprintf("NLA_POLICY_MAX(%s, %d)", typ, hi)
	default:
		return fmt.Sprintf("{ .type = %s }", typ)
	}
}

// bounds returns the least and the greatest value of a number, 0 for none.
func (a *Attr) bounds() (lo, hi uint64) {
	if a.Enum != nil && !a.Enum.Flags {
		lo, hi = a.Enum.Start, a.Enum.Max()
	}
	if a.Checks.Min != nil {
		lo = max(lo, *a.Checks.Min)
	}
	if a.Checks.Max != nil && (hi == 0 || *a.Checks.Max < hi) {
		hi = *a.Checks.Max
	}
	return lo, hi
}

// last returns the last attribute of a list in order of id.
func last(attrs []*Attr) *Attr {
	return attrs[len(attrs)-1]
}

// wordRows returns the words but the first, some to a line.
func wordRows(words []uint32) []string {
	const perRow = 6
	var rows []string
	for words = words[1:]; len(words) > 0; words = words[min(perRow, len(words)):] {
		var row []string
		for _, w := range words[:min(perRow, len(words))] {
			row = append(row, fmt.Sprintf("0x%08x,", w))
		}
		rows = append(rows, strings.Join(row, " "))
	}
	return rows
}

// cStringRows returns the strings of a string section as literals that include
// the NUL, but the last, to which the compiler adds it.
func cStringRows(section []byte) []string {
	names := strings.Split(strings.TrimSuffix(string(section), "\x00"), "\x00")
	var rows []string
	row := `"`
	for i, name := range names {
		if i < len(names)-1 {
			name += `\0`
		}
		if len(row)+len(name) > 70 {
			rows = append(rows, row+`"`)
			row = `"`
		}
		row += name
	}
	return append(rows, row+`"`)
}

// goStringRows returns a string section as literals.
func goStringRows(section []byte) []string {
	var rows []string
	row := ""
	for _, name := range strings.SplitAfter(string(section), "\x00") {
		if len(row)+len(name) > 60 {
			rows = append(rows, strconv.Quote(row))
			row = ""
		}
		row += name
	}
	return append(rows, strconv.Quote(row))
}

// RequestOp is an operation with the stem of its handlers' names.
type RequestOp struct {
	Op      *Op
	Handler string

	// Start tells that a dump has handlers for its start and end.
	Start bool
}

// RequestOps returns the operations that are requested, not notified of.
func (f *Family) RequestOps() []RequestOp {
	var out []RequestOp
	for _, o := range f.Ops {
		if o.Notify != nil || o.Event != nil {
			continue
		}
		r := RequestOp{o, o.Verb(), true}
		for _, obj := range f.Objects {
			if obj.Get == o {
				r.Handler, r.Start = cName(o.Name), false
			}
		}
		out = append(out, r)
	}
	return out
}
