// SPDX-License-Identifier: BSD-3-Clause

package traffic

import "github.com/xdpctl/xdpctl-nl/internal/netns"

// InNetNS runs f in the network namespace at path, such as /run/netns/NAME. An
// empty path is the caller's own namespace. What f opens stays in the
// namespace; f must not start goroutines that rely on it.
func InNetNS(path string, f func() error) error {
	if path == "" {
		return f()
	}
	there, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer there.Close()
	return netns.Do(there, f)
}
