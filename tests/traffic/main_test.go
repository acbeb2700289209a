// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }
