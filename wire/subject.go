package wire

import (
	"fmt"
	"strings"
)

// Streams. EG_CTL keeps one message per subject and holds every decision; EG_BLOB keeps
// immutable content; EG_STATUS keeps the last report of every agent.
const (
	StreamControl = "EG_CTL"
	StreamBlob    = "EG_BLOB"
	StreamStatus  = "EG_STATUS"
)

// Accounts. CTL owns the streams; agents live in EDGE and reach CTL through exports
// only: permissions of a user do not cover the reply subjects it chooses, the border
// of an account does.
const (
	AccountControl = "CTL"
	AccountEdge    = "EDGE"
	AccountSystem  = "SYS"
)

// Subjects.
const (
	SubjectLease   = "eg.ctl.lease" // who leads; its sequence is the fence of every write
	SubjectAlive   = "eg.ctl.alive" // the leader's heartbeat, core NATS
	SubjectBeacon  = "eg.beacon"    // signed heartbeat for agents, core NATS
	SubjectWants   = "eg.want.*"
	SubjectJournal = "eg.journal.>"
	SubjectBlobs   = "eg.blob.*"
	SubjectStatus  = "eg.status.*.*"
	SubjectNotes   = "eg.note.*" // where a write to eg.want.<region> is republished
)

// WantSubject is where the desired document of a region is kept.
func WantSubject(r Region) string { return "eg.want." + string(r) }

// NoteSubject is where a new desired document of a region is announced, whole.
func NoteSubject(r Region) string { return "eg.note." + string(r) }

// JournalSubject is where the journal of an app's rollout is kept.
func JournalSubject(key string) string { return "eg.journal." + key }

// BlobSubject is where a blob is kept.
func BlobSubject(d Digest) string { return "eg.blob." + d.String() }

// StatusSubject is where an agent's report is kept.
func StatusSubject(r Region, a AgentID) string { return "eg.status." + string(r) + "." + string(a) }

// ParseStatusSubject reads what [StatusSubject] wrote.
func ParseStatusSubject(s string) (Region, AgentID, error) {
	p := strings.Split(s, ".")
	if len(p) != 4 || p[0] != "eg" || p[1] != "status" || CheckToken(p[2]) != nil || CheckToken(p[3]) != nil {
		return "", "", fmt.Errorf("%q is not eg.status.<region>.<agent>", s)
	}
	return Region(p[2]), AgentID(p[3]), nil
}

// DirectGetSubject is the subject-appended direct get of the last message on subject.
// The bare form of the request would let an agent read the whole stream.
func DirectGetSubject(stream, subject string) string {
	return "$JS.API.DIRECT.GET." + stream + "." + subject
}

// InboxPrefix is where an agent receives answers; it is part of its permissions.
func InboxPrefix(name string) string { return "_INBOX_" + name }
