// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Server serves generic netlink families to sockets that are not the kernel's:
// it is to its families what af_netlink, genetlink and nlctrl are to those of
// the kernel, and answers with the same bytes. It checks requests as the kernel
// does, with its errnos, texts and extended acknowledgements, and tells of its
// families as family nlctrl.
//
// [Server.Dial] makes a socket in the same process; [Server.Socket] is one end
// of any other. So a Server is also a fake kernel for tests: serve a family of
// the name that the code under test asks for, and give it sockets from here.
//
// It may be used by several goroutines at once. Handlers run at the same time
// unless they belong to requests on one socket.
type Server struct {
	opts ServerOptions
	old  bool // as Linux 6.1
	ctrl *served

	// Changed under mu, which also keeps events in order. Readers take the
	// snapshot.
	mu       sync.Mutex
	families atomic.Pointer[familyTable]
	nextID   int
	groups   groupIDs

	// Who is there and listens. Taken after mu.
	socketsMu sync.RWMutex
	sockets   map[uint32]*ServerSocket   // by port id
	listeners map[uint32][]*ServerSocket // by group
	rover     uint32                     // the next port id to try
	closed    bool

	ctx    context.Context // until it is closed
	cancel context.CancelFunc

	groupLimit atomic.Int32 // no group is this or more

	// Joins and leaves, with what is told of them, one after the other.
	joinMu sync.Mutex
}

// ServerOptions say how to make a [NewServer].
type ServerOptions struct {
	// Kernel is the release whose order of checks and texts is imitated:
	// "6.1" or "6.12", which stand for those until the next and from it on.
	// If empty, what is like the running kernel.
	Kernel string

	// Admin tells who has the capability CAP_NET_ADMIN, in the network
	// namespace and out of it, and those that multicast groups may ask for.
	// If nil, those are callers in the same process whose thread has
	// CAP_NET_ADMIN, and others whose user id is 0.
	Admin func(Peer) bool
}

// Peer is who holds the other end of a socket.
type Peer struct {
	// Local says that it is this process. The other fields are filled in.
	Local bool

	// PID, UID and GID are as SO_PEERCRED has them.
	PID      int32
	UID, GID uint32

	// Groups are the other groups, as SO_PEERGROUPS has them. They are not
	// filled in if Local.
	Groups []uint32
}

// ServedFamily is a family for [Server.Register].
type ServedFamily struct {
	// Name has up to 15 bytes.
	Name string

	// Version is in every message. Nothing is made of that in requests.
	Version uint8

	// HeaderSize is the size of the family's own header. Newer families
	// have none.
	HeaderSize int

	// MaxAttr is told to those who ask for the family and means nothing
	// here. It is 0 if every operation has its own policy.
	MaxAttr uint32

	Ops    []ServedOp
	Groups []ServedGroup

	// LooseBelow is the first command whose requests have to have nothing
	// reserved set, and that must have policies (resv_start_op). Newer
	// families leave it 0, which is all of them.
	LooseBelow uint8

	// ID is the message type to have, or 0 for one that is free.
	ID uint16

	// Listeners, if not nil, is told how many sockets have joined a group,
	// whenever one joins or leaves it. It must not join or leave any.
	//
	// It may refuse one that joins, who is told the error, or its errno.
	Listeners func(group string, n int) error

	served atomic.Pointer[served]
}

// ServedOp is an operation of a family. It has Do or Dump or both.
type ServedOp struct {
	Command uint8

	// Flags are OpAdmin, OpAdminInNets or none. The rest is filled in.
	Flags OpFlags

	// Policy is what is accepted. Numbers have no bounds that are not
	// named. If nil, or empty, no attribute is.
	//
	// A binary attribute with MaxLength and no MinLength is one whose
	// policy has a len; with both it has a range, and another text when
	// it is refused.
	Policy *PolicySet

	// MaxAttr is the highest attribute that the enum of the family has; it
	// is another text that refuses one beyond. If 0, the highest in Policy.
	MaxAttr uint16

	// DumpPolicy is what a dump accepts, if that is something else.
	DumpPolicy *PolicySet

	// Validate is 0 but for commands below LooseBelow.
	Validate ValidateFlags

	// FDs are the attributes that hold a file descriptor, which a socket
	// to another process carries beside the request. See
	// [ServerRequest.FD].
	FDs []uint16

	// DoneApart says that the end of a dump comes in a datagram of its own,
	// unless the dump is empty. That is the way of the kernel's families up
	// to Linux 6.1, and later of those that were not changed.
	DoneApart bool

	Do   Handler
	Dump DumpHandler
}

// ValidateFlags say what is not checked of requests for old commands
// (GENL_DONT_VALIDATE_*).
type ValidateFlags uint8

// What is not checked of requests for old commands.
const (
	DontValidateStrict     ValidateFlags = 1 << iota // attributes unknown, too long or not flagged nested
	DontValidateDump                                 // any attribute of a dump
	DontValidateDumpStrict                           // as DontValidateStrict, of a dump
)

// ServedGroup is a multicast group.
type ServedGroup struct {
	// Name has up to 15 bytes.
	Name string

	// Admin says that only those may join who [ServerOptions] says have
	// CAP_NET_ADMIN.
	Admin bool
}

const (
	genlNameSize = unix.GENL_NAMSIZ
	genlFirstID  = unix.GENL_ID_CTRL + 3 // GENL_START_ALLOC
)

// familyTable is what families there are. It does not change.
type familyTable struct {
	byID [unix.GENL_MAX_ID + 1 - unix.GENL_MIN_ID]*served
}

func (t *familyTable) find(id uint16) *served {
	if i := int(id) - unix.GENL_MIN_ID; i >= 0 && i < len(t.byID) {
		return t.byID[i]
	}
	return nil
}

func (t *familyTable) named(name string) *served {
	for _, f := range t.byID {
		if f != nil && f.Name == name {
			return f
		}
	}
	return nil
}

// NewServer returns a server with no families but nlctrl.
func NewServer(o ServerOptions) *Server {
	s := &Server{
		opts:      o,
		old:       isOldKernel(o.Kernel),
		nextID:    genlFirstID,
		groups:    newGroupIDs(),
		sockets:   make(map[uint32]*ServerSocket),
		listeners: make(map[uint32][]*ServerSocket),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.families.Store(&familyTable{})
	ctrl, err := newServed(s, newCtrl(s))
	if err != nil {
		panic(err) // cannot be
	}
	ctrl.id = unix.GENL_ID_CTRL
	ctrl.firstGroup = ctrlNotifyGroup
	s.ctrl = ctrl
	s.groupLimit.Store(int32(s.groups.limit()))
	s.install(ctrl)
	return s
}

// isOldKernel tells whether a release, or the running one if it is "", is before
// Linux 6.12, and so is to be taken for 6.1.
func isOldKernel(release string) bool {
	if release == "" {
		var u unix.Utsname
		if unix.Uname(&u) != nil {
			return false
		}
		release = unix.ByteSliceToString(u.Release[:])
	}
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < 6 || major == 6 && minor < 12
}

// Register serves a family, and tells the listeners of nlctrl. The family must
// not be changed after that.
//
// Returns an error matching os.ErrExist if there is one of the name, or
// os.ErrInvalid, as syscall.EINVAL, if it cannot be a family.
func (s *Server) Register(f *ServedFamily) error {
	fam, err := newServed(s, f)
	if err != nil {
		return fmt.Errorf("register family %q: %w", f.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.families.Load()
	if t.named(f.Name) != nil {
		return fmt.Errorf("register family %q: %w", f.Name, unix.EEXIST)
	}
	if fam.id, err = s.newID(t, f.ID); err != nil {
		return fmt.Errorf("register family %q: %w", f.Name, err)
	}
	fam.firstGroup = s.groups.take(len(f.Groups))
	s.groupLimit.Store(int32(s.groups.limit()))
	f.served.Store(fam)
	s.install(fam)

	s.ctrlEvent(unix.CTRL_CMD_NEWFAMILY, fam, -1)
	for i := range f.Groups {
		s.ctrlEvent(unix.CTRL_CMD_NEWMCAST_GRP, fam, i)
	}
	return nil
}

// install puts a family into the table.
func (s *Server) install(f *served) {
	t := *s.families.Load()
	t.byID[f.id-unix.GENL_MIN_ID] = f
	s.families.Store(&t)
}

// newID returns the id that is wanted, if it is free, or, if that is 0, the next
// one, in turn (idr_alloc_cyclic).
func (s *Server) newID(t *familyTable, want uint16) (uint16, error) {
	switch {
	case want == 0:
	case want < unix.GENL_MIN_ID || want > unix.GENL_MAX_ID:
		return 0, unix.EINVAL
	case t.find(want) != nil:
		return 0, unix.EEXIST
	default:
		return want, nil
	}
	const n = unix.GENL_MAX_ID + 1 - genlFirstID
	for range n {
		id := s.nextID
		if s.nextID++; s.nextID > unix.GENL_MAX_ID {
			s.nextID = genlFirstID
		}
		if t.find(uint16(id)) == nil {
			return uint16(id), nil
		}
	}
	return 0, unix.ENOSPC
}

// Unregister serves a family no more, waits for its handlers that run, and tells
// the listeners of nlctrl. A dump that its reader has not finished ends with
// ENOENT. It must not be called by a handler of the family.
//
// Returns an error matching os.ErrNotExist if there is no such family.
func (s *Server) Unregister(name string) error {
	f, err := s.remove(name)
	if err != nil {
		return fmt.Errorf("unregister family %q: %w", name, err)
	}
	f.retire()
	s.endDumps(f)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups.release(f.firstGroup, len(f.Groups))
	s.ctrlEvent(unix.CTRL_CMD_DELFAMILY, f, -1)
	return nil
}

// remove takes a family out of the table, so that no more requests come to it.
func (s *Server) remove(name string) (*served, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := *s.families.Load()
	f := t.named(name)
	if f == nil || f == s.ctrl {
		return nil, unix.ENOENT
	}
	for i := range f.Groups {
		s.dropListeners(f, i)
		s.ctrlEvent(unix.CTRL_CMD_DELMCAST_GRP, f, i)
	}
	t.byID[f.id-unix.GENL_MIN_ID] = nil
	s.families.Store(&t)
	return f, nil
}

// Close unregisters all families and closes all sockets.
func (s *Server) Close() error {
	var errs []error
	for _, f := range s.families.Load().byID {
		if f != nil && f.id != unix.GENL_ID_CTRL {
			errs = append(errs, s.Unregister(f.Name))
		}
	}
	s.socketsMu.Lock()
	s.closed = true
	s.cancel()
	open := make([]*ServerSocket, 0, len(s.sockets))
	for _, k := range s.sockets {
		open = append(open, k)
	}
	s.socketsMu.Unlock()
	for _, k := range open {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}

// Family returns the family as a client would learn it, or nil if it is not
// registered.
func (s *Server) Family(name string) *Family {
	f := s.families.Load().named(name)
	if f == nil {
		return nil
	}
	fam := &Family{ID: f.id, Name: f.Name, Version: f.Version, HeaderSize: f.HeaderSize, MaxAttr: f.MaxAttr}
	for _, op := range f.ops {
		fam.Ops = append(fam.Ops, Op{ID: uint32(op.Command), Flags: op.told(s.old)})
	}
	for i, g := range f.Groups {
		fam.Groups = append(fam.Groups, Group{ID: f.groupID(i), Name: g.Name})
	}
	return fam
}

// groupIDs are the multicast groups in use, and the first ones that are nobody's
// to take.
type groupIDs []uint64

func newGroupIDs() groupIDs {
	const ctrl, quota, pmcraid = unix.GENL_ID_CTRL, unix.GENL_ID_CTRL + 1, unix.GENL_ID_CTRL + 2
	return groupIDs{3 | 1<<ctrl | 1<<quota | 1<<pmcraid}
}

// limit is the first group that there can be no listener of.
func (g groupIDs) limit() int { return len(g) * 64 }

func (g groupIDs) used(id int) bool { return g[id/64]&(1<<(id%64)) != 0 }

// take returns the first of n free groups in a row.
func (g *groupIDs) take(n int) uint32 {
	if n == 0 {
		return 0
	}
	run := 0
	for id := 0; ; id++ {
		if id == g.limit() {
			*g = append(*g, 0)
		}
		if g.used(id) {
			run = 0
			continue
		}
		if run++; run == n {
			first := id - n + 1
			for i := first; i <= id; i++ {
				(*g)[i/64] |= 1 << (i % 64)
			}
			return uint32(first)
		}
	}
}

func (g groupIDs) release(first uint32, n int) {
	for id := first; id < first+uint32(n); id++ {
		g[id/64] &^= 1 << (id % 64)
	}
}

// validName tells whether a family or group may be called that.
func validName(name string) bool {
	return name != "" && len(name) < genlNameSize && !strings.ContainsRune(name, 0)
}
