// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// word is one keyword that a command takes, as ip(8) has them: a name, and
// mostly a value after it.
type word struct {
	name string // empty: a value without a name, which comes first
	arg  string // what the value is, for help; empty: none follows
	help string

	// group names words that exclude one another. need says that the word,
	// or another of its group, must be there. after names a word without
	// which this one makes no sense.
	group string
	need  bool
	after string
	many  bool // it can be there more than once

	set      func(value string) error
	complete func() []string
}

// label is the word as help writes it.
func (w *word) label() string {
	return strings.TrimSpace(w.name + " " + w.arg)
}

// words are the keywords of a command.
type words []word

// usageError is a command line that makes no sense.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// parse reads the arguments of a command.
func (ws words) parse(args []string) error {
	seen := map[string]string{} // word to value
	args, err := ws.parseFirst(args, seen)
	if err != nil {
		return err
	}
	for len(args) > 0 {
		w, err := ws.find(args[0])
		if err != nil {
			return err
		}
		args = args[1:]
		value := ""
		if w.arg != "" {
			if len(args) == 0 {
				return usagef("%q needs a value: %s", w.name, w.label())
			}
			value, args = args[0], args[1:]
		}
		if err := ws.accept(w, value, seen); err != nil {
			return err
		}
	}
	return ws.complain(seen)
}

// parseFirst reads the value that has no keyword.
func (ws words) parseFirst(args []string, seen map[string]string) ([]string, error) {
	if !ws.hasFirst(args) {
		return args, nil
	}
	return args[1:], ws.accept(&ws[0], args[0], seen)
}

// hasFirst tells whether args begin with the value that has no keyword, which may
// be left out unless it is needed.
func (ws words) hasFirst(args []string) bool {
	if len(ws) == 0 || ws[0].name != "" || len(args) == 0 {
		return false
	}
	_, err := ws.find(args[0])
	return ws[0].need || err != nil
}

// accept takes a word, unless it may not stand with those before it.
func (ws words) accept(w *word, value string, seen map[string]string) error {
	if _, twice := seen[w.name]; twice && !w.many {
		return usagef("%q is there twice", w.name)
	}
	for i := range ws {
		o := &ws[i]
		if _, there := seen[o.name]; there && w.group != "" && o.group == w.group {
			return usagef("%q and %q exclude each other", o.name, w.name)
		}
	}
	seen[w.name] = value
	if err := w.set(value); err != nil {
		return usagef("%s: %v", w.label(), err)
	}
	return nil
}

// complain tells what is missing.
func (ws words) complain(seen map[string]string) error {
	for i := range ws {
		w := &ws[i]
		if _, there := seen[w.name]; there && w.after != "" {
			if _, ok := seen[w.after]; !ok {
				return usagef("%q makes sense with %q only", w.name, w.after)
			}
		}
		if w.need && !ws.anyOf(w, seen) {
			return usagef("%s is missing", ws.alternatives(w))
		}
	}
	return nil
}

// anyOf tells whether w or another of its group was seen.
func (ws words) anyOf(w *word, seen map[string]string) bool {
	for i := range ws {
		if o := &ws[i]; o.name == w.name || (w.group != "" && o.group == w.group) {
			if _, there := seen[o.name]; there {
				return true
			}
		}
	}
	return false
}

// alternatives are w and the others of its group.
func (ws words) alternatives(w *word) string {
	if w.group == "" {
		return w.label()
	}
	var labels []string
	for i := range ws {
		if ws[i].group == w.group {
			labels = append(labels, ws[i].label())
		}
	}
	return strings.Join(labels, ", or ")
}

// find finds a word by its name or a prefix of it that no other has.
func (ws words) find(s string) (*word, error) {
	var found []*word
	for i := range ws {
		w := &ws[i]
		if w.name == s && s != "" {
			return w, nil
		}
		if s != "" && w.name != "" && strings.HasPrefix(w.name, s) {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, usagef("%q is not a keyword; %s", s, ws.expected())
	}
	var names []string
	for _, w := range found {
		names = append(names, w.name)
	}
	return nil, usagef("%q is ambiguous: %s", s, strings.Join(names, ", "))
}

// expected is the end of the complaint about a word that is none.
func (ws words) expected() string {
	var names []string
	for _, w := range ws {
		if w.name != "" {
			names = append(names, w.name)
		}
	}
	if len(names) == 0 {
		return "expected nothing more"
	}
	return "expected " + strings.Join(names, ", ")
}

// help is a table of the words.
func (ws words) help() string {
	width := 0
	for i := range ws {
		width = max(width, len(ws[i].label()))
	}
	var b strings.Builder
	for i := range ws {
		fmt.Fprintf(&b, "    %-*s  %s\n", width, ws[i].label(), ws[i].help)
	}
	return b.String()
}

// completions are what can follow args: the values of the word that waits for
// one, or else the words that are not there yet.
func (ws words) completions(args []string) []string {
	used := map[string]bool{}
	var list []string
	switch {
	case ws.hasFirst(args):
		args = args[1:]
	case len(args) == 0 && len(ws) > 0 && ws[0].name == "":
		if list = ws[0].values(); ws[0].need || len(list) > 0 && len(ws) == 1 {
			return list
		}
	}
	for len(args) > 0 {
		w, err := ws.find(args[0])
		if err != nil {
			return nil
		}
		used[w.name] = true
		if w.group != "" {
			used["group "+w.group] = true
		}
		args = args[1:]
		if w.arg == "" {
			continue
		}
		if len(args) == 0 {
			return w.values()
		}
		args = args[1:]
	}
	for i := range ws {
		w := &ws[i]
		if w.name == "" || (used[w.name] && !w.many) || used["group "+w.group] || (w.after != "" && !used[w.after]) {
			continue
		}
		list = append(list, cobra.CompletionWithDesc(w.name, w.help))
	}
	return list
}

// expects tells whether the value to complete is one of these.
func (ws words) expects(args []string, what ...string) bool {
	if len(args) == 0 {
		return false
	}
	w, err := ws.find(args[len(args)-1])
	return err == nil && slices.Contains(what, w.arg)
}

// listCompletions are the names that can end a list with commas, of which begun is
// there: all but those in it.
func listCompletions(names []string, begun string) []string {
	i := strings.LastIndexByte(begun, ',') + 1
	used := strings.Split(begun[:i], ",")
	var comps []string
	for _, name := range names {
		if !slices.Contains(used, name) && strings.HasPrefix(name, begun[i:]) {
			comps = append(comps, begun[:i]+name)
		}
	}
	return comps
}

func (w *word) values() []string {
	if w.complete == nil {
		return nil
	}
	return w.complete()
}
