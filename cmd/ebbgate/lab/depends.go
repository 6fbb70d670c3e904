package lab

import (
	"io/fs"
	"path/filepath"
)

// Depends makes a test depend on what is below the directories. The go command takes a result from
// its cache unless the test's own program or what it opened has changed; of programs that
// a test has built it knows nothing. It counts within a test only, not before in TestMain.
func Depends(dirs ...string) error {
	for _, dir := range dirs {
		if err := filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			return err
		}
	}
	return nil
}
