package ingest

import (
	"bytes"
	"context"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
)

const (
	// headBytes is how much of an instance is held before it is known to which
	// study it belongs. Smaller instances, the most, are sealed in one go.
	headBytes = 1 << 20
	// maxHead bounds the search for the identifying attributes in a large instance.
	maxHead = 16 << 20
	// largeSegmentBits is log2 of the segment size of an instance past headBytes.
	largeSegmentBits = 17
	// commitTimeout bounds the writes of a commit, which go on when the client is gone.
	commitTimeout = 5 * time.Minute
	// maxOpenStudies and maxOpenInstances cut a request's facts, so that memory
	// is bounded whatever one request holds.
	maxOpenStudies   = 64
	maxOpenInstances = 1024
)

// RequestOptions qualify one request.
type RequestOptions struct {
	// Study, when set, is the only study whose instances are taken (PS3.18 §10.5.1).
	Study string
}

// Request is the storing of some instances that are acknowledged together. It
// is used by one goroutine and ends with Commit or Abort.
type Request struct {
	s       *Store
	o       RequestOptions
	results []Result
	studies map[string]*study
	seen    map[archive.UIDs]seen
	repeats map[int][]int // results that are Known because of an earlier one of this request
}

// seen remembers what this request took in under some UIDs.
type seen struct {
	digest archive.Digest
	result int
}

// Begin starts a request.
func (s *Store) Begin(o RequestOptions) *Request {
	return &Request{s: s, o: o, studies: map[string]*study{}, seen: map[archive.UIDs]seen{}, repeats: map[int][]int{}}
}

// Add takes in one instance: a Part 10 file, read to its end. The result is
// final when it is Refused; Stored, and Known, which may rest on an instance of
// this request, become final with Commit.
func (r *Request) Add(ctx context.Context, part io.Reader) Result {
	at := len(r.results)
	r.results = append(r.results, Result{})
	res := r.add(ctx, part, at)
	r.results[at] = res
	r.cut(ctx)
	return res
}

func (r *Request) add(ctx context.Context, part io.Reader, at int) Result {
	head := r.s.head.Get().(*[]byte)
	defer r.s.head.Put(head)
	n, err := io.ReadFull(part, *head)
	switch {
	case err == nil:
		return r.addLarge(ctx, (*head)[:n], part, at)
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return r.addSmall(ctx, (*head)[:n], at)
	}
	return Result{Outcome: Refused, Reason: reasonOf(err), Detail: fault.Message(err), Err: err}
}

// addSmall takes in an instance that is in memory as a whole.
func (r *Request) addSmall(ctx context.Context, b []byte, at int) Result {
	f, err := dicom.Read(ctx, bytes.NewReader(b), r.s.o.Limits)
	in, res := r.identify(f, err)
	if res.Err != nil {
		return res
	}
	sum := r.s.o.Keys.Digest()
	sum.Write(b)
	sum.Sum(in.Digest[:0])
	if res, done := r.duplicate(ctx, &in, res, at); done {
		return res
	}
	st, err := r.study(ctx, in.Study)
	if err != nil {
		return refused(res.UIDs, res.SOPClass, reasonOf(err), err)
	}
	w, err := st.open(seal.DefaultSegmentBits, f.Deflated)
	if err == nil {
		_, err = w.Write(b)
	}
	return r.finish(st, w, err, f, in, res, at)
}

// addLarge takes in an instance of which only the head is in memory.
func (r *Request) addLarge(ctx context.Context, head []byte, rest io.Reader, at int) Result {
	uid, deflated, head, err := r.findStudy(ctx, head, rest)
	if err != nil {
		return Result{Outcome: Refused, Reason: reasonOf(err), Detail: fault.Message(err), Err: err}
	}
	if r.o.Study != "" && uid != r.o.Study {
		uid = r.o.Study // sealed for nothing: it is refused below, when all of it is parsed
	}
	st, err := r.study(ctx, uid)
	if err != nil {
		return refused(archive.UIDs{}, "", reasonOf(err), err)
	}
	w, err := st.open(largeSegmentBits, deflated)
	if err != nil {
		return r.finish(st, w, err, nil, archive.Instance{}, Result{}, at)
	}
	tee := &tee{r: io.MultiReader(bytes.NewReader(head), rest), seal: w, sum: r.s.o.Keys.Digest()}
	f, err := dicom.Read(ctx, tee, r.s.o.Limits)
	if tee.err != nil {
		return r.finish(st, w, tee.err, nil, archive.Instance{}, Result{}, at)
	}
	in, res := r.identify(f, err)
	if res.Err == nil && in.Study != uid {
		res = refused(in.UIDs, in.SOPClass, ReasonNotUnderstood, fault.New(fault.Invalid, "the instance names two studies"))
	}
	if res.Err != nil {
		st.drop(w)
		return res
	}
	tee.sum.Sum(in.Digest[:0])
	if res, done := r.duplicate(ctx, &in, res, at); done {
		st.drop(w)
		return res
	}
	return r.finish(st, w, nil, f, in, res, at)
}

