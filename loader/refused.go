// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// VerifierError is a program that the kernel refused, with what its verifier said.
type VerifierError struct {
	Program string
	// Source is the line of the source that it was at, if the object tells.
	Source string
	// Log is all that the verifier said.
	Log []string
	// Hint says what could be the matter, or is empty.
	Hint string
	Err  error
}

// lastLines is how much of the log an error shows.
const lastLines = 6

// Last returns the last lines of the log that say something.
func (e *VerifierError) Last() []string {
	var last []string
	for _, l := range e.Log {
		if !isSummary(l) {
			last = append(last, l)
		}
	}
	return last[max(0, len(last)-lastLines):]
}

// isSummary tells whether a line of a log is about the work of the verifier.
func isSummary(line string) bool {
	line = strings.TrimSpace(line)
	for _, prefix := range []string{"processed ", "verification time ", "stack depth ", "max_states_per_insn "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return line == ""
}

func (e *VerifierError) Error() string {
	return fmt.Sprintf("program %s: %v", e.Program, e.Err)
}

func (e *VerifierError) Unwrap() error { return e.Err }

// refused makes of an error of the library one that says what to do.
func (l *loading) refused(err error) error {
	var v *ebpf.VerifierError
	if errors.As(err, &v) {
		err = l.rejected(v, err)
	}
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if what := l.lacking(); what != "" {
		return fmt.Errorf("%s, which this kernel does not have: %w: %w", what, errors.ErrUnsupported, err)
	}
	// A program array has one kind of programs, be they in it or use it.
	for _, name := range slices.Sorted(maps.Keys(l.replace)) {
		m := l.replace[name]
		if m.Type() != ebpf.ProgramArray {
			continue
		}
		if owner := ownerType(m); owner != ebpf.UnspecifiedProgram && owner != l.typ {
			return fmt.Errorf("map %s: its programs are of type %s and those of the object of type %s: %w", name, owner, l.typ, err)
		}
	}
	return err
}

// lacking is what of the object is of a type that the kernel does not know, if there
// is anything.
func (l *loading) lacking() string {
	for _, name := range slices.Sorted(maps.Keys(l.coll.Maps)) {
		if m := l.coll.Maps[name]; errors.Is(features.HaveMapType(m.Type), ebpf.ErrNotSupported) {
			return fmt.Sprintf("map %s is of type %s", name, m.Type)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.coll.Programs)) {
		if p := l.coll.Programs[name]; errors.Is(features.HaveProgramType(p.Type), ebpf.ErrNotSupported) {
			return fmt.Sprintf("program %s is of type %s", name, p.Type)
		}
	}
	return ""
}

// rejected is the error for a program that the verifier did not like.
func (l *loading) rejected(v *ebpf.VerifierError, err error) error {
	e := &VerifierError{Program: l.programOf(err), Log: v.Log, Err: v.Cause}
	for _, line := range v.Log {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "; "); ok {
			e.Source = text
		}
	}
	if l.spec.License == "" && slices.ContainsFunc(v.Log, func(s string) bool { return strings.Contains(s, "GPL") }) {
		e.Hint = "the object has no license; one that is compatible with the GPL must be in section license"
	}
	if errors.Is(v.Cause, unix.EPERM) && len(e.Last()) == 0 {
		e.Hint = "loading programs takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN"
	}
	return e
}

// programOf is the program that an error of the library is about.
func (l *loading) programOf(err error) string {
	text := err.Error()
	best, at := "", len(text)
	for name := range l.coll.Programs {
		if i := strings.Index(text, "program "+name+":"); i >= 0 && i < at {
			best, at = name, i
		}
	}
	return best
}

// ownerType is the type of the programs in a program array, if there was one ever.
func ownerType(m *ebpf.Map) ebpf.ProgramType {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD()))
	if err != nil {
		return ebpf.UnspecifiedProgram
	}
	for line := range strings.Lines(string(info)) {
		if v, ok := strings.CutPrefix(line, "owner_prog_type:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
			if err == nil {
				return ebpf.ProgramType(n)
			}
		}
	}
	return ebpf.UnspecifiedProgram
}
