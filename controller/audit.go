package controller

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/wire"
)

// AuditEntry is one line of the audit log. Each carries the hash of the one before it,
// so that none can be changed or left out without every later hash changing.
type AuditEntry struct {
	ID     uint64      `json:"id"` // ascending from 1
	At     time.Time   `json:"at"`
	By     string      `json:"by"`   // operator, or "controller"
	Kind   string      `json:"kind"` // "publish", "enroll", "promote", "hold", "revert", …
	App    wire.App    `json:"app,omitempty"`
	Region wire.Region `json:"region,omitempty"`
	Text   string      `json:"text"`
	// Inputs are the exact values a decision was made on.
	Inputs json.RawMessage `json:"inputs,omitempty"`
	Prev   wire.Digest     `json:"prev,omitzero"`
	Hash   wire.Digest     `json:"hash,omitzero"` // of this entry without Hash
}

// appendAudit numbers, chains and stores entries. It fills them in place.
func appendAudit(tx *bolt.Tx, entries []AuditEntry) error {
	b := tx.Bucket(bucketAudit)
	var last AuditEntry
	if _, v := b.Cursor().Last(); v != nil {
		if err := json.Unmarshal(v, &last); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	for i := range entries {
		e := &entries[i]
		e.ID, e.Prev, e.Hash = last.ID+1, last.Hash, wire.Digest{}
		unhashed, err := wire.EncodeJSON(e)
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		e.Hash = wire.DigestOf(unhashed)
		v, err := wire.EncodeJSON(e)
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, e.ID), v); err != nil {
			return err
		}
		last = *e
	}
	return nil
}

// maxAudit bounds one answer.
const maxAudit = 1000

// readAudit returns up to 1000 entries after one.
func readAudit(db *bolt.DB, after uint64) (entries []AuditEntry, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketAudit).Cursor()
		for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, after+1)); k != nil && len(entries) < maxAudit; k, v = c.Next() {
			var e AuditEntry
			if err := json.Unmarshal(v, &e); err != nil {
				return fmt.Errorf("audit log: %w", err)
			}
			entries = append(entries, e)
		}
		return nil
	})
	return entries, err
}

// auditHead returns the hash of the newest entry.
func auditHead(db *bolt.DB) (head wire.Digest, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		_, v := tx.Bucket(bucketAudit).Cursor().Last()
		if v == nil {
			return nil
		}
		var e AuditEntry
		err := json.Unmarshal(v, &e)
		head = e.Hash
		return err
	})
	return head, err
}

// VerifyAudit reports the first entry whose hash or link does not hold. prev is the hash
// of the entry before the first one; zero at the beginning of the log.
func VerifyAudit(prev wire.Digest, entries []AuditEntry) error {
	for _, e := range entries {
		hash := e.Hash
		e.Hash = wire.Digest{}
		unhashed, err := wire.EncodeJSON(e)
		if err != nil {
			return err
		}
		if e.Prev != prev || wire.DigestOf(unhashed) != hash {
			return fmt.Errorf("audit entry %d does not follow from the one before it: the log was altered", e.ID)
		}
		prev = hash
	}
	return nil
}
