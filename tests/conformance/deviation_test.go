// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	_ "embed"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

//go:generate go run ../../internal/waysdoc

// deviationTable has a line for every case that does not come out as at the
// kernel's netlink door: the test, the kernels on which ("all", or releases), the
// verdict (EOPNOTSUPP, different, partly, of a test that itself knows what is not
// equal, or nothing, see judgePinned), and the reason, with tabs between.
//
//go:embed deviations.txt
var deviationTable string

// deviation returns the verdict and the reason of the table for a test, or "" if
// it is to come out equal.
func deviation(test string) (verdict, reason string) {
	for line := range strings.Lines(deviationTable) {
		w := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(w) == 4 && w[0] == test && onKernel(w[1]) {
			return w[2], w[3]
		}
	}
	return "", ""
}

func onKernel(list string) bool {
	if list == "all" {
		return true
	}
	old := !testutil.KernelAtLeast(6, 12)
	for k := range strings.SplitSeq(list, ",") {
		if old == (k == "6.1") {
			return true
		}
	}
	return false
}

// only names the test that a child process is to run although the table says that
// it fails.
const only = "XDPCTL_DEVIATION"

// deviates tells whether the table says that the test does not come out equal,
// after making sure that it does not, in a process of its own.
func deviates(t *testing.T) bool {
	t.Helper()
	verdict, reason := deviation(t.Name())
	if verdict == "" || verdict == "partly" || os.Getenv(only) == t.Name() {
		return false
	}
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(os.Args[0], "-test.run", pattern, "-test.v")
	cmd.Env = append(os.Environ(), only+"="+t.Name())
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("the table says %s (%s), and it comes out equal", verdict, reason)
	case !strings.Contains(string(out), "--- FAIL: "+t.Name()):
		t.Errorf("the test did not fail, but: %v\n%s", err, out)
	case verdict == "EOPNOTSUPP" && !strings.Contains(string(out), "not supported"):
		t.Errorf("the table says EOPNOTSUPP (%s), and it is another error:\n%s", reason, out)
	default:
		t.Logf("%s: %s", verdict, reason)
	}
	return true
}
