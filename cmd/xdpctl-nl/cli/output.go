// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// asJSON tells whether to print JSON. To ask for beauty is to ask for JSON.
func (a *app) asJSON() bool { return a.json || a.pretty }

// printJSON prints a value on a line, or on many if it shall be pretty.
func (a *app) printJSON(v any) error {
	var b []byte
	var err error
	if a.pretty {
		b, err = json.MarshalIndent(v, "", "    ")
	} else {
		b, err = json.Marshal(v)
	}
	if err != nil {
		return fmt.Errorf("encode JSON: %w", err)
	}
	_, err = a.stdout.Write(append(b, '\n'))
	return err
}

func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(a.stdout, format, args...)
}

// printEntries prints all entries of a table, or those of one netdev: as a
// JSON array, or each with text.
func printEntries[K, V any](ctx context.Context, a *app, t family.Table[K, V], filter *K, text func(*family.Entry[K, V]) error) error {
	entries := []family.Entry[K, V]{}
	for e, err := range family.All(ctx, t, filter) {
		if err != nil {
			return err
		}
		if !a.asJSON() {
			if err := text(&e); err != nil {
				return err
			}
			continue
		}
		entries = append(entries, e)
	}
	if a.asJSON() {
		return a.printJSON(entries)
	}
	return nil
}

// fail reports an error and returns the exit status.
func (a *app) fail(err error) int {
	if err == nil {
		return exitOK
	}
	status := exitSyntax
	var re *runError
	if errors.As(err, &re) {
		status = exitRefused
	}
	var ue *usageError
	if errors.As(err, &ue) {
		status = exitSyntax
	}
	msg, hint := a.refusal(err), ""
	if status == exitRefused {
		hint = a.hint(err)
	}
	if a.asJSON() {
		o := struct {
			Error  string `json:"error"`
			Hint   string `json:"hint,omitempty"`
			Server string `json:"server,omitempty"`
		}{msg, hint, a.ctl.server}
		a.printJSON(o)
		return status
	}
	fmt.Fprintf(a.stderr, "Error: %s\n", msg)
	if hint != "" {
		fmt.Fprintf(a.stderr, "%s\n", hint)
	}
	return status
}

// verifierLines is how much of a verifier's log is shown.
const verifierLines = 12

// message is the text of an error. Of what the verifier said, it has the end,
// where the reason is.
func message(err error) string {
	var ve *ebpf.VerifierError
	if !errors.As(err, &ve) {
		return err.Error()
	}
	log := ve.Log
	if n := len(log) - verifierLines; n > 0 {
		log = log[n:]
	}
	return fmt.Sprintf("%v\n%s", err, strings.Join(log, "\n"))
}

// refusal is [message], with the line of the source for a program that the verifier
// refused, and what it said: the end, or all.
func (a *app) refusal(err error) string {
	var v *loader.VerifierError
	if !errors.As(err, &v) {
		return message(err)
	}
	lines := []string{err.Error()}
	if v.Source != "" {
		lines = append(lines, "at: "+v.Source)
	}
	log := v.Last()
	if a.verbose {
		log = v.Log
	} else if n := len(v.Log) - len(log); n > 0 && len(log) > 0 {
		lines = append(lines, fmt.Sprintf("(%d lines before; -v prints all)", n))
	}
	return strings.Join(append(lines, log...), "\n")
}

// hinted is an error for which there is something to do.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// hint says what to do about an error, if there is anything to do.
func (a *app) hint(err error) string {
	var fe *family.Error
	refused := errors.As(err, &fe)
	var ve *ebpf.VerifierError
	var h *hinted
	var lv *loader.VerifierError
	switch {
	case errors.As(err, &lv):
		return lv.Hint
	case errors.As(err, &ve):
		return ""
	case errors.As(err, &h):
		return h.hint
	case errors.Is(err, os.ErrPermission) && a.ctl.server == serverEmbedded:
		return rootHint + a.socketHint()
	case errors.Is(err, os.ErrPermission) && strings.HasPrefix(a.ctl.server, serverUnix):
		return "The server lets only root change things, and who is in its group; see: xdpctl-nl serve help"
	case errors.Is(err, os.ErrPermission):
		return "Run this as root, or with CAP_NET_ADMIN; control maps and programs need CAP_SYS_ADMIN or CAP_BPF too."
	case refused && fe.Op == "port-set" && (errors.Is(err, os.ErrExist) || errors.Is(err, unix.EBUSY)):
		return "See what ports there are with: xdpctl-nl " + a.options() + "port show"
	case refused && errors.Is(err, unix.EBUSY):
		return "Somebody else holds the netdev; see who with: xdpctl-nl " + a.options() + "prog show"
	case refused && fe.Op == "prog-set" && errors.Is(err, errors.ErrUnsupported):
		return "See what the netdev can do with: xdpctl-nl " + a.options() + "caps show; ask for less, at your own risk, with require-only."
	case refused && fe.Op == "attr-set" && errors.Is(err, errors.ErrUnsupported):
		return "See what the netdev can do with: xdpctl-nl " + a.options() + "caps show"
	case refused && fe.Op == "port-set" && errors.Is(err, os.ErrNotExist):
		return "To bind a port that is free, leave out replace."
	case refused && fe.Op == "prog-set" && errors.Is(err, os.ErrNotExist):
		return "To attach where nothing is attached, leave out replace."
	case refused && fe.Op == "prog-set" && errors.Is(err, os.ErrExist):
		return "See what is attached with: xdpctl-nl " + a.options() + "prog show"
	case refused && errors.Is(err, unix.EXDEV):
		return "Work in the netdev's network namespace: xdpctl-nl -n NETNS"
	}
	return ""
}

// options are those of the command line that a hint must repeat.
func (a *app) options() string {
	s := ""
	if a.netnsName != "" {
		s = "-n " + a.netnsName + " "
	}
	if a.server != "" && !a.serverByEnv {
		s += "--server " + a.server + " "
	}
	return s
}
