// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"strings"
	"text/template"
)

// mdWidth is the width that paragraphs are wrapped to.
const mdWidth = 80

var mdFuncs = template.FuncMap{
	"mdAnchor": func(s *AttrSet) string { return "set-" + s.Name },
	"mdAttr":   mdAttr,
	"mdBit":    mdBit,
	"mdChecks": mdChecks,
	"mdList":   mdList,
	"mdOps":    mdOps,
	"mdText":   mdText,
	"mdType":   mdType,
	"mdWhere":  mdWhere,
}

// mdText wraps paragraphs.
func mdText(text string) string {
	var out []string
	for para := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		out = append(out, wrap(para, "", "", mdWidth))
	}
	return strings.Join(out, "\n\n")
}

// mdOps returns the operations of a control type, by the names of enum ctrl-op.
func mdOps(t *ControlType) string {
	ops := "get-next, lookup"
	if t.Put != nil {
		ops += ", update"
	}
	if t.Del != nil {
		ops += ", delete"
	}
	return ops
}

func mdAttr(m Member) string {
	switch {
	case m.Pad:
		return "padding"
	case m.Attr == nil:
		return "the attributes that are there"
	default:
		return "`" + m.Attr.Name + "`"
	}
}

func mdBit(m Member) string {
	if m.Attr == nil {
		return ""
	}
	return fmt.Sprintf("%d, %#x", m.Attr.ID, uint64(1)<<m.Attr.ID)
}

func mdWhere(m Member) string {
	switch {
	case m.Reply && m.Set:
		return "lookup, update"
	case m.Set:
		return "update"
	case m.Reply:
		return "lookup"
	default:
		return ""
	}
}

func mdList(attrs []*Attr) string {
	if len(attrs) == 0 {
		return "nothing"
	}
	var names []string
	for _, a := range attrs {
		names = append(names, "`"+a.Name+"`")
	}
	return strings.Join(names, ", ")
}

func mdType(a *Attr) string {
	switch {
	case a.Enum != nil:
		return fmt.Sprintf("%s, [`%s`](#%s)", a.Kind, a.Enum.Name, a.Enum.Name)
	case a.Hex:
		return string(a.Kind) + ", printed in hexadecimal"
	default:
		return string(a.Kind)
	}
}

func mdChecks(a *Attr) string {
	if a.Kind == KindString {
		return fmt.Sprintf("at most %d bytes and a NUL", *a.Checks.MaxLen)
	}
	if a.Kind == KindBinary {
		return fmt.Sprintf("%d bytes", *a.Checks.ExactLen)
	}
	if a.Enum != nil && a.Enum.Flags {
		return fmt.Sprintf("within %#x", a.Enum.Mask())
	}
	lo, hi := a.bounds()
	switch {
	case hi > 0:
		return fmt.Sprintf("%d to %d", lo, hi)
	case lo > 0:
		return fmt.Sprintf("at least %d", lo)
	default:
		return ""
	}
}
