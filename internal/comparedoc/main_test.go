// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const fixtures = "../compare/testdata/"

// tree returns the files below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path[len(dir)+1:]] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRun(t *testing.T) {
	docs := t.TempDir()
	if err := run(docs, nil); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, docs); len(got) > 0 {
		t.Fatalf("without results there is %v", got)
	}
	if err := run(docs, []string{fixtures + "ns.json", fixtures + "instructions.json"}); err != nil {
		t.Fatal(err)
	}
	want := tree(t, docs)
	for _, name := range []string{"comparison.md", "comparison/results-6.12-ns.json", "comparison/results-6.12-instructions.json", "comparison/6.12-ns-distribution.svg"} {
		if want[name] == "" {
			t.Errorf("no %s", name)
		}
	}

	// From what is kept the same bytes are made, and what is of no results goes.
	stray := filepath.Join(docs, "comparison", "6.6-ns-layers.svg")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(docs, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tree(t, docs)); diff != "" {
		t.Errorf("made again (-want +got):\n%s", diff)
	}

	// Results that are taken over replace those that were there.
	if err := run(docs, []string{fixtures + "ns.json"}); err != nil {
		t.Fatal(err)
	}
	got := tree(t, docs)
	if got["comparison/results-6.12-instructions.json"] != "" || got["comparison/6.12-ns-layers.svg"] == "" {
		t.Error("old results are still there")
	}

	// Profiles replace profiles alone.
	for _, args := range [][]string{{fixtures + "profile-6.12.json", fixtures + "profile-6.1.json"}, {fixtures + "profile-6.1.json"}} {
		if err := run(docs, args); err != nil {
			t.Fatal(err)
		}
		got := tree(t, docs)
		if got["comparison/profile-6.1.json"] == "" || got["comparison/results-6.12-ns.json"] == "" {
			t.Errorf("%v: a profile or result is not there", args)
		}
		if (got["comparison/profile-6.12.json"] != "") != (len(args) == 2) {
			t.Errorf("%v: an old profile is there, or a new one is not", args)
		}
	}
}

// TestRefused leaves what is there as it is.
func TestRefused(t *testing.T) {
	docs := t.TempDir()
	if err := run(docs, []string{fixtures + "ns.json"}); err != nil {
		t.Fatal(err)
	}
	want := tree(t, docs)
	for name, args := range map[string][]string{
		"twice the same": {fixtures + "ns.json", fixtures + "ns.json"},
		"no such file":   {fixtures + "none.json"},
		"no results":     {fixtures + "ns.csv"},
	} {
		if err := run(docs, args); err == nil {
			t.Errorf("%s: no error", name)
		}
		if diff := cmp.Diff(want, tree(t, docs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
