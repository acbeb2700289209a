// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* struct_ops that are attached by a link, where there are links. */
#define CONGESTION_SECTION ".struct_ops.link"
#define CONGESTION_NAME "skel_link"
#include "congestion.h"
