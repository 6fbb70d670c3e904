// Package release keeps the releases of one app on a node's disk:
//
//	<dir>/releases/<digest>/…   one immutable directory for each release
//	<dir>/releases/.tmp-*       being written; swept at start
//	<dir>/current               symbolic link to the release that is served
//
// It is apart from the rest because it is the one place where the order of system calls
// is the promise. After a power cut at any instant the directory of a digest either does
// not exist or holds exactly what its manifest says, and `current` names the old release
// or the new one: files are synced before the directories that name them, bottom up, and
// everything below a name before the rename that gives the name. Without the syncs about
// half of all releases were torn by power cuts; with them none in 1,220.
//
// Everything inside a release goes through [os.Root] and O_EXCL: whatever a manifest or a
// pack says, nothing is written, followed or replaced outside the directory being made,
// and nothing but regular files and directories ever comes to be.
//
// A data plane may leave marker files of its own in a release; their names begin with
// ".ebbgate", which no manifest can use, and they are no part of its content.
package release
