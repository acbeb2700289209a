// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// What tests/qualities found, which fails where it finds something else.
//
//go:embed qualities-*.json
var qualityFiles embed.FS

// QualitiesName is the file in this package with what was found on a kernel.
func QualitiesName(release string) string { return "qualities-" + kernel(release) + ".json" }

// QualitiesOf is the second table of a kernel: what no stopwatch shows. It is
// found by tests in a virtual machine, not by [Run]. The error is [fs.ErrNotExist]
// for a kernel on which nobody has tried.
func QualitiesOf(release string) ([]Quality, error) {
	b, err := fs.ReadFile(qualityFiles, QualitiesName(release))
	if err != nil {
		return nil, fmt.Errorf("qualities on Linux %s: %w", release, err)
	}
	var list []Quality
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("qualities on Linux %s: %w", release, err)
	}
	return list, nil
}

// Qualify gives a result the qualities that its kernel is known to have, if it has
// none of its own.
func (r *Result) Qualify() error {
	if len(r.Qualities) > 0 {
		return nil
	}
	list, err := QualitiesOf(r.Release)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	r.Qualities = list
	return err
}
