// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Request is a file to write.
type Request struct {
	// File is the object, Out the file to write, or else the code goes to the
	// writer.
	File, Out string
	// Package and Name are as in [Options].
	Package, Name string
	// Inline lets the code contain the object, wherever that is.
	Inline bool
}

// Write writes the skeleton that is asked for. The code embeds the object if it
// is in its directory or below.
func Write(r Request, stdout io.Writer) error {
	object, err := os.ReadFile(r.File)
	if err != nil {
		return err
	}
	opts := Options{Package: r.Package, Name: r.Name, File: r.File}
	if !r.Inline {
		opts.Embed = embedPath(r.File, r.Out)
	}
	code, err := Generate(object, opts)
	if err != nil {
		return fmt.Errorf("%s: %w", r.File, err)
	}
	if r.Out == "" {
		_, err := stdout.Write(code)
		return err
	}
	return os.WriteFile(r.Out, code, 0o644)
}

// embedPath is the path of file as code in out can embed it, or nothing if it
// cannot.
func embedPath(file, out string) string {
	dir, err := filepath.Abs(filepath.Dir(out))
	if err != nil {
		return ""
	}
	if file, err = filepath.Abs(file); err != nil {
		return ""
	}
	rel, err := filepath.Rel(dir, file)
	if err != nil || !filepath.IsLocal(rel) || strings.ContainsAny(rel, " *?[]\\\"'`:<>|\n") {
		return ""
	}
	return filepath.ToSlash(rel)
}
