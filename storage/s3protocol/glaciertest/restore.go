package glaciertest

import (
	"cmp"
	"encoding/xml"
	"io"
	"net/http"
	"slices"

	"github.com/minio/minio-go/v7"
)

// bodyMost bounds the body of a request for a restore, in bytes.
const bodyMost = 64 << 10

// restore answers a RestoreObject.
func (s *Server) restore(r *http.Request, n name) (*http.Response, error) {
	var asked struct {
		Days int
		Tier string `xml:"GlacierJobParameters>Tier"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMost))
	if err != nil {
		return nil, err
	}
	if xml.Unmarshal(body, &asked) != nil || asked.Days < 0 || asked.Tier != "" && !slices.Contains(tiers, asked.Tier) {
		return malformed(r), nil
	}
	info, err := s.own.StatObject(r.Context(), n.Bucket, n.Key, minio.StatObjectOptions{VersionID: n.Version})
	if err != nil {
		return s.failed(r, err)
	}
	n.Version = version(info.VersionID)
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.get(n)
	switch {
	case rec.archive() == "" && rec.Class == intelligentTiering:
		return refuse(r, http.StatusForbidden, "ObjectAlreadyInActiveTierError", "This action is not allowed against this storage tier."), nil
	case rec.archive() == "":
		return archived(r, http.NoBody, rec.Class, "Restore is not allowed for the object's current storage class"), nil
	case rec.Access != "" && asked.Days != 0:
		return refuse(r, http.StatusBadRequest, "InvalidArgument",
			"INTELLIGENT_TIERING objects are not subject to restore expiry. Do not specify Days when restoring this object"), nil
	case rec.Access == "" && asked.Days == 0:
		return malformed(r), nil
	case rec.archive() == deepArchive && asked.Tier == tierExpedited:
		return refuse(r, http.StatusBadRequest, "InvalidArgument", "Retrieval option is not supported by this storage class"), nil
	}
	status := http.StatusAccepted
	next := job{Tier: cmp.Or(asked.Tier, tierStandard), Days: asked.Days}
	switch {
	case rec.Restore.ongoing() && !faster(next, *rec.Restore):
		return refuse(r, http.StatusConflict, "RestoreAlreadyInProgress", "Object restore is already in progress"), nil
	case rec.Restore != nil && !rec.Restore.ongoing(): // a new time for the copy that is there, and no retrieval
		next.Ready, next.Until = rec.Restore.Ready, expiry(s.now(), next.Days)
		status = http.StatusOK
	case next.Tier == tierExpedited && s.expedited >= 0 && s.underWay(tierExpedited) >= s.expedited:
		return refuse(r, http.StatusServiceUnavailable, "GlacierExpeditedRetrievalNotAvailable",
			"Glacier expedited retrievals are currently not available, please try again later"), nil
	default:
		next.Ready = s.now().Add(s.delay(rec.archive(), next.Tier))
		if rec.Restore.ongoing() && rec.Restore.Ready.Before(next.Ready) {
			next.Ready = rec.Restore.Ready
		}
	}
	if rec.Restore == nil {
		s.begun++
	}
	rec.Restore = &next
	return answer(r, status, nil), s.set(n, rec)
}

// faster reports whether a restore that is asked for hastens one under way: at a faster tier and
// with nothing else changed. Source: Amazon S3 API Reference, RestoreObject.
func faster(next, now job) bool {
	return next.Days == now.Days && slices.Index(tiers, next.Tier) > slices.Index(tiers, now.Tier)
}

// underWay returns how many restores at a tier are. The caller holds the lock.
func (s *Server) underWay(tier string) (n int) {
	for of := range s.records {
		if j := s.get(of).Restore; j.ongoing() && j.Tier == tier {
			n++
		}
	}
	return n
}

func malformed(r *http.Request) *http.Response {
	return refuse(r, http.StatusBadRequest, "MalformedXML",
		"The XML you provided was not well-formed or did not validate against our published schema")
}

// failed passes on what the server behind answered to a request of our own.
func (s *Server) failed(r *http.Request, err error) (*http.Response, error) {
	e := minio.ToErrorResponse(err)
	if e.StatusCode == 0 {
		return nil, err
	}
	return refuse(r, e.StatusCode, e.Code, e.Message), nil
}
