// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"io/fs"
	"testing"
)

func TestQualities(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-56-amd64": "qualities-6.1.json", "6.12.117+deb12-amd64": "qualities-6.12.json", "7.3-rc1": "qualities-7.3.json",
	} {
		if got := QualitiesName(release); got != want {
			t.Errorf("%s: got %s, want %s", release, got, want)
		}
	}
	r := &Result{Release: "6.12.117+deb12-amd64"}
	if err := r.Qualify(); err != nil || len(r.Qualities) == 0 {
		t.Errorf("%d qualities, %v", len(r.Qualities), err)
	}
	for _, q := range r.Qualities {
		if q.Name == "" || q.Question == "" || q.Netlink == "" || q.Map == "" || q.Test == "" {
			t.Errorf("%+v lacks something", q)
		}
	}
	own := []Quality{{Name: "own"}}
	r.Qualities = own
	if err := r.Qualify(); err != nil || &r.Qualities[0] != &own[0] {
		t.Errorf("its own were replaced by %+v, %v", r.Qualities, err)
	}
	if _, err := QualitiesOf("5.4.0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a kernel that nobody tried: got %v", err)
	}
	r = &Result{Release: "5.4.0"}
	if err := r.Qualify(); err != nil || r.Qualities != nil {
		t.Errorf("a kernel that nobody tried: %+v, %v", r.Qualities, err)
	}
}
