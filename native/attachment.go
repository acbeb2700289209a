// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Pins in the directory of a netdev. The link comes last: without it the others
// are left over from a change that was interrupted. What counts besides it is what
// goes with the program that is in the link.
const (
	pinLink        = "link"            // the XDP link
	pinPlaceholder = "placeholder"     // the placeholder of setup-redirect
	pinComing      = "placeholder-new" // the same while it comes or goes
	pinQueues      = "queues-"         // and the id of the dispatcher: its program array
)

// attachment is our link on a netdev, and what there is in it.
type attachment struct {
	dir  string
	link int    // file descriptor of it
	id   uint32 // of the link
	top  uint32 // the program in it
	mode family.Mode

	prog   uint32   // program of the whole netdev, or 0
	array  int      // fd of the program array, if a dispatcher is in the link, or 0
	queues []uint32 // programs of the RX queues that the netdev was made with, or 0

	// spare is the placeholder that the netdev keeps, or 0. It is in the
	// link if there is nothing else.
	spare uint32

	// lost is whether somebody else has put another program into the link.
	lost  bool
	books books
}

func (a *attachment) close() {
	if a == nil {
		return
	}
	for _, fd := range []int{a.link, a.array, int(a.books)} {
		if fd > 0 {
			unix.Close(fd)
		}
	}
}

// progOf is the program that a queue has been given, or the whole netdev; 0 for
// none.
func (a *attachment) progOf(queue uint32) uint32 {
	switch {
	case queue == family.QueueAll:
		return a.prog
	case uint64(queue) < uint64(len(a.queues)):
		return a.queues[queue]
	default:
		return 0
	}
}

// isPlaceholder tells whether the placeholder is what is in the link.
func (a *attachment) isPlaceholder() bool { return a.spare != 0 && a.spare == a.top }

// used counts the queues that have a program.
func (a *attachment) used() (n int) {
	for _, id := range a.queues {
		if id != 0 {
			n++
		}
	}
	return n
}

// errChanged is that something changed while it was read.
var errChanged = errors.New("the programs are changing")

// readAttachment reads what we have on a netdev, or nil if that is nothing. It
// may be wrong while there is a change; attachmentOf is not.
func (c *Control) readAttachment(d *netdev) (a *attachment, err error) {
	dir := c.state.dev(d.index)
	fd, info, err := openLink(dir)
	if fd < 0 || err != nil {
		return nil, err
	}
	a = &attachment{dir: dir, link: fd, id: info.id, top: info.prog}
	defer func() {
		if err != nil {
			a.close()
			a = nil
		}
	}()
	out, err := isOut(filepath.Join(dir, beaconDev))
	if err != nil {
		return a, err
	}
	if out || info.ifindex != d.index {
		a.close()
		return nil, nil
	}
	mode, id := d.xdp.host()
	if id != a.top {
		return a, errChanged
	}
	a.mode = mode
	return a, a.read()
}

// openLink opens the link in the directory of a netdev; it may be dead. The fd is
// negative if there is none.
func openLink(dir string) (fd int, info *linkInfo, err error) {
	path := filepath.Join(dir, pinLink)
	fd, err = objGet(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil, nil
	}
	if err != nil {
		return -1, nil, err
	}
	if info, err = linkInfoOf(fd); err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("%s: %w", path, err)
	}
	return fd, info, nil
}

