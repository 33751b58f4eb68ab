package dicomweb

import (
	"github.com/labstack/echo/v4"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// uids reads the UIDs of the resource from the path. They are checked to be
// UIDs (PS3.5 §9.1), leniently: up to 64 digits and dots.
func uids(c echo.Context) (archive.UIDs, error) {
	u := archive.UIDs{Study: c.Param(paramStudy), Series: c.Param(paramSeries), Instance: c.Param(paramInstance)}
	for _, v := range [...]string{u.Study, u.Series, u.Instance} {
		if v != "" && !validUID(v) {
			return archive.UIDs{}, fault.New(fault.Invalid, "the path names something that is not a UID: a UID has up to 64 digits and dots")
		}
	}
	return u, nil
}

// validUID accepts what real files have: also leading zeros in a component.
func validUID(v string) bool {
	if v == "" || len(v) > 64 || v[0] == '.' || v[len(v)-1] == '.' {
		return false
	}
	for i := 0; i < len(v); i++ {
		if c := v[i]; (c < '0' || c > '9') && (c != '.' || v[i-1] == '.') {
			return false
		}
	}
	return true
}
