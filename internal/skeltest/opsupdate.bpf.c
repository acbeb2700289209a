// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* struct_ops that are attached by an update of the map. */
#define CONGESTION_SECTION ".struct_ops"
#define CONGESTION_NAME "skel_update"
#include "congestion.h"
