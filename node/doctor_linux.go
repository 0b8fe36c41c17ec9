package node

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/entente-mesh/entente/node/doctor"
)

// fileSystems are those of statfs(2) that a node should not be on, and those that are common.
var fileSystems = map[uint32]struct {
	name                     string
	network, memory, layered bool
}{
	unix.NFS_SUPER_MAGIC:       {name: "nfs", network: true},
	unix.SMB_SUPER_MAGIC:       {name: "smb", network: true},
	unix.SMB2_SUPER_MAGIC:      {name: "smb2", network: true},
	unix.CIFS_SUPER_MAGIC:      {name: "cifs", network: true},
	unix.AFS_SUPER_MAGIC:       {name: "afs", network: true},
	unix.CEPH_SUPER_MAGIC:      {name: "ceph", network: true},
	unix.CODA_SUPER_MAGIC:      {name: "coda", network: true},
	unix.NCP_SUPER_MAGIC:       {name: "ncp", network: true},
	unix.V9FS_MAGIC:            {name: "9p", network: true},
	unix.OCFS2_SUPER_MAGIC:     {name: "ocfs2", network: true},
	unix.TMPFS_MAGIC:           {name: "tmpfs", memory: true},
	unix.RAMFS_MAGIC:           {name: "ramfs", memory: true},
	unix.OVERLAYFS_SUPER_MAGIC: {name: "overlay", layered: true},
	unix.EXT4_SUPER_MAGIC:      {name: "ext4"},
	unix.XFS_SUPER_MAGIC:       {name: "xfs"},
	unix.BTRFS_SUPER_MAGIC:     {name: "btrfs"},
	unix.F2FS_SUPER_MAGIC:      {name: "f2fs"},
	0x2fc12fc1:                 {name: "zfs"},
}

// diskOf looks at the file system of a directory.
func diskOf(what, path string) doctor.Disk {
	d := doctor.Disk{What: what, Path: path}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		d.Why = err.Error()
		return d
	}
	d.Type = fmt.Sprintf("type %#x", uint32(st.Type))
	if fs, ok := fileSystems[uint32(st.Type)]; ok {
		d.Type, d.Network, d.Memory, d.Layered = fs.name, fs.network, fs.memory, fs.layered
	}
	block := uint64(st.Bsize)
	d.Free, d.Total, d.Inodes, d.InodesTotal = st.Bavail*block, st.Blocks*block, st.Ffree, st.Files
	d.ReadOnly = st.Flags&unix.ST_RDONLY != 0
	return d
}

// clockSynchronised asks the kernel whether something keeps its clock right; it writes nothing.
func clockSynchronised() (doctor.Truth, string) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return doctor.NotKnown, "the kernel does not say: " + err.Error()
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		return doctor.No, ""
	}
	return doctor.Yes, ""
}
