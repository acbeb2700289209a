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
	results, err := kept(dir, resultFiles, compare.ReadResults)
	if err != nil {
		return err
	}
	profiles, err := kept(dir, profileFiles, compare.ReadProfiles)
	if err != nil {
		return err
	}
	for _, r := range results {
		if err := r.Qualify(); err != nil {
			return err
		}
	}
	// Without results there is nothing to say, but what an earlier run said must
	// not stay.
	var files map[string][]byte
	if len(results) > 0 {
		if files, err = compare.Document(results, profiles...); err != nil {
			return err
		}
	}
	if err := removeAll(filepath.Join(dir, "*.svg"), filepath.Join(docs, compare.DocumentName)); err != nil {
		return err
	}
	return writeAll(docs, files)
}

// kept reads what is kept in dir in files of a kind.
func kept[T any](dir, pattern string, read func(paths []string) (T, error)) (T, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		var none T
		return none, err
	}
	return read(paths)
}

// takeOver keeps results, thinned, in place of those that are in dir, and profiles in
// place of those. Nothing is changed if one of them is not to be had.
func takeOver(dir string, paths []string) error {
	resultPaths, profilePaths, err := sortOut(paths)
	if err != nil {
		return err
	}
	results, err := compare.ReadResults(resultPaths)
	if err != nil {
		return err
	}
	profiles, err := compare.ReadProfiles(profilePaths)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	var old []string
	for _, r := range results {
		r.Thin()
		if err := add(files, r); err != nil {
			return err
		}
		old = append(old, filepath.Join(dir, resultFiles))
	}
	for _, p := range profiles {
		if err := add(files, p); err != nil {
			return err
		}
		old = append(old, filepath.Join(dir, profileFiles))
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), removeAll(old...)); err != nil {
		return err
	}
	return writeAll(dir, files)
}

// keeper is what can be kept in a file.
type keeper interface {
	FileName() string
	Marshal() ([]byte, error)
}

// add adds the file of k, which must be the only one of its name.
func add(files map[string][]byte, k keeper) (err error) {
	name := k.FileName()
	if files[name] != nil {
		return fmt.Errorf("there are two files to become %s", name)
	}
	files[name], err = k.Marshal()
	return err
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

func writeAll(dir string, files map[string][]byte) error {
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
