package dicomxml

import (
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
)

// blocks are the private blocks of one data set (PS3.5 §7.8.1).
type blocks struct {
	reserved map[dicom.Tag]bool    // the tags of private creators
	of       map[creator]dicom.Tag // the tag that reserves the creator's block
}

type creator struct {
	group dicom.Tag
	name  string
}

// declare notes a private creator of the document.
func (b *blocks) declare(t dicom.Tag, name string) {
	if b.of == nil {
		b.reserved, b.of = map[dicom.Tag]bool{}, map[creator]dicom.Tag{}
	}
	b.reserved[t] = true
	b.of[creator{t & 0xFFFF0000, name}] = t
}

// resolve returns the tag of a private attribute, which the document gives
// with a creator and, usually, without its block. When the creator has no block
// yet it gets one; added is the tag that reserves it.
func (b *blocks) resolve(t dicom.Tag, name string) (at, added dicom.Tag, err error) {
	group := t & 0xFFFF0000
	if block := group | t>>8&0xFF; block.IsPrivateCreator() {
		if !b.reserved[block] {
			b.declare(block, name)
			added = block
		}
		return t, added, nil
	}
	block, known := b.of[creator{group, name}]
	if !known {
		for block = group | 0x10; b.reserved[block]; block++ {
		}
		if !block.IsPrivateCreator() {
			return 0, 0, fault.New(fault.Invalid, "a private group of the metadata has more than 240 creators")
		}
		b.declare(block, name)
		added = block
	}
	return group | block&0xFF<<8 | t&0xFF, added, nil
}
