// SPDX-License-Identifier: BSD-3-Clause

// Package hostile comes at the map door by ways that it must refuse: from a BPF
// program, from io_uring, by a 32-bit call, and with signal handlers that jump
// out of an update.
package hostile
