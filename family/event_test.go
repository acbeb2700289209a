// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEventMarshalJSON(t *testing.T) {
	var bound Port
	bound.SetIfindex(7)
	bound.SetDevmapID(8)
	bound.SetIndexMapID(9)
	var exc Exception
	exc.SetIfindex(7)
	exc.SetProgID(3)
	exc.SetAction(77)
	exc.SetCount(1 << 40)
	onQueue := exc
	onQueue.SetQueue(0)
	for _, tt := range []struct {
		name string
		ev   Event
		want string
	}{
		{"entry", Event{Op: "port-ntf", Type: CtrlTypeXDPPort, Key: &PortKey{Port: 3}, Value: &bound},
			`{"event":"port-ntf","port":3,"ifindex":7,"devmap-id":8,"index-map-id":9}`},
		{"entry that is gone", Event{Op: "port-ntf", Type: CtrlTypeXDPPort, Key: &PortKey{Port: 3}, Value: &Port{}},
			`{"event":"port-ntf","port":3}`},
		{"no entry", Event{Op: "exception-ntf", Value: &exc},
			`{"event":"exception-ntf","ifindex":7,"prog-id":3,"action":77,"count":1099511627776}`},
		{"no entry, on a queue", Event{Op: "exception-ntf", Value: &onQueue},
			`{"event":"exception-ntf","ifindex":7,"prog-id":3,"action":77,"count":1099511627776,"queue":0}`},
		{"nothing", Event{Op: "later-ntf"}, `{"event":"later-ntf"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.ev)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
