// SPDX-License-Identifier: BSD-3-Clause

// Package compare measures the ways into XDP control against each other: the
// same operation on the same backend, by netlink and by bpf(2), in C and in Go,
// beside what the kernel has for the same information.
package compare

// Units of what is measured.
const (
	// Instructions are those of a guest under QEMU's -icount, where a
	// nanosecond is one.
	Instructions = "guest instructions"
	// Nanoseconds are those of a clock on the wall.
	Nanoseconds = "ns"
)

// Result is all that was measured in one run on one kernel.
type Result struct {
	Release string `json:"release"`
	Machine string `json:"machine"` // as uname -m says
	// Processor is the model that nanoseconds are of, where /proc/cpuinfo has
	// one. Instructions are no processor's.
	Processor string `json:"processor,omitempty"`
	CPUs      int    `json:"cpus"`
	Unit      string `json:"unit"` // of costs: Instructions or Nanoseconds
	// Driver and queues of the netdev that is asked about.
	Driver   string `json:"driver"`
	RXQueues int    `json:"rx-queues"`
	TXQueues int    `json:"tx-queues"`

	Cells      []*Cell   `json:"cells"`
	Iterations []*Slope  `json:"iterations"`
	Qualities  []Quality `json:"qualities,omitempty"`
}

// Way is how a request gets to who answers.
type Way string

// The ways. Those below the first four are peers: they ask others for the same
// information.
const (
	Netlink  Way = "netlink"  // the module's family
	Map      Way = "map"      // the module's control maps
	Embedded Way = "embedded" // the server in this process
	Socket   Way = "socket"   // the server in another process, on a unix socket
	Peer     Way = "peer"
)

// Layer is what stands between the caller and the way.
type Layer string

// The layers, from the kernel up.
const (
	RawC       Layer = "C"        // system calls from C
	RawGo      Layer = "raw Go"   // the same from Go, on the same socket or fd
	Client     Layer = "client"   // our packages family and ctlmap
	Mdlayher   Layer = "mdlayher" // genetlink.Conn.Execute
	CiliumEBPF Layer = "cilium"   // ebpf.Map.Lookup
	Tool       Layer = "tool"     // a process for each request
)

// Cell is one operation by one way through one layer.
type Cell struct {
	Type  string `json:"type"` // the control type, or what a peer is called
	Op    string `json:"op"`   // lookup, update, delete, iterate
	Way   Way    `json:"way"`
	Layer Layer  `json:"layer"`

	// Skipped says why it was not measured, empty if it was.
	Skipped string `json:"skipped,omitempty"`
	// NotMeasured are the fields below, as JSON has them, that are 0 because
	// nobody measured them.
	NotMeasured []string `json:"not-measured,omitempty"`
	// Beside is of a peer: the control type that has the same information.
	Beside string `json:"beside,omitempty"`
	// Equal tells that the answer was that of every other way, after
	// decoding; of peers it is not asked.
	Equal bool `json:"equal"`

	// Operations is how many the costs are from, of the histogram if it is 0.
	Operations int `json:"operations,omitempty"`

	// Min is the least mean of a batch of operations, of those of all rounds the
	// least that two agree on, if there are two; the others are of single
	// operations, so that a median can be below it. A tool is measured by single
	// runs: Min is the least of those.
	Min float64 `json:"min"`
	// Typical is the mean of the middle third of batches, the median of all rounds.
	// It repeats where the least does not: of updates and deletes others now and
	// then do a part, and ethtool -S costs more until the kernel takes areas of
	// vmalloc back.
	Typical float64 `json:"typical,omitempty"`
	Median  float64 `json:"median"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	// Rounds is how often all was measured. Spread is by how much the least
	// mean of the worst round is above that of the best, as a share of it, or
	// the typical one where that repeats; nothing is known of it after one round.
	Rounds int     `json:"rounds,omitempty"`
	Spread float64 `json:"spread"`
	// Histogram are the costs of single operations, in ascending order of
	// their bounds.
	Histogram []Bucket `json:"histogram,omitempty"`

	// Rates are operations a second by number of callers. On one processor
	// there are none: they would say nothing. Nor are there in instructions.
	Rates map[int]float64 `json:"rates,omitempty"`

	// SystemCalls are those of one operation, Sent and Received the bytes
	// that are copied to and from the kernel, or the server.
	SystemCalls float64 `json:"system-calls"`
	Sent        int     `json:"sent"`
	Received    int     `json:"received"`

	// Allocs are those of one operation on the Go side.
	Allocs float64 `json:"allocs"`
}

// Bucket is how many operations cost at most as much, and more than the bucket
// before.
type Bucket struct {
	Bound float64 `json:"bound"`
	Count int     `json:"count"`
}

// Slope is what iteration costs as the number of netdevs grows.
type Slope struct {
	Type  string `json:"type"`
	Way   Way    `json:"way"`
	Layer Layer  `json:"layer"`
	// Skipped says why it was not measured, empty if it was.
	Skipped string `json:"skipped,omitempty"`
	// Equal tells that the answers were those of every other way, after
	// decoding, at each point; of peers it is not asked.
	Equal bool `json:"equal"`
	// Points are the costs of a whole iteration.
	Points []Point `json:"points"`
	// Low is what a netdev more costs from the first size to the second,
	// High from the second to the last.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Point is the cost of iterating over so many netdevs.
type Point struct {
	Netdevs int     `json:"netdevs"`
	Cost    float64 `json:"cost"`
	// As those of a cell.
	Rounds int     `json:"rounds,omitempty"`
	Spread float64 `json:"spread"`
}

// Quality is what no stopwatch shows: a line of the second table.
type Quality struct {
	Name string `json:"name"` // discoverability, and so on
	// Question is what was tried, Netlink and Map what came of it.
	Question string `json:"question"`
	Netlink  string `json:"netlink"`
	Map      string `json:"map"`
	// Test is the Go test that shows it.
	Test string `json:"test"`
}
