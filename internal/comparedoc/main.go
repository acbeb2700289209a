// SPDX-License-Identifier: BSD-3-Clause

// Command comparedoc writes docs/comparison.md and its plots from the results of
// comparisons that are kept beside it, in docs/comparison. With arguments it first
// takes over other results, in place of all that are there.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
)

func main() {
	docs := flag.String("docs", "../../docs", "directory of the documents")
	flag.Parse()
	if err := run(*docs, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "comparedoc:", err)
		os.Exit(1)
	}
}

func run(docs string, results []string) error {
	dir := filepath.Join(docs, compare.DocumentDir)
	if len(results) > 0 {
		if err := takeOver(dir, results); err != nil {
			return err
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, "results-*.json"))
	if err != nil {
		return err
	}
	all, err := compare.ReadResults(kept)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := r.Qualify(); err != nil {
			return err
		}
	}
	// Without results there is nothing to say, but what an earlier run said must
	// not stay.
	var files map[string][]byte
	if len(all) > 0 {
		profiles, err := compare.ReadProfiles(dir)
		if err != nil {
			return err
		}
		if files, err = compare.Document(all, profiles...); err != nil {
			return err
		}
	}
	if err := removeAll(filepath.Join(dir, "*.svg"), filepath.Join(docs, compare.DocumentName)); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(docs, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// takeOver keeps results, thinned, in place of those that are in dir.
func takeOver(dir string, paths []string) error {
	results, err := compare.ReadResults(paths)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for i, r := range results {
		r.Thin()
		name := r.FileName()
		if files[name] != nil {
			return fmt.Errorf("%s: there are other results for %s", paths[i], name)
		}
		if files[name], err = r.Marshal(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := removeAll(filepath.Join(dir, "results-*.json")); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func removeAll(patterns ...string) error {
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}
