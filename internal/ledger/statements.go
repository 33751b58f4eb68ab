package ledger

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// maxSettings bounds a tenant's settings in bytes.
const maxSettings = 64 << 10

// settings encodes the record of a tenant fact.
func settings(f *archive.Fact) ([]byte, error) {
	if f.Settings == nil {
		return nil, fault.New(fault.Internal, "writing a fact: no settings")
	}
	b, err := json.Marshal(f.Settings)
	if err != nil || len(b) > maxSettings {
		return nil, fault.New(fault.Invalid, "the tenant's settings are too long")
	}
	return b, nil
}

// decodeSettings reads the payload of a tenant fact.
func decodeSettings(s string, f *archive.Fact) error {
	var v archive.TenantSettings
	if len(s) > maxSettings || json.Unmarshal([]byte(s), &v) != nil || v.State == "" {
		return corrupt(ErrRecord)
	}
	f.Settings = &v
	return nil
}

// keyClosed encodes the record of a key-closed fact.
func keyClosed(f *archive.Fact) []byte {
	b := binary.AppendUvarint(nil, uint64(max(0, f.Until.UnixMilli())))
	b = binary.AppendUvarint(b, uint64(len(f.Closed)))
	for i := range f.Closed {
		b = append(b, f.Closed[i][:]...)
	}
	if f.Closing == (archive.Closing{}) {
		return b
	}
	b = binary.AppendUvarint(b, uint64(max(0, f.Closing.Instances)))
	b = append(b, f.Closing.Patient[:]...)
	return append(b, f.Closing.Issued[:]...)
}

// decodeKeyClosed reads the payload of a key-closed fact.
func decodeKeyClosed(s string, f *archive.Fact) error {
	d := &decoder{s: s}
	f.Until = time.UnixMilli(d.size()).UTC()
	f.Closed = make([]archive.KeyID, d.count(16))
	for i := range f.Closed {
		copy(f.Closed[i][:], d.bytes(16))
	}
	if d.s != "" {
		f.Closing.Instances = int(d.size())
		copy(f.Closing.Patient[:], d.bytes(16))
		copy(f.Closing.Issued[:], d.bytes(16))
	}
	if d.bad || len(f.Closed) == 0 {
		return corrupt(ErrRecord)
	}
	return nil
}

// tagged encodes the record of a tagged fact.
func tagged(f *archive.Fact) ([]byte, error) {
	if f.Study == (archive.Ref{}) || !archive.ValidTags(f.Tags) {
		return nil, fault.New(fault.Invalid, "a study has at most %d different tags, in ascending order, each of at most %d bytes of text without control characters", archive.MaxTags, archive.MaxTag)
	}
	b := binary.AppendUvarint(nil, uint64(len(f.Tags)))
	for _, s := range f.Tags {
		b = appendString(b, s)
	}
	return b, nil
}

// decodeTagged reads the payload of a tagged fact.
func decodeTagged(s string, f *archive.Fact) error {
	d := &decoder{s: s}
	if n := d.count(2); n > 0 {
		f.Tags = make([]string, n)
		for i := range f.Tags {
			f.Tags[i] = d.text()
		}
	}
	if d.bad || f.Study == (archive.Ref{}) || !archive.ValidTags(f.Tags) {
		return corrupt(ErrRecord)
	}
	return nil
}
