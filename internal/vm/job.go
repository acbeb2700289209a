// SPDX-License-Identifier: BSD-3-Clause

package vm

// JobPath is where the guest's init finds its Job in the initramfs.
const JobPath = "/vmrun.json"

// Names of the two virtio-serial ports between guest and host.
const (
	PortOutput  = "vmrun.output"  // stdout and stderr of the command, as they are
	PortControl = "vmrun.control" // Messages to the host and Orders to the guest, one JSON object a line
)

// Job is what the host asks of the guest.
type Job struct {
	// Command line, environment and working directory of the command.
	Args []string
	Env  []string
	Dir  string

	// Modules to load before the root can be mounted: paths in the
	// initramfs, in load order.
	Modules []string
	// ModuleTree is a lib/modules/RELEASE directory of the host that does
	// not lie in the host's own /lib/modules. Empty: none.
	ModuleTree string
	// Insmod is a module to load right before the command. Empty: none.
	Insmod string

	// Binds are the host's files and directories that stay visible although
	// they lie below a directory which the guest covers with a tmpfs.
	Binds []string

	// LeakCheck fails the run for BPF objects that outlive the command.
	LeakCheck bool
	// Restart ends the guest by a reset. Otherwise it is powered off.
	Restart bool
}

// Result is what became of a Job.
type Result struct {
	// Status of the command as a shell reports it: its exit status, or 128
	// and the number of the signal that killed it.
	Status int
	// Output is the number of bytes written to PortOutput.
	Output int64
	// Failures of the checks made after the command, in plain words.
	Failures []string
	// Notes that are no failures.
	Notes []string
}

// Message is one line from the guest.
type Message struct {
	// Started is sent once, when the command is about to run.
	Started bool `json:",omitempty"`
	// Error says why the command could not be run at all.
	Error string `json:",omitempty"`
	// Result ends the run.
	Result *Result `json:",omitempty"`
}

// Order is one line to the guest.
type Order string

const (
	// OrderDump makes the command print its goroutines and the kernel its
	// blocked tasks; sent when the time is up.
	OrderDump Order = "dump"
	// OrderEnd is sent when everything has arrived.
	OrderEnd Order = "end"
)
