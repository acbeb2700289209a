// SPDX-License-Identifier: BSD-3-Clause

// Package qualities tries at both doors what no stopwatch shows. Each test is a
// line of the second table of the comparison: it establishes what comes of the
// thing at the netlink door and at the map door, and says so in a sentence with
// the figures and errnos that it has seen.
//
// What they say on a kernel is kept in internal/compare/qualities-VERSION.json, and
// a test fails if it finds something else. XDPCTL_QUALITIES=FILE writes what is
// found to FILE, below the root of the tree unless the path is absolute, and
// compares nothing.
package qualities

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	testutil.Main(book{m})
}

// output is where what is found goes instead of being compared; empty for
// nowhere.
func output() string {
	path := os.Getenv("XDPCTL_QUALITIES")
	if root, err := testutil.Root(); err == nil && path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	return path
}

// save writes lines so that they are on the host before the guest ends.
func save(path string, list []compare.Quality) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	if err := enc.Encode(list); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// table are the names of the lines, from the top.
var table = []string{
	"discoverability",
	"introspection",
	"extensibility, old client",
	"extensibility, new client",
	"error reporting",
	"atomicity",
	"consistency of iteration",
	"notifications",
	"filtering",
	"batching",
	"permission: who may open and create",
	"permission: who may pass on",
	"namespaces",
	"audit",
	"tracing",
	"cost of a new control type",
}

// lines are what the tests have found.
var lines []compare.Quality

// line enters what a test has found, unless it has found a fault.
func line(t *testing.T, q compare.Quality) {
	t.Helper()
	if t.Failed() {
		return
	}
	if !slices.Contains(table, q.Name) {
		t.Errorf("the table has no line %q", q.Name)
	}
	q.Test = t.Name()
	same := func(l compare.Quality) bool { return l.Test == q.Test }
	lines = append(slices.DeleteFunc(lines, same), q)
	if output() != "" {
		return
	}
	list, err := compare.QualitiesOf(testutil.Release())
	if err != nil {
		t.Fatal(err)
	}
	var want compare.Quality
	if i := slices.IndexFunc(list, same); i >= 0 {
		want = list[i]
	}
	if diff := cmp.Diff(want, q); diff != "" {
		t.Errorf("found something else than what is committed (XDPCTL_QUALITIES=FILE writes it), -committed +found:\n%s", diff)
	}
}

// book are the tests with what is done with their lines when all have run.
type book struct{ *testing.M }

func (b book) Run() int {
	code := b.M.Run()
	if err := b.close(code == 0); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		return 1
	}
	return code
}

// close writes the lines from the top, or looks for committed ones that no test
// shows any more.
func (book) close(passed bool) error {
	if !passed {
		return nil
	}
	slices.SortFunc(lines, func(a, b compare.Quality) int {
		return slices.Index(table, a.Name) - slices.Index(table, b.Name)
	})
	if path := output(); path != "" {
		return save(path, lines)
	}
	if partial() {
		return nil
	}
	list, err := compare.QualitiesOf(testutil.Release())
	if err != nil {
		return err
	}
	var tests, found []string
	for _, q := range list {
		tests = append(tests, q.Test)
	}
	for _, q := range lines {
		found = append(found, q.Test)
	}
	if diff := cmp.Diff(tests, found); diff != "" {
		return fmt.Errorf("the committed lines are not those of the tests, -committed +found:\n%s", diff)
	}
	return nil
}

// partial tells whether only some of the tests were to run.
func partial() bool {
	return slices.ContainsFunc(os.Args[1:], func(arg string) bool {
		return strings.HasPrefix(arg, "-test.run=") || strings.HasPrefix(arg, "-test.skip=")
	})
}
