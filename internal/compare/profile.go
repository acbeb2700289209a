// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// Profile is where the instructions of operations go, on one kernel.
type Profile struct {
	Release    string               `json:"release"`
	Period     int                  `json:"period"` // guest instructions between samples
	Operations []*ProfiledOperation `json:"operations"`
}

// ProfiledOperation is an operation in raw C. Its cost was measured; samples
// distribute it.
type ProfiledOperation struct {
	Name      string          `json:"name"`
	Cost      float64         `json:"cost"`              // of one, or of one netdev of many
	Netdevs   int             `json:"netdevs,omitempty"` // that it is about, if many
	Samples   int             `json:"samples"`
	Groups    []ProfiledShare `json:"groups"`
	Functions []ProfiledShare `json:"functions"` // from a hundredth on, then "other"
}

// ProfiledShare is what a function or a group of functions has of the cost.
type ProfiledShare struct {
	Name  string  `json:"name"`
	Group string  `json:"group,omitempty"` // of a function
	Cost  float64 `json:"cost"`
}

// Sampled is a function that was running when samples were taken.
type Sampled struct {
	Name    string
	Module  string // of the kernel; "" if it is none
	User    bool
	Samples int
}

// What functions belong to.
const (
	groupProgram = "the program itself"
	groupModule  = "module xdpctl"
	groupEntry   = "system call entry and exit"
	groupSocket  = "sockets"
	groupNetlink = "netlink and generic netlink"
	groupNetdevs = "netdevs"
	groupBPF     = "bpf(2) and maps"
	groupMemory  = "memory"
	groupCopy    = "copying to and from the program"
	groupLocks   = "locks, RCU, preemption"
	groupLSM     = "security modules"
	groupRest    = "rest"
)

var groups = []string{
	groupEntry, groupSocket, groupNetlink, groupNetdevs, groupBPF, groupModule, groupMemory,
	groupCopy, groupLocks, groupLSM, groupRest, groupProgram,
}

//go:embed profile-groups.txt
var groupNames string

// groupOf is what a function of the kernel belongs to: the first line that fits.
func groupOf(f *Sampled) string {
	switch {
	case f.User:
		return groupProgram
	case f.Module == "xdpctl":
		return groupModule
	}
	for _, r := range groupRules {
		if r.fits(f.Name) {
			return r.group
		}
	}
	return groupRest
}

// groupRule is a line of profile-groups.txt.
type groupRule struct {
	group string
	names []string
}

// fits tells whether a name is one of the rule. There * stands for anything, at
// the beginning and the end. What the compiler has split off belongs to its whole.
func (r *groupRule) fits(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	return slices.ContainsFunc(r.names, func(n string) bool {
		begin, end := strings.HasSuffix(n, "*"), strings.HasPrefix(n, "*")
		n = strings.Trim(n, "*")
		switch {
		case begin && end:
			return strings.Contains(name, n)
		case begin:
			return strings.HasPrefix(name, n)
		case end:
			return strings.HasSuffix(name, n)
		}
		return name == n
	})
}

var groupRules = parseGroups(groupNames)

// parseGroups reads lines "GROUP: NAME..."; # begins a comment.
func parseGroups(text string) (rules []groupRule) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if group, names, ok := strings.Cut(line, ":"); ok {
			rules = append(rules, groupRule{strings.TrimSpace(group), strings.Fields(names)})
		}
	}
	return rules
}

// NewProfiledOperation distributes a cost.
func NewProfiledOperation(name string, netdevs int, cost float64, functions []Sampled) *ProfiledOperation {
	o := &ProfiledOperation{Name: name, Netdevs: netdevs, Cost: cost}
	for _, f := range functions {
		o.Samples += f.Samples
	}
	of := map[string]float64{}
	rest := 0.
	for _, f := range functions {
		share := cost * float64(f.Samples) / float64(o.Samples)
		group := groupOf(&f)
		of[group] += share
		if share < cost/100 {
			rest += share
			continue
		}
		o.Functions = append(o.Functions, ProfiledShare{f.Name, group, round(share)})
	}
	slices.SortStableFunc(o.Functions, func(a, b ProfiledShare) int {
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(a.Name, b.Name))
	})
	o.Functions = append(o.Functions, ProfiledShare{Name: other, Cost: round(rest)})
	for _, g := range groups {
		o.Groups = append(o.Groups, ProfiledShare{Name: g, Cost: round(of[g])})
	}
	return o
}

// other are all functions below a hundredth.
const other = "other"

// round leaves one digit behind the point, which is more than is known.
func round(v float64) float64 { return float64(int64(v*10+0.5)) / 10 }

// whole rounds for who reads.
func whole(v float64) string { return number(math.Round(v)) }

// title is an operation as the head of a column.
func (o *ProfiledOperation) title() string {
	if o.Netdevs > 0 {
		return fmt.Sprintf("%s of %d, a netdev", o.Name, o.Netdevs)
	}
	return o.Name
}