// read finds out what the program in the link is.
func (a *attachment) read() (err error) {
	if a.books, err = openBooks(a.dir); err != nil {
		return err
	}
	if a.spare, err = a.readSpare(); err != nil {
		return err
	}
	fd, err := objGet(a.queuesPin(a.top))
	switch {
	case err == nil:
		a.array = fd
		return a.readQueues()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if a.isPlaceholder() {
		return nil
	}
	_, known, err := a.books.get(a.top, family.QueueAll)
	a.prog, a.lost = a.top, !known
	return err
}

func (a *attachment) queuesPin(dispatcher uint32) string {
	return filepath.Join(a.dir, pinQueues+strconv.FormatUint(uint64(dispatcher), 10))
}

// readSpare finds the placeholder. One that comes or goes counts while it is in
// the link.
func (a *attachment) readSpare() (uint32, error) {
	id, err := pinnedProg(filepath.Join(a.dir, pinComing))
	if err != nil || id != 0 && id == a.top {
		return id, err
	}
	return pinnedProg(filepath.Join(a.dir, pinPlaceholder))
}

// pinnedProg is the id of a pinned program, 0 if there is none.
func pinnedProg(path string) (uint32, error) {
	fd, err := objGet(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	info, err := progInfoOf(fd)
	if err != nil {
		return 0, err
	}
	return info.ID, nil
}

// readQueues reads the program array, in which the program of the whole netdev
// comes after those of the queues.
func (a *attachment) readQueues() error {
	var info mapInfo
	if err := objInfo(a.array, unsafe.Pointer(&info), unsafe.Sizeof(info)); err != nil {
		return err
	}
	slots := make([]uint32, info.maxEntries)
	for i := range slots {
		if _, err := mapGet(a.array, uint32(i), &slots[i]); err != nil {
			return err
		}
	}
	n := len(slots) - 1
	a.queues, a.prog = slots[:n], slots[n]
	return nil
}

// retries is how often reading begins anew when somebody else is changing what
// is read.
const retries = 100

// attachmentOf reads a netdev and what we have on it, which is nil if that is
// nothing. Who sees a program that is not ours, or not any more, has waited until
// no change is under way.
//
// Refuses with ENOENT if there is no such netdev.
func (c *Control) attachmentOf(ifindex uint32) (*netdev, *attachment, error) {
	d, err := c.netdev(ifindex)
	if err != nil {
		return nil, nil, err
	}
	return c.attachmentOn(d)
}

// attachmentOn is attachmentOf for a netdev that has been read just now. It reads it
// again if need be.
func (c *Control) attachmentOn(d *netdev) (*netdev, *attachment, error) {
	a, err := c.readAttachment(d)
	if _, id := d.xdp.host(); err == nil && (id == 0 || a != nil && !a.lost) {
		return d, a, nil
	}
	if err != nil && err != errChanged {
		return nil, nil, err
	}
	a.close()
	err = c.state.settled(func() (err error) {
		for range retries {
			if d, err = c.netdev(d.index); err != nil {
				return err
			}
			if a, err = c.readAttachment(d); err != errChanged {
				return err
			}
		}
		return err
	})
	return d, a, err
}

// sweep removes from the directory of a netdev what does not go with the program
// that is in the link: what an interrupted change leaves, and what a change has
// put aside.
func sweep(dir string) error {
	fd, info, err := openLink(dir)
	if err != nil {
		return err
	}
	if fd < 0 {
		return dropLink(dir)
	}
	a := &attachment{dir: dir, link: fd, top: info.prog}
	defer a.close()
	if info.ifindex == 0 {
		return dropLink(dir)
	}
	if err := a.read(); err != nil {
		return err
	}
	if err := a.settleSpare(); err != nil {
		return err
	}
	if err := dropQueues(dir, a.queuesPin(a.top)); err != nil {
		return err
	}
	return a.books.keep(func(k bookKey) bool {
		return !a.lost && a.progOf(k.Queue) == k.ProgID
	})
}

// settleSpare ends what attaching a placeholder has begun, or undoes what
// detaching it has.
func (a *attachment) settleSpare() error {
	coming := filepath.Join(a.dir, pinComing)
	if _, err := os.Stat(coming); err != nil {
		return nil
	}
	if !a.isPlaceholder() {
		return unpin(coming)
	}
	err := os.Rename(coming, filepath.Join(a.dir, pinPlaceholder))
	step("rename placeholder")
	return err
}

// dropQueues removes the program arrays but that of keep, after the last frame
// has left the dispatcher: with its pin an array loses its programs.
func dropQueues(dir, keep string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), pinQueues) && path != keep {
			paths = append(paths, path)
		}
	}
	return unpinUnused(paths)
}

// unpinUnused removes pins of what no new frame gets to, after the last frame that
// may be in it.
func unpinUnused(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	if err := waitForFrames(); err != nil {
		return err
	}
	for _, path := range paths {
		if err := unpin(path); err != nil {
			return err
		}
	}
	return nil
}

// dropLink removes a link that is dead, and what went with it, but for the
// placeholder, which goes with setup-redirect.
func dropLink(dir string) error {
	return errors.Join(
		dropQueues(dir, ""),
		unpin(filepath.Join(dir, booksName)),
		unpin(filepath.Join(dir, pinComing)),
		unpin(filepath.Join(dir, pinLink)),
	)
}

// dropProgs detaches and removes whatever programs there are in the directory of
// a netdev, and returns the pins.
func dropProgs(dir string) (removed []string, err error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		switch name := e.Name(); {
		case name == pinLink, name == booksName, name == pinPlaceholder, name == pinComing, strings.HasPrefix(name, pinQueues):
			removed = append(removed, filepath.Join(dir, name))
		}
	}
	fd, _, err := openLink(dir)
	if err != nil {
		return nil, err
	}
	if fd >= 0 {
		defer unix.Close(fd)
		if err := linkDetach(fd); err != nil {
			return nil, err
		}
	}
	return removed, errors.Join(dropLink(dir), unpin(filepath.Join(dir, pinPlaceholder)))
}
