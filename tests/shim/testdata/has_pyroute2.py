# SPDX-License-Identifier: BSD-3-Clause
"""Fails if there is no pyroute2."""

import pyroute2  # noqa: F401