// findStudy parses the beginning of a large instance for its study.
func (r *Request) findStudy(ctx context.Context, head []byte, rest io.Reader) (uid string, deflated bool, read []byte, err error) {
	for {
		f, err := dicom.Read(ctx, bytes.NewReader(head), r.s.o.Limits)
		if f != nil && f.Data != nil {
			if uid, ok := f.Data.Text(tagStudyInstance); ok && ValidUID(uid) {
				return uid, f.Deflated, head, nil
			}
		}
		if len(head) >= maxHead {
			if err == nil {
				err = misfit(ReasonMissingAttribute)
			}
			return "", false, nil, fault.Wrap(fault.Invalid, err, "no Study Instance UID in the first 16 MiB of the instance")
		}
		more := make([]byte, 2*len(head))
		n, rerr := io.ReadFull(rest, more[copy(more, head):])
		head = more[:len(head)+n]
		if rerr != nil { // the instance ended; whoever reads on finds the end again
			if !errors.Is(rerr, io.ErrUnexpectedEOF) && rerr != io.EOF {
				return "", false, nil, rerr
			}
			rest = bytes.NewReader(nil)
			if n == 0 { // all of it has been looked at
				if err == nil {
					err = misfit(ReasonMissingAttribute)
				}
				return "", false, nil, err
			}
		}
	}
}

// identify starts the instance's record, or says why it is refused.
func (r *Request) identify(f *dicom.File, err error) (archive.Instance, Result) {
	var in archive.Instance
	var res Result
	if f != nil && f.Data != nil {
		u, class, tags, reason := identify(f.Data)
		in.UIDs, in.SOPClass, in.Syntax = u, class, f.Syntax
		res = Result{UIDs: u, SOPClass: class}
		if err == nil && reason != 0 {
			res = refused(u, class, reason, misfit(reason))
			res.Tags = tags
		}
	}
	switch {
	case err != nil:
		res = refused(res.UIDs, res.SOPClass, reasonOf(err), err)
	case res.Err == nil && !ValidUID(f.Syntax):
		res = refused(res.UIDs, res.SOPClass, ReasonMissingAttribute,
			fault.New(fault.Invalid, "the file does not name a transfer syntax"))
	case res.Err == nil && r.o.Study != "" && in.Study != r.o.Study:
		res = refused(res.UIDs, res.SOPClass, ReasonMismatch,
			fault.New(fault.Conflict, "the instance belongs to another study than the request names"))
		res.Tags = []dicom.Tag{tagStudyInstance}
	}
	if res.Err != nil && f != nil {
		res.Dataset = f.Data
	}
	return in, res
}

// duplicate compares with what the archive, and this request, has under the
// same UIDs; done means that nothing is left to store.
func (r *Request) duplicate(ctx context.Context, in *archive.Instance, res Result, at int) (Result, bool) {
	// An earlier one that was refused meanwhile says nothing about this one.
	if first, ok := r.seen[in.UIDs]; ok && first.digest == in.Digest && r.results[first.result].Outcome != Refused {
		r.repeats[first.result] = append(r.repeats[first.result], at)
		res.Outcome = Known
		return res, true
	}
	versions, _, err := r.s.o.Index.Versions(ctx, r.s.o.Tenant, in.UIDs)
	if err != nil {
		return refused(res.UIDs, res.SOPClass, reasonOf(err), err), true
	}
	for i := range versions {
		if versions[i].Digest == in.Digest {
			res.Outcome = Known
			return res, true
		}
	}
	if len(versions) == 0 {
		return res, false
	}
	switch r.s.o.Policy {
	case Refuse:
		return refused(res.UIDs, res.SOPClass, ReasonDuplicate, fault.New(fault.Exists,
			"an instance with the same UIDs and other contents is here already; delete it first, or let duplicates be kept")), true
	case Replace:
		for i := range versions {
			in.Replaces = append(in.Replaces, versions[i].Blob)
		}
	}
	return res, false
}

// finish closes the blob and adds the instance to its study's fact.
func (r *Request) finish(st *study, w *blob, err error, f *dicom.File, in archive.Instance, res Result, at int) Result {
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = st.add(w, f, in, at)
	}
	if err != nil {
		st.drop(w)
		return refused(res.UIDs, res.SOPClass, reasonOf(err), err)
	}
	r.seen[in.UIDs] = seen{digest: in.Digest, result: at}
	res.Outcome = Stored
	if len(f.Warnings) > 0 {
		res.Reason, res.Detail = WarningDataset, f.Warnings[0]
	}
	return res
}

// tee hashes and seals what is read, and remembers its own failure apart from
// the parser's.
type tee struct {
	r    io.Reader
	seal io.Writer
	sum  hash.Hash
	err  error
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.sum.Write(p[:n])
		if _, werr := t.seal.Write(p[:n]); werr != nil {
			t.err = werr
			return n, werr
		}
	}
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}
