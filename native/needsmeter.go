// SPDX-License-Identifier: BSD-3-Clause

package native

// NeedsMeter tells whether this kernel lets no program see what another returns,
// so that the meter of a netdev can count only programs that loader.AddMeter has
// given one of their own.
//
// It is true also for who may not load such a program: it takes CAP_BPF and
// CAP_PERFMON.
func NeedsMeter() bool { return !hasFexit() }
