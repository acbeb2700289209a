// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/xdpctl/xdpctl-nl/family"
)

// stats is the counters of one netdev by the names of the spec. What a door
// does not tell is not in it.
type stats map[string]uint64

// answer is what one door says of all netdevs, by ifindex.
type answer map[uint32]stats

// counterNames are the names of the spec, in its order. Which of them the meter has
// counted is a number, too, but no counter.
func counterNames() []string {
	var names []string
	for _, a := range family.AttrSetStats.Attrs {
		if a.Kind == family.KindU64 && a.ID != family.AttrStatsMetered {
			names = append(names, a.Name)
		}
	}
	return names
}

// parseTool reads what xdpctl-nl -j stats show prints: an array of objects
// with the names of the spec.
func parseTool(out []byte) (answer, error) {
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(out, &entries); err != nil {
		return nil, fmt.Errorf("parse statistics: %w", err)
	}
	a := answer{}
	for _, e := range entries {
		var index uint32
		if err := json.Unmarshal(e["ifindex"], &index); err != nil {
			return nil, fmt.Errorf("parse statistics: ifindex %s: %w", e["ifindex"], err)
		}
		s := stats{}
		for _, name := range counterNames() {
			raw, ok := e[name]
			if !ok {
				continue
			}
			var n uint64
			if err := json.Unmarshal(raw, &n); err != nil {
				return nil, fmt.Errorf("parse statistics: %s: %w", name, err)
			}
			s[name] = n
		}
		a[index] = s
	}
	return a, nil
}

// parseBpftool reads what bpftool -j map dump prints of a map with BTF: the
// members of the C structs, of which bit n of present tells whether attribute
// n is there.
func parseBpftool(out []byte) (answer, error) {
	var entries []struct {
		Formatted struct {
			Key struct {
				Ifindex uint32 `json:"ifindex"`
			} `json:"key"`
			Value map[string]json.RawMessage `json:"value"`
		} `json:"formatted"`
	}
	if err := json.Unmarshal(out, &entries); err != nil {
		return nil, fmt.Errorf("parse map dump: %w", err)
	}
	a := answer{}
	for _, e := range entries {
		value := e.Formatted.Value
		var present uint64
		if err := json.Unmarshal(value["present"], &present); err != nil {
			return nil, fmt.Errorf("parse map dump: member present %q: %w", value["present"], err)
		}
		s := stats{}
		for _, attr := range family.AttrSetStats.Attrs {
			if present&(1<<attr.ID) == 0 {
				continue
			}
			member := strings.ReplaceAll(attr.Name, "-", "_")
			var n uint64
			if err := json.Unmarshal(value[member], &n); err != nil {
				return nil, fmt.Errorf("parse map dump: member %s %q: %w", member, value[member], err)
			}
			s[attr.Name] = n
		}
		a[e.Formatted.Key.Ifindex] = s
	}
	return a, nil
}