// groupSheet has operations side by side; all, if none is named.
func (p *Profile) groupSheet(names ...string) *sheet {
	t := &sheet{title: "Instructions of one operation, by what they are for: Linux " + p.Release, labels: 1, head: []string{"for"}}
	var all []*ProfiledOperation
	for _, o := range p.Operations {
		if len(names) == 0 || slices.Contains(names, o.Name) {
			all = append(all, o)
			t.head = append(t.head, o.title())
		}
	}
	add := func(what string, of func(o *ProfiledOperation) float64) {
		cells := []string{what}
		for _, o := range all {
			cells = append(cells, whole(of(o)))
		}
		if slices.ContainsFunc(cells[1:], func(c string) bool { return c != "0" }) {
			t.add(cells...)
		}
	}
	for i, g := range groups {
		add(g, func(o *ProfiledOperation) float64 { return o.Groups[i].Cost })
	}
	add("all", func(o *ProfiledOperation) float64 { return o.Cost })
	return t
}

// functionSheet has the functions of an operation.
func (p *Profile) functionSheet(o *ProfiledOperation) *sheet {
	t := &sheet{title: fmt.Sprintf("%s: %s instructions, %s samples", o.title(), whole(o.Cost), number(float64(o.Samples))), labels: 2,
		head: []string{"function", "for", "instructions", "%"}}
	for _, f := range o.Functions {
		t.add(f.Name, f.Group, whole(f.Cost), fmt.Sprintf("%.1f", 100*f.Cost/o.Cost))
	}
	return t
}

// WriteText writes the profile for a terminal.
func (p *Profile) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, o := range p.Operations {
		p.functionSheet(o).text(&b)
	}
	for part := range slices.Chunk(p.Operations, 3) {
		names := make([]string, len(part))
		for i, o := range part {
			names[i] = o.Name
		}
		p.groupSheet(names...).text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Marshal returns the profile as JSON with a line for each function.
func (p *Profile) Marshal() ([]byte, error) {
	out, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode profile: %w", err)
	}
	return append(elements.ReplaceAll(out, []byte("$1\n$2")), '\n'), nil
}

// FileName is what a profile is kept under in [DocumentDir].
func (p *Profile) FileName() string { return "profile-" + kernel(p.Release) + ".json" }

// ReadProfiles reads profiles, in the order of kernels.
func ReadProfiles(paths []string) ([]*Profile, error) {
	var all []*Profile
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read profile: %w", err)
		}
		p := &Profile{}
		if err := json.Unmarshal(data, p); err != nil {
			return nil, fmt.Errorf("read profile %s: %w", path, err)
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b *Profile) int {
		return compareKernels(releaseBegin.FindString(a.Release), releaseBegin.FindString(b.Release))
	})
	return all, nil
}

// Operations of tests/bench that the document speaks of.
const (
	profiledStatsGet = "stats-get own"
	profiledGetStats = "RTM_GETSTATS"
	profiledFloor    = "ethtool CHANNELS_GET"
	profiledDump     = "stats-get dump"
	profiledIoctl    = "ethtool -S ioctl"
)

