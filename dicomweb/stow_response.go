package dicomweb

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/dicom/dicomxml"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// answerStore answers with the Store Instances Response Module (PS3.18 §I.2),
// or a problem document where no instance could be told from another.
func (s *Server) answerStore(c echo.Context, results []ingest.Result, contentType string) error {
	if s.o.Metrics != nil {
		s.countStored(results)
	}
	status, err := storeStatus(results)
	if err != nil {
		return err
	}
	base := s.BaseURL(c.Request())
	for i, text := range storeRemarks(results) {
		if i == maxRemarks {
			break
		}
		warn(c, base, text)
	}
	body := appendStoreResponse(make([]byte, 0, 256+320*len(results)), base, results)
	if contentType == typeXML {
		if body, err = dicomxml.FromJSON(nil, body, ""); err != nil {
			return err
		}
	}
	return respondText(c, status, contentType, body)
}

// storeStatus is PS3.18 Table 10.5.3-1: 200 when all are stored, 202 when some
// are or there is a warning, else 409 with the reasons; but where all failed for
// one cause that is not in an instance, the error of that cause.
func storeStatus(results []ingest.Result) (int, error) {
	good, warned := 0, false
	var cause error // of the server, or else of the first part
	parsed := false
	for i := range results {
		r := &results[i]
		if r.Outcome != ingest.Refused {
			good++
			warned = warned || r.Reason != 0
			continue
		}
		parsed = parsed || isParsed(r)
		if cause == nil || !ownFault(cause) && ownFault(r.Err) {
			cause = r.Err
		}
	}
	switch {
	case good == len(results) && !warned:
		return http.StatusOK, nil
	case good > 0:
		return http.StatusAccepted, nil
	case ownFault(cause):
		return 0, cause
	case parsed:
		return http.StatusConflict, nil
	}
	for i := range results {
		if fault.KindOf(results[i].Err) != fault.KindOf(cause) {
			return http.StatusConflict, nil
		}
	}
	switch fault.KindOf(cause) {
	case fault.Invalid, fault.TooLarge, fault.UnsupportedMedia:
		return 0, cause
	}
	return http.StatusConflict, nil
}

// ownFault reports whether a failure is the server's, not the instance's.
func ownFault(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge, fault.UnsupportedMedia, fault.Conflict, fault.Exists, fault.NotFound, fault.NotAcceptable, fault.Forbidden:
		return false
	}
	return err != nil
}

// isParsed reports whether a refused instance was read, so that the reason for it
// is in what it says: then it is in the response, too.
func isParsed(r *ingest.Result) bool {
	switch r.Reason {
	case ingest.ReasonMissingAttribute, ingest.ReasonMissingValue, ingest.ReasonInvalidInstance:
		return true
	}
	return r.Instance != ""
}

// maxRemarks bounds the Warning headers of an answer.
const maxRemarks = 8

// storeRemarks lists the different sentences about the instances.
func storeRemarks(results []ingest.Result) []string {
	var texts []string
	seen := map[string]bool{}
	for i := range results {
		if d := results[i].Detail; d != "" && !seen[d] && len(texts) < maxRemarks {
			seen[d] = true
			texts = append(texts, d)
		}
	}
	return texts
}

func (s *Server) countStored(results []ingest.Result) {
	var n [3]int
	names := [3]string{ingest.Refused: "refused", ingest.Stored: "stored", ingest.Known: "known"}
	for i := range results {
		n[results[i].Outcome]++
	}
	for i, name := range names {
		if n[i] > 0 {
			s.o.Metrics.Stored(name, n[i])
		}
	}
}

// appendStoreResponse appends the module in DICOM JSON, by ascending tag. A
// sequence that has no item is left out.
func appendStoreResponse(b []byte, base string, results []ingest.Result) []byte {
	b = append(b, '{')
	if study := commonStudy(results); study != "" {
		b = appendElement(b, "00081190", "UR", base+"/studies/"+study)
	}
	b = appendItems(b, "00081198", results, isFailed, func(b []byte, r *ingest.Result) []byte {
		b = appendReference(b, r)
		b = appendNumber(b, "00081197", r.Reason)
		// What more could be parsed.
		if r.Study != "" {
			b = appendElement(b, "0020000D", "UI", r.Study)
		}
		if r.Series != "" {
			b = appendElement(b, "0020000E", "UI", r.Series)
		}
		return b
	})
	b = appendItems(b, "00081199", results, isStored, func(b []byte, r *ingest.Result) []byte {
		b = appendReference(b, r)
		b = appendElement(b, "00081190", "UR", base+"/studies/"+r.Study+"/series/"+r.Series+"/instances/"+r.Instance)
		if r.Reason != 0 {
			b = appendNumber(b, "00081196", r.Reason)
		}
		return b
	})
	b = appendItems(b, "0008119A", results, isOther, func(b []byte, r *ingest.Result) []byte {
		return appendNumber(b, "00081197", r.Reason)
	})
	return append(b, '}')
}

func isStored(r *ingest.Result) bool { return r.Outcome != ingest.Refused }
func isFailed(r *ingest.Result) bool {
	return r.Outcome == ingest.Refused && (r.Instance != "" || r.SOPClass != "")
}
func isOther(r *ingest.Result) bool {
	return r.Outcome == ingest.Refused && r.Instance == "" && r.SOPClass == ""
}

// commonStudy is the study that all stored instances are of.
func commonStudy(results []ingest.Result) string {
	study := ""
	for i := range results {
		if !isStored(&results[i]) {
			continue
		}
		if study != "" && study != results[i].Study {
			return ""
		}
		study = results[i].Study
	}
	return study
}

func appendItems(b []byte, tag string, results []ingest.Result, is func(*ingest.Result) bool, item func([]byte, *ingest.Result) []byte) []byte {
	first := true
	for i := range results {
		if !is(&results[i]) {
			continue
		}
		if first {
			b = append(appendKey(b, tag), `"SQ","Value":[{`...)
		} else {
			b = append(b, ",{"...)
		}
		first = false
		b = append(item(b, &results[i]), '}')
	}
	if first {
		return b
	}
	return append(b, "]}"...)
}

func appendReference(b []byte, r *ingest.Result) []byte {
	b = appendElement(b, "00081150", "UI", r.SOPClass)
	return appendElement(b, "00081155", "UI", r.Instance)
}

// appendKey begins an element: `"00081150":{"vr":`, with a comma unless it is the first.
func appendKey(b []byte, tag string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), tag...), `":{"vr":`...)
}

func appendElement(b []byte, tag, vr, value string) []byte {
	b = append(append(append(appendKey(b, tag), '"'), vr...), '"')
	if value == "" {
		return append(b, '}')
	}
	return append(appendQuoted(append(b, `,"Value":[`...), value), "]}"...)
}

func appendNumber(b []byte, tag string, value uint16) []byte {
	return append(strconv.AppendUint(append(appendKey(b, tag), `"US","Value":[`...), uint64(value), 10), "]}"...)
}

// appendQuoted appends a JSON string. What is not a UID or a URL may come from a
// refused instance and hold anything.
func appendQuoted(b []byte, v string) []byte {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			q, _ := json.Marshal(v) // of a string: never fails
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), v...), '"')
}
