// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// Whatever comes is read or refused, and what was read is the same when it is
// written and read once more.
func FuzzDecodeAttrs(f *testing.F) {
	for _, raw := range []string{progSet, progReply, statsReply, capsReply, attrReply, portReply, exceptionEvent} {
		b, err := hex.DecodeString(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again[StatsKey, Stats](t, b)
		again[QstatsKey, Qstats](t, b)
		again[ProgKey, Prog](t, b)
		again[CapsKey, Caps](t, b)
		again[AttrKey, Attr](t, b)
		again[PortKey, Port](t, b)
		var v, w Exception
		if v.DecodeAttrs(b) != nil {
			return
		}
		once := v.AppendAttrs(nil, false)
		if err := w.DecodeAttrs(once); err != nil || !bytes.Equal(once, w.AppendAttrs(nil, false)) {
			t.Errorf("%+v is %+v when read again: %v", v, w, err)
		}
	})
}

func again[K, V any, PK testKey[K], PV testValue[K, V]](t *testing.T, b []byte) {
	t.Helper()
	for _, set := range []bool{false, true} {
		var k, key K
		var v, value V
		if PV(&v).DecodeAttrs(b, &k) != nil {
			continue
		}
		once := PV(&v).AppendAttrs(PK(&k).AppendAttrs(nil), set)
		err := PV(&value).DecodeAttrs(once, &key)
		if err != nil || !bytes.Equal(once, PV(&value).AppendAttrs(PK(&key).AppendAttrs(nil), set)) {
			t.Errorf("%s: %+v %+v is %+v %+v when read again: %v", PV(&v).Desc().Name, k, v, key, value, err)
		}
	}
}
