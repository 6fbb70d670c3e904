package release

import "golang.org/x/sys/unix"

// renameNoReplace renames within the directory dir and fails with [fs.ErrExist] if the
// name is taken.
func renameNoReplace(dir int, from, to string) error {
	return unix.RenameatxNp(dir, from, dir, to, unix.RENAME_EXCL)
}

// renameExchange lets two names of the directory dir change places, in one step.
func renameExchange(dir int, from, to string) error {
	return unix.RenameatxNp(dir, from, dir, to, unix.RENAME_SWAP)
}
