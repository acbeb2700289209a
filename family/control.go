// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"encoding/json"
	"iter"
)

// Table is one control type: a table from keys to values.
//
// Errors are *[Error] where the kernel refused, or wrap the error of the
// context. A Table may be used by several goroutines at once.
type Table[K, V any] interface {
	// Lookup reads the entry of k into v, which it overwrites whole.
	//
	// Returns an error matching os.ErrNotExist if there is no such entry,
	// be it for want of the netdev. Allocates nothing when it succeeds.
	Lookup(ctx context.Context, k *K, v *V) error

	// Update writes the fields present in v into the entry of k, adding it
	// or not as how says.
	//
	// Returns an error matching os.ErrExist or os.ErrNotExist where how or
	// the expectations in v are not met, os.ErrPermission without
	// CAP_NET_ADMIN, or errors.ErrUnsupported for a control type that
	// cannot be updated.
	Update(ctx context.Context, k *K, v *V, how Update) error

	// Delete removes the entry of k.
	//
	// Returns an error matching os.ErrNotExist if there is none,
	// os.ErrPermission without CAP_NET_ADMIN, or errors.ErrUnsupported for
	// a control type that cannot be deleted from.
	Delete(ctx context.Context, k *K) error

	// Cursor iterates over all entries, or, if filter is not nil, over
	// those with filter's ifindex, or port, in ascending order of keys. The filter
	// is read before Cursor returns.
	//
	// Errors are reported by the cursor. It must be closed.
	Cursor(ctx context.Context, filter *K) Cursor[K, V]
}

// Cursor is an iteration over a [Table]. It belongs to one goroutine.
//
//	cur := table.Cursor(ctx, nil)
//	defer cur.Close()
//	for cur.Next(&k, &v) {
//		...
//	}
//	return cur.Err()
//
// Entries that come or go meanwhile may or may not be seen; every other entry
// is seen exactly once.
type Cursor[K, V any] interface {
	// Next reads the next entry into k and v, which it overwrites whole,
	// and returns true; at the end or after an error it returns false.
	// Allocates nothing when it returns true.
	Next(k *K, v *V) bool

	// Err returns the error that ended the iteration, or nil at the end.
	Err() error

	// Close releases the cursor. The iteration need not be at its end.
	Close() error
}

// Entry is a key with its value.
type Entry[K, V any] struct {
	Key   K
	Value V
}

// MarshalJSON returns one object with the attributes of key and value, as one
// netlink message has them.
func (e Entry[K, V]) MarshalJSON() ([]byte, error) {
	return mergeJSON(e.Key, e.Value)
}

// All iterates over all entries of t, or, if filter is not nil, over those with
// filter's ifindex, or port. It is a [Cursor] in the clothes of a range loop:
//
//	for e, err := range family.All(ctx, control.Stats(), nil) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// An error ends the iteration.
func All[K, V any](ctx context.Context, t Table[K, V], filter *K) iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		cur := t.Cursor(ctx, filter)
		defer cur.Close()

		var e Entry[K, V]
		for cur.Next(&e.Key, &e.Value) {
			if !yield(e, nil) {
				return
			}
		}
		if err := cur.Err(); err != nil {
			yield(Entry[K, V]{}, err)
		}
	}
}

// Control is XDP control through one door: the kernel's generic netlink
// family, its BPF control maps, or a server in userspace.
//
// What is asked is answered the same through every door; only [Error] is
// poorer at the map door. A Control may be used by several goroutines at once.
type Control interface {
	Stats() Table[StatsKey, Stats]
	Qstats() Table[QstatsKey, Qstats]
	Prog() Table[ProgKey, Prog]
	Caps() Table[CapsKey, Caps]
	Attr() Table[AttrKey, Attr]
	Port() Table[PortKey, Port]

	// Types returns the control types that the other side supports, in
	// ascending order of their ids.
	Types(ctx context.Context) ([]Type, error)

	// Subscribe subscribes to changes of programs, settings and ports, made
	// through any door, and to XDP exceptions.
	//
	// Returns an error matching errors.ErrUnsupported at the map door,
	// which has no notifications.
	Subscribe(ctx context.Context) (Subscription, error)

	// Name returns the name of the door: "netlink", "map" or another.
	Name() string

	// Close releases the door. What was attached through it stays.
	Close() error
}

// Subscription delivers the events since [Control.Subscribe] returned. It
// belongs to one goroutine.
type Subscription interface {
	// Recv waits for the next event.
	//
	// Returns an error matching unix.ENOBUFS if events were lost since the
	// last call, because they came faster than they were received: read
	// the tables again, then go on receiving. Returns the error of ctx when
	// it is done first.
	Recv(ctx context.Context) (Event, error)

	// Close ends the subscription.
	Close() error
}

// Event is what a notification told: a change of an entry, or XDP exceptions.
type Event struct {
	// Op is the notification as the spec spells it, such as "prog-ntf".
	Op string

	// Type is the control type of the entry; 0 for exceptions, which are
	// none.
	Type CtrlType

	// Key and Value are the entry after the change, pointers to the types
	// of Type: *ProgKey and *Prog for CtrlTypeXDPProg. Of an entry that is
	// gone the value has nothing that tells of the entry: no prog-id, no
	// ifindex of a port.
	//
	// Of "exception-ntf", Key is nil and Value is an *Exception. It is no
	// count of all exceptions, which [Control.Stats] has: those that come
	// faster than events are sent are told of together.
	Key   any
	Value any
}

// MarshalJSON returns an object with "event", the name of the notification,
// and the attributes of key and value, if there are any.
func (e Event) MarshalJSON() ([]byte, error) {
	op, err := json.Marshal(map[string]string{"event": e.Op})
	if err != nil {
		return nil, err
	}
	return mergeJSON(json.RawMessage(op), e.Key, e.Value)
}

// Events iterates over the events that s delivers, until an error other than
// loss of events; that error is the last thing yielded. Loss itself is yielded
// as an error too, and iteration goes on.
func Events(ctx context.Context, s Subscription) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			ev, err := s.Recv(ctx)
			if !yield(ev, err) {
				return
			}
			if err != nil && !isOverrun(err) {
				return
			}
		}
	}
}
