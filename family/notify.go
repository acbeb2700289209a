// SPDX-License-Identifier: BSD-3-Clause

package family

import "context"

// notifyKey is the key of a context's notifier.
type notifyKey struct{}

type notifier struct {
	owner any
	f     func(Event)
}

// WithNotify returns a context by which a [Control] that can do so tells f of the
// changes that it makes on behalf of a call, before the call returns. A
// [Subscription] made with a context of the same owner is not told of them then.
func WithNotify(ctx context.Context, owner any, f func(Event)) context.Context {
	return context.WithValue(ctx, notifyKey{}, notifier{owner, f})
}

// NotifyFrom returns what [WithNotify] put into a context; nil if it was nothing.
func NotifyFrom(ctx context.Context) (owner any, f func(Event)) {
	n, _ := ctx.Value(notifyKey{}).(notifier)
	return n.owner, n.f
}
