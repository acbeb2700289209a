// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/xdpctl/xdpctl-nl/internal/vm"
)

func TestTimeoutOf(t *testing.T) {
	tests := []struct {
		args []string
		want time.Duration
	}{
		{[]string{"true"}, 10 * time.Minute},
		{[]string{"x.test", "-test.v", "-test.timeout=20m0s"}, 21 * time.Minute},
		{[]string{"x.test", "-test.timeout=0s"}, 10 * time.Minute},
		{[]string{"x.test", "-test.timeout=x"}, 10 * time.Minute},
	}
	for _, tt := range tests {
		if got := timeoutOf(tt.args); got != tt.want {
			t.Errorf("timeoutOf(%q) = %v, want %v", tt.args, got, tt.want)
		}
	}
}

func TestComplete(t *testing.T) {
	tests := []struct {
		name string
		in   vm.Options
		cpus int
		ok   bool
	}{
		{"plain", vm.Options{}, 2, true},
		{"four", vm.Options{CPUs: 4}, 4, true},
		{"icount", vm.Options{ICount: true}, 1, true},
		{"icount and two", vm.Options{ICount: true, CPUs: 2}, 0, false},
		{"icount and KVM", vm.Options{ICount: true, KVM: true}, 0, false},
		{"debug", vm.Options{Kernel: &vm.Kernel{Debug: true}}, 1, true},
		{"debug and two", vm.Options{Kernel: &vm.Kernel{Debug: true}, CPUs: 2}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.in
			if o.Kernel == nil {
				o.Kernel = &vm.Kernel{Release: "6.1"}
			}
			o.Args = []string{"./x.test"}
			err := complete(&o, []string{"A=b"})
			if (err == nil) != tt.ok {
				t.Fatalf("complete: %v", err)
			}
			if err != nil {
				return
			}
			if o.CPUs != tt.cpus || o.Memory == 0 || o.Timeout == 0 {
				t.Errorf("%d processors, %d MiB, %v", o.CPUs, o.Memory, o.Timeout)
			}
			if o.Args[0] != o.Dir+"/x.test" {
				t.Errorf("command %q", o.Args[0])
			}
			if !slices.Contains(o.Env, "VMRUN=1") || !slices.Contains(o.Env, "A=b") {
				t.Errorf("environment %q", o.Env)
			}
		})
	}
}
