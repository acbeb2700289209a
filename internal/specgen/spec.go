// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"os"

	"github.com/goccy/go-yaml"
)

// Spec is a YNL genetlink specification, as far as the generator knows it. A
// property that it does not know is an error, since it would be ignored.
type Spec struct {
	Name          string          `yaml:"name"`
	Doc           string          `yaml:"doc"`
	Protocol      string          `yaml:"protocol"`
	UAPIHeader    string          `yaml:"uapi-header"`
	Definitions   []SpecDef       `yaml:"definitions"`
	AttributeSets []SpecSet       `yaml:"attribute-sets"`
	Operations    SpecOps         `yaml:"operations"`
	McastGroups   SpecMcastGroups `yaml:"mcast-groups"`
}

// SpecDef is an entry of definitions: a const, an enum or flags.
type SpecDef struct {
	Type       string      `yaml:"type"`
	Name       string      `yaml:"name"`
	Doc        string      `yaml:"doc"`
	Value      *uint64     `yaml:"value"`
	ValueStart uint64      `yaml:"value-start"`
	Entries    []SpecEntry `yaml:"entries"`
}

// SpecEntry is an entry of an enum or of flags.
type SpecEntry struct {
	Name string `yaml:"name"`
	Doc  string `yaml:"doc"`
}

// SpecSet is an attribute set, or, if no operation has it, a struct.
type SpecSet struct {
	Name       string     `yaml:"name"`
	Doc        string     `yaml:"doc"`
	Attributes []SpecAttr `yaml:"attributes"`
}

// SpecAttr is an attribute.
type SpecAttr struct {
	Name        string     `yaml:"name"`
	Doc         string     `yaml:"doc"`
	Type        string     `yaml:"type"`
	Enum        string     `yaml:"enum"`
	DisplayHint string     `yaml:"display-hint"`
	Checks      SpecChecks `yaml:"checks"`
}

// SpecChecks is what an attribute of a request is checked for.
type SpecChecks struct {
	Min      *uint64 `yaml:"min"`
	Max      *uint64 `yaml:"max"`
	MaxLen   *int    `yaml:"max-len"`
	ExactLen *int    `yaml:"exact-len"`
}

// SpecOps is the list of operations.
type SpecOps struct {
	List []SpecOp `yaml:"list"`
}

// SpecOp is an operation or a notification.
type SpecOp struct {
	Name         string   `yaml:"name"`
	Doc          string   `yaml:"doc"`
	AttributeSet string   `yaml:"attribute-set"`
	Flags        []string `yaml:"flags"`
	Do           *SpecMsg `yaml:"do"`
	Dump         *SpecMsg `yaml:"dump"`
	Notify       string   `yaml:"notify"`
	McastGroup   string   `yaml:"mcgrp"`

	// Event is what a notification consists of that is about no table.
	Event *SpecAttrs `yaml:"event"`
}

// SpecMsg is a request with its reply.
type SpecMsg struct {
	Request SpecAttrs `yaml:"request"`
	Reply   SpecAttrs `yaml:"reply"`
}

// SpecAttrs names the attributes of a message.
type SpecAttrs struct {
	Attributes []string `yaml:"attributes"`
}

// SpecMcastGroups is the list of multicast groups.
type SpecMcastGroups struct {
	List []SpecMcastGroup `yaml:"list"`
}

// SpecMcastGroup is a multicast group.
type SpecMcastGroup struct {
	Name string `yaml:"name"`
	Doc  string `yaml:"doc"`
}

// ParseSpec parses a specification.
func ParseSpec(b []byte) (*Spec, error) {
	var s Spec
	if err := yaml.UnmarshalWithOptions(b, &s, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("parse spec: %w", err)
	}
	if s.Name == "" {
		return nil, fmt.Errorf("parse spec: no name")
	}
	if s.Protocol != "genetlink" {
		return nil, fmt.Errorf("parse spec: protocol %q, want genetlink", s.Protocol)
	}
	return &s, nil
}

// LoadSpec reads a specification from a file.
func LoadSpec(path string) (*Spec, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := ParseSpec(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
