// SPDX-License-Identifier: BSD-3-Clause

// Command comparedoc writes docs/comparison.md and its plots from the results of
// comparisons and the profiles that are kept beside it, in docs/comparison. Of either
// kind it first takes over what its arguments name, in place of all that are there.
package main

import (
	"encoding/json"
	"errors"
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

// What is kept is called so, and has FileName.
const (
	resultFiles  = "results-*.json"
	profileFiles = "profile-*.json"
)

func run(docs string, paths []string) error {
	dir := filepath.Join(docs, compare.DocumentDir)
	if err := takeOver(dir, paths); err != nil {
		return err
	}
	kept, err := filepath.Glob(filepath.Join(dir, resultFiles))
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
		kept, err := filepath.Glob(filepath.Join(dir, profileFiles))
		if err != nil {
			return err
		}
		profiles, err := compare.ReadProfiles(kept)
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

// kept is what is kept in a file.
type kept interface {
	FileName() string
	Marshal() ([]byte, error)
}

// takeOver keeps results, thinned, in place of those that are in dir, and profiles in
// place of those. Nothing is changed if one of them is not to be had.
func takeOver(dir string, paths []string) error {
	var all []kept
	var old []string
	resultPaths, profilePaths, err := sortOut(paths)
	if err != nil {
		return err
	}
	results, err := compare.ReadResults(resultPaths)
	if err != nil {
		return err
	}
	for _, r := range results {
		r.Thin()
		all, old = append(all, r), append(old, filepath.Join(dir, resultFiles))
	}
	profiles, err := compare.ReadProfiles(profilePaths)
	if err != nil {
		return err
	}
	for _, p := range profiles {
		all, old = append(all, p), append(old, filepath.Join(dir, profileFiles))
	}
	files := map[string][]byte{}
	for _, k := range all {
		name := k.FileName()
		if files[name] != nil {
			return fmt.Errorf("there are two files to become %s", name)
		}
		if files[name], err = k.Marshal(); err != nil {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), removeAll(old...)); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sortOut tells profiles, which have operations, from results.
func sortOut(paths []string) (results, profiles []string, err error) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		var p struct{ Operations json.RawMessage }
		if json.Unmarshal(data, &p) == nil && p.Operations != nil {
			profiles = append(profiles, path)
		} else {
			results = append(results, path)
		}
	}
	return results, profiles, nil
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
