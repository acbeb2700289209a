// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestClean(t *testing.T) {
	here := []string{"xdpctl/1/2/link", "xdpctl/1/2/prog"}
	for _, tt := range []struct {
		args string
		err  error
		want result
	}{
		{"clean", nil, result{0, "removed xdpctl/1/2/link\nremoved xdpctl/1/2/prog\n", ""}},
		{"clean all", nil, result{0, "removed xdpctl/1/2/link\nremoved xdpctl/1/2/prog\nremoved xdpctl/trace/exception\n", ""}},
		{"-j clean", nil, result{0, `{"removed":["xdpctl/1/2/link","xdpctl/1/2/prog"]}` + "\n", ""}},
		{"--server embedded clean", nil, result{0, "removed xdpctl/1/2/link\nremoved xdpctl/1/2/prog\n", ""}},
		{"clean", fmt.Errorf("clean up: %w", unix.EPERM), result{2, "removed xdpctl/1/2/link\nremoved xdpctl/1/2/prog\n",
			"Error: clean up: operation not permitted\n" + rootHint + "\n"}},
		{"--server unix:/x clean", nil, result{1, "", "Error: clean: it is the embedded server that leaves something, not server unix:/x\n"}},
		{"--server kernel clean", nil, result{1, "", "Error: clean: it is the embedded server that leaves something, not server kernel\n"}},
		{"clean everything", nil, result{1, "", "Error: \"everything\" is not a keyword; expected all\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var f fakeMachine
			m := f.machine()
			m.clean = func(_ context.Context, _ int, all bool) ([]string, error) {
				if all {
					return append(here[:2:2], "xdpctl/trace/exception"), tt.err
				}
				return here, tt.err
			}
			if diff := cmp.Diff(tt.want, runOn(m, nil, strings.Fields(tt.args)...), cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	var f fakeMachine
	m := f.machine()
	m.clean = func(context.Context, int, bool) ([]string, error) { return nil, nil }
	if r := runOn(m, nil, "-j", "clean"); r.stdout != `{"removed":[]}`+"\n" {
		t.Errorf("nothing: got %+v", r)
	}
}
