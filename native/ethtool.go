// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"sync"

	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
)

// lazyEthtool is a connection to ethtool, which is opened when it is needed.
type lazyEthtool struct {
	mu   sync.Mutex
	conn *ethtool.Conn
}

// ethtool is the connection to ethtool in the network namespace.
func (c *Control) ethtool() (*ethtool.Conn, error) {
	c.eth.mu.Lock()
	defer c.eth.mu.Unlock()
	if c.eth.conn == nil {
		conn, err := ethtool.Dial(int(c.ns.Fd()))
		if err != nil {
			return nil, err
		}
		c.eth.conn = conn
	}
	return c.eth.conn, nil
}

func (e *lazyEthtool) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		return nil
	}
	err := e.conn.Close()
	e.conn = nil
	return err
}
