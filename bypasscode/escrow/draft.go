package escrow

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
)

// draft is what a dry run would have written: what [Escrow.take] does, on top of
// a store that it only reads.
type draft struct {
	store  Store
	added  map[Subject][]drafted
	ids    map[string]struct{}
	joined map[string][]string // enrollments by serial number
}

// drafted is as much of an entry as [adopt] looks at; a file may add a million.
type drafted struct {
	id           string
	lastSeen     int64
	digest       [32]byte
	parses, told bool
	server       bool
	rank         uint8
}

func newDraft(store Store) *draft {
	return &draft{store, map[Subject][]drafted{}, map[string]struct{}{}, map[string][]string{}}
}

func (d *draft) take(ctx context.Context, p Portable) (Record, Outcome, error) {
	entries, err := d.entries(ctx, p.Record.Subject)
	if err != nil {
		return Record{}, Failed, err
	}
	given := p.Record.ID != ""
	if !given {
		p.Record.ID = newID() // else those of the file would all be the same
	}
	fresh := Entry{Record: p.Record, Digest: digest(p.Record.Kind, p.Text)}
	added, kept, outcome, err := adopt(entries, fresh)
	if err != nil {
		return Record{}, Failed, err
	}
	for _, e := range added {
		if given {
			if err := d.free(ctx, e.ID); err != nil {
				return Record{}, Failed, err
			}
		}
		if err := d.add(ctx, e); err != nil {
			return Record{}, Failed, err
		}
	}
	for _, serialNumber := range p.JoinedTo {
		d.join(p.Record.Subject.EnrollmentID, serialNumber)
	}
	if !given && outcome == Added {
		kept.ID = ""
	}
	return kept, outcome, nil
}

// entries returns what [Store.Entries] would return.
func (d *draft) entries(ctx context.Context, subject Subject) ([]Entry, error) {
	entries, err := d.store.Entries(ctx, subject)
	if err != nil {
		return nil, err
	}
	entries = append(entries, d.of(subject)...)
	if subject.SerialNumber == "" {
		return entries, nil
	}
	for _, id := range d.joined[subject.SerialNumber] {
		theirs := Subject{EnrollmentID: id}
		there, err := d.store.Entries(ctx, theirs)
		if err != nil {
			return nil, err
		}
		for _, e := range append(there, d.of(theirs)...) {
			if !slices.ContainsFunc(entries, func(own Entry) bool { return own.ID == e.ID }) {
				entries = append(entries, e)
			}
		}
	}
	return entries, nil
}

// of returns the drafted entries of a subject.
func (d *draft) of(subject Subject) (entries []Entry) {
	for _, a := range d.added[subject] {
		e := Entry{Record: Record{
			ID: a.id, Subject: subject, Kind: bypasscode.Device, State: states[a.rank], LastSeen: time.UnixMicro(a.lastSeen).UTC(),
		}}
		if a.server {
			e.Kind = bypasscode.Server
		}
		if a.parses {
			e.Digest = hex.EncodeToString(a.digest[:])
		}
		if a.told {
			e.Cause = CauseImport
		}
		entries = append(entries, e)
	}
	return entries
}

func (d *draft) add(ctx context.Context, e Entry) error {
	// Clones, since a row of a file may hang on a string of it.
	subject := Subject{strings.Clone(e.Subject.SerialNumber), strings.Clone(e.Subject.EnrollmentID)}
	if subject.EnrollmentID != "" {
		serialNumbers, err := d.store.Joined(ctx, subject.EnrollmentID)
		if err != nil {
			return err
		}
		for _, serialNumber := range serialNumbers {
			d.join(subject.EnrollmentID, serialNumber)
		}
	}
	a := drafted{
		id: strings.Clone(e.ID), lastSeen: e.LastSeen.UnixMicro(), parses: e.Digest != "", told: e.Cause.told(),
		server: e.Kind == bypasscode.Server, rank: uint8(e.State.rank()),
	}
	if a.parses {
		hex.Decode(a.digest[:], []byte(e.Digest))
	}
	d.added[subject] = append(d.added[subject], a)
	d.ids[a.id] = struct{}{}
	return nil
}

func (d *draft) join(enrollmentID, serialNumber string) {
	if !slices.Contains(d.joined[serialNumber], enrollmentID) {
		serialNumber = strings.Clone(serialNumber)
		d.joined[serialNumber] = append(d.joined[serialNumber], strings.Clone(enrollmentID))
	}
}

// free returns an error if an entry of any subject has the ID, as [Store.Update]
// does.
func (d *draft) free(ctx context.Context, id string) error {
	if _, taken := d.ids[id]; taken {
		return errTaken
	}
	for after := before(id); ; {
		entries, err := d.store.Scan(ctx, after, 1)
		if err != nil {
			return err
		}
		if len(entries) == 0 || entries[0].ID > id {
			return nil
		}
		if entries[0].ID == id {
			return errTaken
		}
		after = entries[0].ID
	}
}

// before returns a string that is less than an ID, with next to no IDs between.
func before(id string) string {
	last, size := utf8.DecodeLastRuneInString(id)
	id = id[:len(id)-size]
	if last <= 1 {
		return id // no ID has NUL
	}
	if last--; last == 0xdfff {
		last = 0xd7ff
	}
	id += string(last)
	return id + strings.Repeat(string(utf8.MaxRune), (MaxIdentifier-len(id))/utf8.UTFMax)
}