// of is an operation by its name, nil if there is none.
func (p *Profile) of(name string) *ProfiledOperation {
	for _, o := range p.Operations {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// share is what a group or a function has of the cost.
func share(list []ProfiledShare, name string) float64 {
	for _, s := range list {
		if s.Name == name {
			return s.Cost
		}
	}
	return 0
}

// profileSection is a section of the document; empty without profiles.
func profileSection(profiles []*Profile) string {
	if len(profiles) == 0 {
		return ""
	}
	var b strings.Builder
	para := func(format string, args ...any) {
		b.WriteByte('\n')
		wrap(&b, "", fmt.Sprintf(format, args...))
	}
	b.WriteString("## Where the instructions go\n")
	para("Raw C, without drivers' counters. What an operation costs was measured; samples, which perf(1) takes "+
		"every %s instructions, distribute it over functions. They are taken where interrupts are on: what runs while "+
		"they are off counts for the function that turns them on. Two runs give a function the same to half a percent of its "+
		"operation. `make profile` measures again and leaves "+
		"`build/profile/RELEASE.json`, of which [comparison/](comparison) has copies.", number(float64(profiles[0].Period)))
	para("An instruction that repeats itself counts as often as it does so, which is once a byte where the kernel clears a " +
		"page. So clearing weighs more here than it does by the clock. Debian's kernels clear whatever is allocated " +
		"(CONFIG_INIT_ON_ALLOC_DEFAULT_ON); others need not.")
	for _, p := range profiles {
		fmt.Fprintf(&b, "\n### Linux %s\n", p.Release)
		for _, text := range []string{p.doText(), p.dumpText(), p.ioctlText()} {
			if text != "" {
				para("%s", text)
			}
		}
		beside := []string{profiledStatsGet, profiledGetStats, profiledFloor}
		b.WriteString("\n" + p.groupSheet(beside...).markdown() + "\n")
		b.WriteString("\n<details><summary>The same by function, and the other operations</summary>\n\n")
		b.WriteString(p.besideSheet(beside...).markdown() + "\n\n")
		b.WriteString(p.groupSheet(p.others(beside)...).markdown() + "\n\n</details>\n")
	}
	return b.String()
}

// others are the names of all operations but some.
func (p *Profile) others(but []string) (names []string) {
	for _, o := range p.Operations {
		if !slices.Contains(but, o.Name) {
			names = append(names, o.Name)
		}
	}
	return names
}

// doText says why stats-get costs what it does.
func (p *Profile) doText() string {
	get, peer, floor := p.of(profiledStatsGet), p.of(profiledGetStats), p.of(profiledFloor)
	if get == nil || peer == nil || floor == nil {
		return ""
	}
	own := share(get.Groups, groupModule)
	text := fmt.Sprintf("`stats-get` of one netdev costs %s instructions, of which the module has %s. The other %s are "+
		"those of a generic netlink request and its reply. `RTM_GETSTATS` costs %s in all, and `CHANNELS_GET`, a generic "+
		"netlink request of the kernel itself, %s.",
		whole(get.Cost), whole(own), whole(get.Cost-own), whole(peer.Cost), whole(floor.Cost))
	if get.Cost <= peer.Cost {
		return text
	}
	generic := share(get.Groups, groupNetlink) - share(peer.Groups, groupNetlink)
	text += fmt.Sprintf(" Rtnetlink finds its handler in a table; generic netlink looks up the family and the operation, and "+
		"allocates, clears and fills an array of attributes for each request, which for netlink alone is %s more.", whole(generic))
	if left := peer.Cost - get.Cost + own; left > 0 {
		return text + fmt.Sprintf(" To be no dearer than `RTM_GETSTATS` the module would have to find the netdev, read its "+
			"counters and write the reply in %s.", whole(left))
	}
	return text + " It could not be brought to `RTM_GETSTATS` if the module did nothing at all."
}

// dumpText says what of a dump is no netdev's.
func (p *Profile) dumpText() string {
	dump := p.of(profiledDump)
	if dump == nil {
		return ""
	}
	cleared := 0.
	for _, f := range dump.Functions {
		if strings.HasPrefix(f.Name, "clear_page") {
			cleared += f.Cost
		}
	}
	return fmt.Sprintf("Of a `stats-get` dump over %d netdevs, %s instructions of %s a netdev clear pages, %s in all: the "+
		"kernel makes the datagrams of a dump as large as the buffer of who receives, up to 32 KiB, and clears them "+
		"whatever there is to say. A library that receives into a smaller buffer can be cheaper than raw C for that, as "+
		"long as there are few netdevs; with many it takes more system calls.",
		dump.Netdevs, whole(cleared), whole(dump.Cost), whole(cleared*float64(dump.Netdevs)))
}

// ioctlText says what of the ioctl is no counter's.
func (p *Profile) ioctlText() string {
	ioctl := p.of(profiledIoctl)
	if ioctl == nil {
		return ""
	}
	return fmt.Sprintf("Of the ioctl of `ethtool -S`, %s instructions of %s are for memory: it maps a page for the counters "+
		"(vzalloc), clears it and unmaps it, each time.", whole(share(ioctl.Groups, groupMemory)), whole(ioctl.Cost))
}

// besideSheet has the functions of operations side by side.
func (p *Profile) besideSheet(names ...string) *sheet {
	t := &sheet{labels: 2, head: []string{"function", "for"}}
	var all []*ProfiledOperation
	rows := map[string]string{} // group of a function
	for _, name := range names {
		o := p.of(name)
		if o == nil {
			continue
		}
		all = append(all, o)
		t.head = append(t.head, o.title())
		for _, f := range o.Functions {
			rows[f.Name] = f.Group
		}
	}
	functions := make([]string, 0, len(rows))
	for f := range rows {
		functions = append(functions, f)
	}
	// The first operation decides, then the next; "other" is no function.
	slices.SortFunc(functions, func(a, b string) int {
		if a == other || b == other {
			return strings.Compare(rows[b], rows[a])
		}
		for _, o := range all {
			if c := cmp.Compare(share(o.Functions, b), share(o.Functions, a)); c != 0 {
				return c
			}
		}
		return cmp.Compare(a, b)
	})
	for _, f := range functions {
		cells := []string{f, rows[f]}
		for _, o := range all {
			if v := share(o.Functions, f); v > 0 {
				cells = append(cells, whole(v))
			} else {
				cells = append(cells, "less")
			}
		}
		t.add(cells...)
	}
	t.note("Less than a hundredth of an operation is less, and in other. Samples: %s.", p.samples(all))
	return t
}

// samples is how many there are of operations.
func (p *Profile) samples(all []*ProfiledOperation) string {
	words := make([]string, len(all))
	for i, o := range all {
		words[i] = number(float64(o.Samples)) + " of " + o.Name
	}
	return strings.Join(words, ", ")
}
